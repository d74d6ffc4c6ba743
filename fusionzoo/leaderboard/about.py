"""What a board says of itself: facts of its runs, notes, and curves of its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from fusionzoo.evaluation.power import detectable_difference
from fusionzoo.leaderboard.facts import RunFacts
from fusionzoo.leaderboard.layout import Layout
from fusionzoo.leaderboard.options import BoardOptions
from fusionzoo.leaderboard.rows import machine
from fusionzoo.leaderboard.scores import BoardScores
from fusionzoo.leaderboard.table import Curve, Fact, Panel, Row


def board_facts(layout: Layout, scores: BoardScores, ranked_by: str) -> tuple[Fact, ...]:
    """What all runs of a board share, and what they were tested on."""
    runs = layout.runs
    first = runs[0]
    options = ", ".join(f"{k}={_plain(v)}" for k, v in sorted(first.dataset_options.items()))
    seeds = sorted({run.seed for run in runs})
    commits = sorted({str(run.environment["commit"] or "unknown")[:12] for run in runs})
    dirty = any(run.environment["dirty"] for run in runs)
    told = {
        "Data set": first.dataset + (f" ({options})" if options else ""),
        "Test cases": _tested(runs, scores, ranked_by.partition("/")[0]),
        "Split": first.scheme,
        "Seeds": ", ".join(map(str, seeds)),
        "Runs": str(len(runs)),
        "Size": layout.size,
        "Protocol": first.protocol,
        "Threshold": f"{first.threshold_rule}, on validation data" if first.thresholds else "",
        "Data digest": first.data_digest[:12],
        "Code": ", ".join(commits) + (" (with changes)" if dirty else ""),
        "Machines": "; ".join(sorted({machine(run) for run in runs})),
    }
    return tuple(Fact(label, value) for label, value in told.items() if value)


def _plain(value: object) -> str:
    """'all', '12 x 48 x 48', 'clinic: coronal; derm: axial'."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_plain(own)}" for key, own in value.items())
    if isinstance(value, list | tuple):
        return " x ".join(map(str, value))
    return str(value)


def _tested(runs: Sequence[RunFacts], scores: BoardScores, task: str) -> str:
    """'1185 of 650 patients, 522 positive' over all test sets."""
    firsts = {run.test_set: run for run in reversed(runs)}
    counts = [run.tested[task] for run in firsts.values()]
    cases = sum(one[0] for one in counts)
    patients = scores.num_patients or sum(one[1] for one in counts)
    positives = [one[2] for one in counts]
    told = f"{cases} of {patients} patients"
    return told if None in positives else f"{told}, {sum(positives)} positive"


def board_notes(layout: Layout, options: BoardOptions) -> tuple[str, ...]:
    """The sheet's note, and what its published test set could have shown at all."""
    shown = _published_power(layout, options) if options.metric == "auroc" else ""
    return tuple(note for note in (layout.note, shown) if note)


def _published_power(layout: Layout, options: BoardOptions) -> str:
    """The smallest gain that the published test set could tell from chance."""
    printed = [row.published["auroc"] for row in layout.rows if "auroc" in row.published]
    test = layout.test
    if test is None or not printed:
        return ""
    best = max(printed)
    least = detectable_difference(best, test.positives, test.negatives, alpha=options.alpha)
    gain = f"no gain over the best printed AUROC of {best:.{layout.decimals}f}"
    if not math.isnan(least):
        gain += f" of less than {least:.2f}"
    return (
        f"The published test set has {test.positives} positive ({test.positive}) and "
        f"{test.negatives} negative cases: on it, {gain} can be told from chance with 80% power "
        "(Hanley and McNeil 1982, correlation 0.5)."
    )


def board_panels(rows: Sequence[Row], layout: Layout, scores: BoardScores) -> tuple[Panel, ...]:
    """Reliability curves, where there is one two-class task."""
    found = []
    tasks = layout.runs[0].tasks
    for row in rows if len(tasks) == 1 else ():
        own = scores.rows[row.position - 1]
        if own and tasks[0] in own.reliability:
            means, shares = own.reliability[tasks[0]]
            found.append(Curve(row.label, means, shares))
    if not found:
        return ()
    title = "Calibration: what share was positive among cases given about the same probability"
    axes = "predicted probability", "share of positives"
    return (Panel("calibration", title, *axes, tuple(found)),)


__all__ = ["board_facts", "board_notes", "board_panels"]
