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
#: Other class counts that are listed.
_SHOWN = 3


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
    console: Console, rows: Sequence[PrintedRow], cases: int, folds: int | None, ddof: int
) -> None:
    """How many right answers each accuracy can stand for."""
    from fusionzoo.evaluation.audit import accuracy_counts, folds_fit

    total = cases * (folds or 1)
    needed = ("accuracy", "accuracy_std") if folds else ("accuracy",)
    for row in rows:
        lacking = [name for name in needed if name not in row.figures]
        if lacking:
            raise BadOption(f"Row {row.label!r} has no {' and no '.join(lacking)} to check.")
        figures = [row.figures[name] for name in needed]
        counts = (
            folds_fit(*figures, folds=folds, cases=cases, ddof=ddof)
            if folds
            else accuracy_counts(figures[0], cases)
        )
        right = f"{', '.join(map(str, counts))} of {total} right"
        console.print(f"  {row.label}: {right if counts else f'no count of {total} gives it'}")


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
