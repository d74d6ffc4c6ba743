"""The data set and the split of a finished run, opened again and proven to be the same."""

from dataclasses import dataclass

import numpy as np

from fusionzoo.api import FinishedRun
from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.data.loader import CaseLoader
from fusionzoo.data.open import open_dataset
from fusionzoo.data.splits import Split, make_split
from fusionzoo.errors import RunError
from fusionzoo.grammar import parse


@dataclass(frozen=True)
class Reopened:
    """What a run was trained and tested on.

    Args:
        run: The run.
        dataset: Its data set.
        split: Which cases trained, validated and tested.
    """

    run: FinishedRun
    dataset: AbstractDataset
    split: Split

    def loader(self, rows: np.ndarray, *, batch_size: int | None = None) -> CaseLoader:
        """Some cases in order, as the run's model reads them.

        Args:
            rows: Rows of the data set.
            batch_size: Cases a batch; the run's own where not given.
        """
        return CaseLoader(
            self.dataset,
            rows,
            self.run.encoders(),
            batch_size=batch_size or self.run.config["training"]["batch_size"],
            modalities=parse(self.run.config["spec"]).modalities,
        )


def reopen(run: FinishedRun, dataset: str | AbstractDataset | None = None) -> Reopened:
    """Open the data of a finished run again.

    Args:
        run: The run.
        dataset: Where the data are now, if they have moved.

    Raises:
        DataError: The data can't be opened.
        RunError: They hold something else than the run was trained on, or are split differently.
    """
    opened = open_dataset(run.config["dataset"] if dataset is None else dataset)
    facts = run.record.data
    if opened.digest != facts.digest:
        raise RunError(
            f"Data set {opened.spec.name!r} has digest {opened.digest[:12]}, and run "
            f"{run.record.run_id} was trained on {facts.name!r} with {facts.digest[:12]}: cases, "
            "labels or files have changed since. Name the data of the run with --dataset, or run "
            "again."
        )
    split = make_split(
        opened,
        fold=run.config["fold"],
        num_folds=run.config["num_folds"],
        seed=opened.fold_seed,
    )
    if split.digest != run.record.split.digest:
        raise RunError(
            f"The split of {opened.spec.name!r} has digest {split.digest[:12]}, the run's has "
            f"{run.record.split.digest[:12]}: patients are parted in another way now. Use the "
            "fusionzoo version of the run, or run again."
        )
    return Reopened(run, opened, split)


__all__ = ["Reopened", "reopen"]
