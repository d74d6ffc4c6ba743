"""What an audit found, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fusionzoo.errors import BadOption, DataError

if TYPE_CHECKING:
    from rich.console import Console

    from fusionzoo.evaluation.audit import Matrix, RowAudit, ThresholdEvidence
    from fusionzoo.evaluation.printed import PrintedRow

_COLORS = {
    "consistent": "green",
    "one figure wrong": "yellow",
    "other cases": "red",
    "impossible": "red",
}
_TIES = {
    "yes": "",
    "with a tie": "; only scores with a tied pair give it",
    "no": "; no scores give it",
}
#: Other class counts, and counts of right answers, that are listed.
_SHOWN = 3
_DEVIATIONS = {1: "sample", 0: "population"}
#: Other sizes of folds are searched up to this share below and above the claimed one.
_NEAR = 0.25


def print_audits(console: Console, audits: Sequence[RowAudit]) -> None:
    """A verdict per row, with the matrices behind it, and what its AUROC can be."""
    positives, negatives = audits[0].positives, audits[0].negatives
    console.print(
        f"{positives} positive and {negatives} negative cases: one case is "
        f"{100 / (positives + negatives):.1f} points of accuracy; AUROC goes in steps of "
        f"1/{positives * negatives}"
    )
    width = max(len(audit.label) for audit in audits)
    for audit in audits:
        color = _COLORS[audit.verdict]
        verdict = f"[{color}]{audit.verdict:<16}[/{color}]"
        console.print(f"  {audit.label:<{width}}  {verdict}  {_reason(audit)}")
        if audit.auroc is not None:
            low, high = audit.auroc.interval
            console.print(
                f"  {'':<{width}}  [dim]AUROC {audit.auroc.printed} (95% {low:.3f} to {high:.3f}, "
                f"Hanley-McNeil){_TIES[audit.auroc.possible]}[/dim]"
            )


def _reason(audit: RowAudit) -> str:
    """The matrices of a row, in words."""
    from fusionzoo.evaluation.metrics import METRICS

    if audit.verdict == "consistent":
        return "  or  ".join(map(str, audit.matrices))
    if audit.verdict == "one figure wrong":
        return "; or ".join(
            f"{METRICS[m.metric].label} is printed {m.printed} and must be "
            f"{m.exact:.{m.printed.decimals}f} ({m.matrix})"
            for m in audit.misprints
        )
    if audit.verdict == "other cases":
        listed = "; ".join(_elsewhere(audit, matrix) for matrix in audit.elsewhere[:_SHOWN])
        more = len(audit.elsewhere) - _SHOWN
        return f"fits {listed}" + (f"; and {more} more" if more > 0 else "")
    return f"no class counts up to {audit.searched} cases fit"


def _elsewhere(audit: RowAudit, matrix: Matrix) -> str:
    """A matrix over other class counts, and whether they give the AUROC too."""
    from fusionzoo.evaluation.audit import auroc_steps

    told = str(matrix)
    if audit.auroc is not None:
        steps = auroc_steps(audit.auroc.printed, matrix.positives, matrix.negatives)
        fits = steps.possible == "yes"
        told += f", AUROC {steps.ordered[0]:.0f}/{steps.pairs}" if fits else ", but not the AUROC"
    return f"{matrix.positives} positive and {matrix.negatives} negative ({told})"


def print_accuracies(
    console: Console, rows: Sequence[PrintedRow], cases: int, tasks: int = 1
) -> None:
    """How many right answers each accuracy can stand for, over all tasks where it is their mean."""
    from fusionzoo.evaluation.audit import accuracy_counts

    total = cases * tasks
    over = f"{cases} cases" + (f" and {tasks} tasks: {total} answers" if tasks > 1 else "")
    console.print(f"{over}: one is {100 / total:.2g} points of accuracy")
    for row in rows:
        _require(row, "accuracy")
        found = accuracy_counts(row.figures["accuracy"], total)
        console.print(f"  {row.label}: {_of(found, total)}")


def print_folds(
    console: Console, rows: Sequence[PrintedRow], cases: int, folds: int, ddof: int
) -> None:
    """Which totals over folds give each mean and deviation; other sizes where some row has none."""
    from fusionzoo.evaluation.audit_folds import fold_sizes

    for row in rows:
        _require(row, "accuracy", "accuracy_std")
    given = {row.label: (row.figures["accuracy"], row.figures["accuracy_std"]) for row in rows}
    (claimed,) = fold_sizes(given, folds=folds, sizes=[cases], ddofs=[ddof])
    console.print(
        f"{folds} folds of {cases} cases, {_DEVIATIONS[ddof]} deviation: {claimed.fitting} of "
        f"{len(rows)} rows are possible"
    )
    for label, totals in claimed.totals.items():
        console.print(f"  {label}: {_of(totals, folds * cases)}")
    if claimed.fitting == len(rows):
        return
    near = range(max(2, round(cases * (1 - _NEAR))), round(cases * (1 + _NEAR)) + 1)
    best, second, *_ = fold_sizes(given, folds=folds, sizes=near, ddofs=_DEVIATIONS)
    lacking = [label for label, totals in best.totals.items() if not totals]
    rest = f" (not {', '.join(lacking)})" if lacking else ""
    console.print(
        f"of folds of {near[0]} to {near[-1]} cases, {best.cases} with the "
        f"{_DEVIATIONS[best.ddof]} deviation fit most: {best.fitting} of {len(rows)} rows{rest}; "
        f"next are {second.cases} with the {_DEVIATIONS[second.ddof]} deviation: {second.fitting}"
    )


def _require(row: PrintedRow, *names: str) -> None:
    lacking = [name for name in names if name not in row.figures]
    if lacking:
        raise BadOption(f"Row {row.label!r} has no {' and no '.join(lacking)} to check.")


def _of(counts: Sequence[int], total: int) -> str:
    """'123 of 150 right', or that there is no such count."""
    if not counts:
        return "no counts give it"
    listed = (
        ", ".join(map(str, counts)) if len(counts) <= _SHOWN else f"{counts[0]} to {counts[-1]}"
    )
    return f"{listed} of {total} right"


def print_thresholds(console: Console, audits: Sequence[RowAudit], path: str) -> None:
    """Which thresholds on predictions give the matrices of the rows."""
    import pandas as pd

    from fusionzoo.evaluation.audit import threshold_evidence

    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError([f"it can't be read: {error}"], path) from error
    lacking = [name for name in ("label", "prob") if name not in frame]
    if lacking:
        raise DataError([f"it has no column {name!r}" for name in lacking], path)
    told = []
    for audit in audits:
        for matrix in (*audit.matrices, *(m.matrix for m in audit.misprints)):
            evidence = threshold_evidence(frame["label"], frame["prob"], matrix.tp, matrix.fp)
            if evidence and audit.auroc and audit.auroc.printed.fits(evidence.auroc):
                told.append(_threshold(audit.label, evidence))
    for line in told or ["The predictions have the AUROC and the matrix of no row."]:
        console.print(line)


def _threshold(label: str, evidence: ThresholdEvidence) -> str:
    best = " and ".join(evidence.best)
    half = evidence.at_half
    return (
        f"{label}: the predictions have its AUROC ({evidence.auroc:.4f}). {evidence.matrix} arises "
        f"for thresholds above {evidence.low:.4f} up to {evidence.high:.4f}"
        + (f", the best {best} of all thresholds on these very cases. " if best else ". ")
        + f"At 0.5: {half}, accuracy {half.metric('accuracy'):.3f}, F1 {half.metric('f1'):.3f}."
    )
