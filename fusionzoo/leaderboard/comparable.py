"""Runs of one board share protocol, data and splits; others are refused, and why is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fusionzoo.errors import MixedRuns
from fusionzoo.leaderboard.facts import RunFacts
from fusionzoo.leaderboard.layout import Layout
from fusionzoo.schema import canonical

_SHOWN_RUNS, _SHOWN_CHARACTERS = 3, 60

#: What all runs of a board have in common, by what errors call it.
SHARED: Mapping[str, Callable[[RunFacts], Any]] = {
    "protocol": lambda run: run.protocol,
    "data.name": lambda run: run.dataset,
    "data.options": lambda run: canonical(run.dataset_options),
    "data.digest": lambda run: run.data_digest,
    "split.scheme": lambda run: run.scheme,
    "evaluation.part": lambda run: run.part,
    "evaluation.threshold_rule": lambda run: run.threshold_rule,
    "evaluation.binary": lambda run: run.binary,
    "tasks": lambda run: ", ".join(run.tasks),
}


def check_comparable(layout: Layout) -> None:
    """Refuse a board whose runs differ in what a board must share.

    Raises:
        MixedRuns: They do; names every differing field, its values and the runs.
    """
    runs = layout.runs
    problems = list(_differences(runs)) + list(_not_as_asked(layout))
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise MixedRuns(
            f"Board {layout.name!r}: its {len(runs)} runs can't stand on one board:{listed}\n"
            "A board compares models on the same cases under the same protocol. Run the odd ones "
            "again with this version and these data, move them to another folder, or choose runs "
            "with --runs."
        )


def _differences(runs: Sequence[RunFacts]) -> Iterator[str]:
    for name, read in SHARED.items():
        yield from _difference(name, {run.run_id: str(read(run)) for run in runs})
    for test_set in dict.fromkeys(run.test_set for run in runs):
        digests = {run.run_id: run.split_digest for run in runs if run.test_set == test_set}
        yield from _difference(f"split.digest of {test_set}", digests)


def _difference(name: str, values: Mapping[str, str]) -> Iterator[str]:
    """'protocol: 1 in 4 runs (a, b, c, ...); 2 in 1 run (d)', where they differ."""
    if len(set(values.values())) < 2:
        return
    told = []
    for value in dict.fromkeys(values.values()):
        own = [run_id for run_id, other in values.items() if other == value]
        shown = ", ".join(own[:_SHOWN_RUNS]) + ", ..." * (len(own) > _SHOWN_RUNS)
        text = value if len(value) <= _SHOWN_CHARACTERS else value[:12]
        told.append(f"{text} in {len(own)} run{'s' * (len(own) > 1)} ({shown})")
    yield f"{name}: {'; '.join(told)}"


def _not_as_asked(layout: Layout) -> Iterator[str]:
    """Where all runs agree, but not with the sheet."""
    for name, wanted in (("protocol", layout.protocol), ("data.name", layout.dataset)):
        odd = [run for run in layout.runs if wanted and SHARED[name](run) != wanted]
        if odd and len(odd) == len(layout.runs):
            yield f"{name}: the sheet asks for {wanted}, its runs have {SHARED[name](odd[0])}"


__all__ = ["SHARED", "check_comparable"]
