"""Runs a finished run's model on perturbed test cases, and scores every level."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionzoo.api import FinishedRun
from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.errors import BadOption, nearest
from fusionzoo.evaluation.bootstrap import Resampling
from fusionzoo.evaluation.predict import probabilities
from fusionzoo.evaluation.robustness import SCHEMA, Curve, Robustness, Scorer
from fusionzoo.grammar import parse
from fusionzoo.interface import Batch
from fusionzoo.models.missing import POLICIES, missing_policy
from fusionzoo.models.model import FusionModel
from fusionzoo.reopen import Reopened, reopen
from fusionzoo.stress.perturbations import LEVELS, UNITS, Perturber, Probe, levels_of

#: Probabilities per task, `cases classes`, in the order of the test rows.
Found = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Test:
    """One stress test and what it needs.

    Args:
        opened: The run with its data.
        perturber: Makes batches worse.
        wanted: Kind and modality of every perturbation that can be done.
        refused: The same of those that can't, and why.
        draws: Draws of each perturbation.
    """

    opened: Reopened
    perturber: Perturber
    wanted: tuple[tuple[str, str], ...]
    refused: Mapping[tuple[str, str], str]
    draws: int

    def probes(self) -> Iterator[Probe]:
        """Everything that the model has to be run on; a partial drop needs no run of its own."""
        for kind, name in self.wanted:
            modality = self.opened.dataset.spec.modality(name)
            if kind == "drop":
                yield Probe(kind, modality, 1.0, 0)
                continue
            for level in levels_of(kind, modality)[1:]:
                for draw in range(self.draws):
                    yield Probe(kind, modality, level, draw)


def stress(
    run: FinishedRun,
    *,
    dataset: str | AbstractDataset | None = None,
    kinds: Sequence[str] = tuple(LEVELS),
    device: str = "cpu",
    seed: int = 0,
    draws: int = 3,
    replicates: int = 1000,
    level: float = 0.95,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Robustness:
    """Test a finished run's model on perturbed test cases.

    - `drop`: a share of the cases lack a modality, handled as the run's fusion declares;
    - `cells`: cells of a table are empty, and become what the table's `missing` says;
    - `noise`: Gaussian noise on an image, in standard deviations of that image;
    - `shift`: an image is moved by so many voxels along every axis, border values repeated.

    One modality is perturbed at a time, and a case that has nothing else keeps it. Thresholds are
    the run's own.

    Args:
        run: The run.
        dataset: Where its data are now, if they have moved.
        kinds: Which perturbations.
        device: `cpu`, `cuda`, `mps`.
        seed: Seed of perturbations and bootstrap draws.
        draws: Draws of each perturbation.
        replicates: Bootstrap draws of patients.
        level: Confidence of the intervals.
        tell: Hears how many of all model runs are done.

    Raises:
        BadOption: There is no such perturbation, or none of those asked for can be done.
        RunError: The run's data have changed.
    """
    _check(kinds, draws, replicates)
    opened = reopen(run, dataset)
    refused = dict(_refusals(opened, kinds))
    wanted = tuple(key for key in _asked(opened, kinds) if key not in refused)
    if not wanted:
        reasons = "; ".join(f"{kind} of {name}: {why}" for (kind, name), why in refused.items())
        told = reasons or "the run reads no such modality"
        raise BadOption(f"None of {', '.join(kinds)} can be done with this run ({told}).")
    read = parse(run.config["spec"]).modalities
    perturber = Perturber(opened.dataset, run.encoders(), read, seed)
    test = _Test(opened, perturber, wanted, refused, draws)
    untouched, found = _run_probes(test, torch.device(device), tell)
    rows = opened.split.test
    groups = opened.dataset.groups[rows].astype(str)
    resampling = Resampling.draw(groups, replicates=replicates, seed=seed)
    return Robustness(
        schema=SCHEMA,
        run_id=run.record.run_id,
        predictions_digest=run.record.predictions_digest,
        output=run.main,
        num_cases=len(rows),
        num_patients=len(resampling.patients),
        seed=seed,
        draws=draws,
        replicates=replicates,
        level=level,
        reproduced=_reproduced(opened, untouched),
        curves=tuple(_curves(test, resampling, level, untouched, found)),
    )


def _check(kinds: Sequence[str], draws: int, replicates: int) -> None:
    for kind in kinds:
        if kind not in LEVELS:
            raise BadOption(
                f"There is no stress test {kind!r}. {nearest(kind, LEVELS)}There are: "
                f"{', '.join(LEVELS)}."
            )
    if draws < 1 or replicates < draws:
        raise BadOption(
            f"Stress tests need one draw or more, and as many replicates; draws={draws} and "
            f"replicates={replicates} were given."
        )


def _asked(opened: Reopened, kinds: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Kind and modality of every perturbation that makes sense."""
    names = parse(opened.run.config["spec"]).modalities
    for kind in kinds:
        for modality in opened.dataset.spec.modalities:
            fits = kind == "drop" or (modality.kind == "table") == (kind == "cells")
            if modality.name in names and fits:
                yield kind, modality.name


