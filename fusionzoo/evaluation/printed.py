"""Tables of printed figures, read from a CSV with their digits."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fusionzoo.errors import DataError
from fusionzoo.evaluation.audit import FROM_MATRIX, Printed

#: Headers that tables use, in small letters without anything but letters and digits.
ALIASES: Mapping[str, str] = {
    **{name.replace("_", ""): name for name in (*FROM_MATRIX, "auroc")},
    "acc": "accuracy",
    "auc": "auroc",
    "rocauc": "auroc",
    "aucroc": "auroc",
    "f1score": "f1",
    "recall": "sensitivity",
    "sen": "sensitivity",
    "sens": "sensitivity",
    "tpr": "sensitivity",
    "spe": "specificity",
    "spec": "specificity",
    "tnr": "specificity",
    "precision": "ppv",
    "balancedacc": "balanced_accuracy",
    "accstd": "accuracy_std",
    "accuracystd": "accuracy_std",
    "accmean": "accuracy",
    "accuracymean": "accuracy",
}
_NUMBER = re.compile(r"\d*\.?\d+%?")


@dataclass(frozen=True)
class PrintedRow:
    """One row: its label and its figures by metric."""

    label: str
    figures: Mapping[str, Printed]


def read_printed(path: str | Path, *, decimals: int | None = None) -> list[PrintedRow]:
    """Rows of a CSV with a header.

    Columns are known by the metrics' names and usual abbreviations (ACC, AUC, SEN, SPE, recall,
    precision); other columns with text make the label. Numbers above 1 make the whole table one of
    percentages.

    Args:
        path: The file.
        decimals: Digits after the point, as printed; the most that any figure has by default,
            because spreadsheets drop zeros at the end.

    Raises:
        DataError: The file can't be read, or holds no column or no value that can be audited.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError([f"it can't be read: {error}"], str(path)) from error
    header = list(rows[0]) if rows else []
    known = {name: ALIASES[_plain(name)] for name in header if name and _plain(name) in ALIASES}
    if not known:
        raise DataError(
            [
                f"no column is a metric; it has {', '.join(map(str, header)) or 'no rows'}. "
                f"Metrics: {', '.join(('auroc', *FROM_MATRIX))}."
            ],
            str(path),
        )
    cells = {
        (i, metric): text
        for i, row in enumerate(rows)
        for name, metric in known.items()
        if (text := (row[name] or "").strip())
    }
    wrong = [f"row {i + 2}: {m} is {text!r}" for (i, m), text in cells.items() if not _ok(text)]
    if wrong:
        raise DataError([f"{each}, which is no number" for each in wrong], str(path))
    percent = any(text.endswith("%") or float(text) > 1 for text in cells.values())
    digits = max(len(text.rstrip("%").partition(".")[2]) for text in cells.values())
    digits = (digits if decimals is None else decimals) + 2 * percent
    scale = 100 if percent else 1
    labels = [" ".join(str(row[n]) for n in header if n and n not in known) for row in rows]
    return [
        PrintedRow(
            label or f"row {i + 2}",
            {
                metric: Printed(float(cells[i, metric].rstrip("%")) / scale, digits)
                for metric in known.values()
                if (i, metric) in cells
            },
        )
        for i, label in enumerate(labels)
    ]


def _plain(header: str) -> str:
    return re.sub(r"[^a-z0-9]", "", header.lower())


def _ok(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text))


__all__ = ["ALIASES", "PrintedRow", "read_printed"]
