"""What a board keeps of a run: enough to rank it, to refuse it, and to say where it is from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionzoo.evaluation.results import MEAN
from fusionzoo.leaderboard.cache import BoardCache
from fusionzoo.records.record import RunRecord
from fusionzoo.records.store import RECORD, RunStore
from fusionzoo.schema import to_json

#: Figures are kept to so many digits, more than any board prints and fewer than rounding disturbs.
DIGITS = 9


@dataclass(frozen=True)
class RunFacts:
    """A run, without what no board shows.

    Args:
        run_id: Name of the run's folder.
        protocol: Version of how it was trained and scored.
        spec: Canonical spec string.
        spec_hash: Its hash.
        options: Per component, its options.
        conversions: What assembly put between the components.
        dataset: Name of the data set.
        dataset_options: Its options.
        data_digest: Digest of the data.
        split_scheme: How patients were parted, as text.
        fold: Fold that was tested; None where there is one split.
        split_digest: Digest of which case is in which part.
        counts: Cases of each part.
        seed: Its seed.
        settings: Settings of the trainer.
        output: The output that the board shows, the run's own.
        part: The part that was scored.
        threshold_rule: How thresholds were chosen.
        level: Confidence of the record's intervals.
        binary: What two-class tasks are in a mean over tasks.
        thresholds: Threshold of each two-class task.
        scores: Per task and metric: value, lower and upper limit; None where undefined.
        tested: Per task: cases, patients, and positive cases where there are two classes.
        predictions_digest: Digest of the predictions.
        cost: What the model costs, as in the record.
        environment: What the run ran on, as in the record.
        started: When, UTC.
        finished: When, UTC.
    """

    run_id: str
    protocol: str
    spec: str
    spec_hash: str
    options: dict[str, Any]
    conversions: list[str]
    dataset: str
    dataset_options: dict[str, Any]
    data_digest: str
    split_scheme: str
    fold: int | None
    split_digest: str
    counts: dict[str, int]
    seed: int
    settings: dict[str, Any]
    output: str
    part: str
    threshold_rule: str
    level: float
    binary: str
    thresholds: dict[str, float]
    scores: dict[str, dict[str, list[Any]]]
    tested: dict[str, list[Any]]
    predictions_digest: str
    cost: dict[str, Any]
    environment: dict[str, Any]
    started: str
    finished: str

    @classmethod
    def of(cls, record: RunRecord) -> RunFacts:
        """The facts of a record."""
        evaluation = record.evaluation
        rows = [row for row in evaluation.results if row.output == evaluation.main]
        return cls(
            run_id=record.run_id,
            protocol=record.protocol,
            spec=record.spec,
            spec_hash=record.spec_hash,
            options=to_json(record.options),
            conversions=list(record.conversions),
            dataset=record.data.name,
            dataset_options=to_json(record.data.options),
            data_digest=record.data.digest,
            split_scheme=record.split.scheme,
            fold=record.split.fold,
            split_digest=record.split.digest,
            counts=dict(record.split.counts),
            seed=record.seed,
            settings=to_json(record.training.settings),
            output=evaluation.main,
            part=evaluation.part,
            threshold_rule=evaluation.threshold_rule,
            level=evaluation.level,
            binary=evaluation.binary,
            thresholds={row.task: row.threshold.value for row in rows if row.threshold},
            scores={
                row.task: {
                    name: to_json([round(x, DIGITS) for x in (told.value, told.low, told.high)])
                    for name, told in row.metrics.items()
                }
                for row in rows
            },
            tested={row.task: [row.num_cases, row.num_patients, row.num_positive] for row in rows},
            predictions_digest=record.predictions_digest,
            cost=to_json(record.cost),
            environment=to_json(record.environment),
            started=record.started,
            finished=record.finished,
        )

    @classmethod
    def loads(cls, text: str) -> RunFacts:
        """The inverse of `dumps`."""
        return cls(**json.loads(text))

    def dumps(self) -> str:
        """JSON text."""
        return json.dumps(to_json(vars(self)), ensure_ascii=False)

    @property
    def scheme(self) -> str:
        """How patients were parted, the same for all folds: '5 stratified folds by patient'."""
        if self.fold is None:
            return self.split_scheme
        return self.split_scheme.removeprefix(f"fold {self.fold} of ")

    @property
    def test_set(self) -> str:
        """Name of its test set: 'fold 0', or 'test' where there is one split."""
        return "test" if self.fold is None else f"fold {self.fold}"

    @property
    def tasks(self) -> list[str]:
        """Tasks that it was scored on, the mean over tasks left out."""
        return [task for task in self.scores if task != MEAN or len(self.scores) == 1]


def read_facts(store: RunStore, cache: BoardCache) -> dict[str, RunFacts]:
    """Facts of every complete run of a store, by id; only records that are new or changed are read.

    Raises:
        RunError: A record can't be read.
    """
    known = cache.facts()
    found, new = {}, []
    for run_id, changed, size in _stamps(store.root):
        kept = known.get(run_id)
        if kept is not None and kept[:2] == (changed, size):
            found[run_id] = RunFacts.loads(kept[2])
        else:
            found[run_id] = RunFacts.of(store.read_record(run_id))
            new.append((run_id, changed, size, found[run_id].dumps()))
    cache.put_facts(new)
    return found


def _stamps(root: Path) -> list[tuple[str, int, int]]:
    """Id, time of change and size of each record, in the order of the ids."""
    told = ((path.parent.name, path.stat()) for path in root.glob(f"*/{RECORD}"))
    return sorted((run_id, stat.st_mtime_ns, stat.st_size) for run_id, stat in told)


__all__ = ["DIGITS", "RunFacts", "read_facts"]