def _refusals(opened: Reopened, kinds: Sequence[str]) -> Iterator[tuple[tuple[str, str], str]]:
    """Perturbations that the run's own declarations rule out, and why."""
    policy, encoders = missing_policy(parse(opened.run.config["spec"])), opened.run.encoders()
    for kind, name in _asked(opened, kinds):
        if kind == "drop" and policy in ("refuse", "alone"):
            yield (kind, name), POLICIES[policy]
        if kind == "cells" and encoders[name].columns.missing == "refuse":
            yield (kind, name), "the table says missing: refuse"


@torch.inference_mode()
def _run_probes(
    test: _Test, device: torch.device, tell: Callable[[int, int], None]
) -> tuple[Found, dict[Probe, Found]]:
    """What the model makes of the test cases, untouched and under each probe."""
    run = test.opened.run
    model, tasks, probes = run.model(run.data).to(device), run.data.tasks, list(test.probes())
    untouched: dict[str, list[Tensor]] = {task.name: [] for task in tasks}
    found: dict[Probe, dict[str, list[Tensor]]] = {
        probe: {task.name: [] for task in tasks} for probe in probes
    }

    def collect(into: dict[str, list[Tensor]], batch: Batch, known: Mapping[str, Any]) -> None:
        output = model(batch, known)
        for task in tasks:
            into[task.name].append(probabilities(output.logits[task.name], task))

    loader = test.opened.loader(test.opened.split.test)
    total, done = len(loader) * (len(probes) + 1), 0
    for batch in loader:
        batch = batch.to(device)
        encoded = {} if model.exchanges else model.encode(batch, model.context(batch), {})
        collect(untouched, batch, encoded)
        for probe in probes:
            known = _unchanged(model, encoded, probe.modality.name)
            collect(found[probe], test.perturber.batch(batch, probe), known)
        done += len(probes) + 1
        tell(done, total)
    return _joined(untouched), {probe: _joined(parts) for probe, parts in found.items()}


def _unchanged(model: FusionModel, encoded: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Encoded streams that don't read a modality: they are the same under every probe of it."""
    return {
        f.name: encoded[f.name]
        for f in model.features
        if f.name in encoded and name not in f.modalities
    }


def _joined(parts: Mapping[str, list[Tensor]]) -> Found:
    return {name: torch.cat(tensors).numpy() for name, tensors in parts.items()}


def _curves(
    test: _Test, resampling: Resampling, level: float, untouched: Found, found: dict[Probe, Found]
) -> Iterator[Curve]:
    opened, run = test.opened, test.opened.run
    rows = opened.split.test
    for task in run.data.tasks:
        threshold = run.record.evaluation.row(task.name, run.main).threshold
        scorer = Scorer(
            opened.dataset.targets[task.name][rows],
            opened.dataset.groups[rows].astype(str),
            threshold.value if threshold else 0.5,
            resampling,
            before := untouched[task.name],
            level,
        )
        for kind, name in test.wanted:
            points = [scorer.point(0.0, [before])]
            for step in levels_of(kind, opened.dataset.spec.modality(name))[1:]:
                draws = _draws(test, kind, name, step, task.name, before, found)
                points.append(scorer.point(step, draws))
            yield Curve(task.name, kind, name, UNITS[kind], tuple(points))
        for (kind, name), why in test.refused.items():
            yield Curve(task.name, kind, name, UNITS[kind], (), why)


def _draws(
    test: _Test,
    kind: str,
    name: str,
    level: float,
    task: str,
    before: np.ndarray,
    found: dict[Probe, Found],
) -> list[np.ndarray]:
    """Probabilities of each draw; a partial drop takes each case from one run or the other."""
    modality = test.opened.dataset.spec.modality(name)
    if kind != "drop":
        return [found[Probe(kind, modality, level, draw)][task] for draw in range(test.draws)]
    without = found[Probe(kind, modality, 1.0, 0)][task]
    rows = test.opened.split.test
    masks = [test.perturber.dropped(rows, name, level, draw) for draw in range(test.draws)]
    return [np.where(mask[:, None], without, before) for mask in masks]


def _reproduced(opened: Reopened, untouched: Found) -> float:
    """How far the untouched probabilities are from those that the record was made from."""
    saved, run = opened.run.predictions(), opened.run
    names = np.asarray(opened.dataset.cases, dtype=str)[opened.split.test]
    order = np.argsort(names, kind="stable")
    gaps = []
    for task in run.data.tasks:
        chosen = saved.select(part="test", task=task.name, output=run.main)
        assert chosen.cases.astype(str).tolist() == names[order].tolist()
        gaps.append(np.abs(chosen.probs - untouched[task.name][order]).max())
    return float(max(gaps))


__all__ = ["stress"]
