"""The predictions of a run, one row per case, part, task and output, to recompute any number from.

Columns: `case`, `group` (the patient), `part` (`val`, `test`), `task`, `output` (`fused`, `ct`,
`table`, ...), `label` (class code, -1 missing), and `p0`, `p1`, ... the probability of each class
code, NaN beyond the classes of the task. The file carries the tasks with their class names, so it
can be read alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from fusionzoo.errors import RunError
from fusionzoo.evaluation.weighted import Array, Labels
from fusionzoo.schema import canonical, from_json
from fusionzoo.spec import TaskSpec
from fusionzoo.storage import write_atomic

#: Version of the file's columns and metadata.
SCHEMA = 1
TEXT_COLUMNS = ("case", "group", "part", "task", "output")
#: Probabilities of one row may miss a sum of 1 by this much.
SUM_TOLERANCE = 1e-3
_METADATA = b"fusionzoo.predictions"


@dataclass(frozen=True)
class Selection:
    """One output's predictions for one task and part.

    Args:
        cases: Case names, sorted.
        groups: Patient of each.
        labels: Class codes, -1 where missing.
        probs: `cases classes`.
    """

    cases: NDArray[np.object_]
    groups: NDArray[np.object_]
    labels: Labels
    probs: Array


@dataclass(frozen=True)
class Header:
    """What the file says of itself, beside its columns."""

    schema: int
    tasks: tuple[TaskSpec, ...]


@dataclass(frozen=True)
class Predictions:
    """A checked table of predictions.

    Args:
        frame: The columns of the module's docstring; rows are put in the order of part, task,
            output, case.
        tasks: The tasks, with class names in the order of the codes.
        checked: Whether the frame is known to be in order and possible, so that it isn't looked at.

    Raises:
        RunError: A column is absent or a row is impossible; says which.
    """

    frame: pd.DataFrame
    tasks: tuple[TaskSpec, ...]
    checked: bool = False

    def __post_init__(self) -> None:
        if self.checked:
            return
        columns = prediction_columns(self.tasks)
        absent = [name for name in columns if name not in self.frame.columns]
        if absent:
            raise RunError(
                f"The predictions have no column {', '.join(absent)}; "
                f"they need {', '.join(columns)}."
            )
        frame = self.frame[list(columns)].sort_values(
            ["part", "task", "output", "case"], kind="stable"
        )
        object.__setattr__(self, "frame", frame.reset_index(drop=True))
        problems = list(_problems(self.frame, self.tasks))
        if problems:
            listed = "".join(f"\n  - {problem}" for problem in problems)
            raise RunError(
                f"The predictions can't be used:{listed}\nMend the code or file that made them."
            )

    @classmethod
    def collect(cls, blocks: Iterable[pd.DataFrame], tasks: Sequence[TaskSpec]) -> Predictions:
        """One table from several `prediction_rows`."""
        return cls(
            pd.concat(list(blocks), ignore_index=True).reindex(columns=prediction_columns(tasks)),
            tuple(tasks),
        )

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, `fused` first, then by name."""
        return tuple(
            sorted(self.frame["output"].unique(), key=lambda name: (name != "fused", name))
        )

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts."""
        return tuple(sorted(self.frame["part"].unique()))

    def task(self, name: str) -> TaskSpec:
        """The task called `name`; KeyError where there is none."""
        return {task.name: task for task in self.tasks}[name]

    def select(self, *, part: str, task: str, output: str) -> Selection:
        """One output's predictions for one task and part, sorted by case.

        Raises:
            RunError: There are none; says what there is.
        """
        frame = self.frame
        rows = frame[
            (frame["part"] == part) & (frame["task"] == task) & (frame["output"] == output)
        ]
        if rows.empty:
            raise RunError(
                f"There are no predictions of output {output!r} for task {task!r} in part "
                f"{part!r}; there are outputs {', '.join(self.outputs)}, "
                f"tasks {', '.join(known.name for known in self.tasks)} "
                f"and parts {', '.join(self.parts)}."
            )
        probs = rows[[f"p{k}" for k in range(len(self.task(task).classes))]].to_numpy(dtype=float)
        cases, groups = (rows[name].to_numpy(dtype=object) for name in ("case", "group"))
        return Selection(cases, groups, rows["label"].to_numpy(dtype=np.int64), probs)

    @property
    def digest(self) -> str:
        """SHA-256 over the content, the same whatever wrote the file; as hex."""
        sha = hashlib.sha256(canonical(Header(SCHEMA, self.tasks)).encode())
        for name in TEXT_COLUMNS:
            told = json.dumps(self.frame[name].tolist(), separators=(",", ":"), ensure_ascii=False)
            sha.update(told.encode())
        sha.update(self.frame["label"].to_numpy(dtype="<i8").tobytes())
        for name in prediction_columns(self.tasks)[len(TEXT_COLUMNS) + 1 :]:
            values = self.frame[name].to_numpy(dtype="<f8")
            # One NaN for all, whatever its bits.
            sha.update(np.where(np.isnan(values), -1.0, values).astype("<f8").tobytes())
        return sha.hexdigest()


def prediction_columns(tasks: Sequence[TaskSpec]) -> tuple[str, ...]:
    """The columns of a table with these tasks, in order."""
    widest = max(len(task.classes) for task in tasks)
    return (*TEXT_COLUMNS, "label", *(f"p{k}" for k in range(widest)))


def prediction_rows(
    *,
    cases: Sequence[str],
    groups: ArrayLike,
    part: str,
    task: TaskSpec,
    output: str,
    labels: ArrayLike,
    probs: ArrayLike,
) -> pd.DataFrame:
    """Rows of one output, for `Predictions.collect`.

    Args:
        cases: Name of each case.
        groups: Patient of each case.
        part: `val` or `test`.
        task: The task.
        output: `fused`, or the name of another output.
        labels: Class codes, `cases`; -1 where missing.
        probs: `cases classes`, or `cases` with the probability of class 1 for a two-class task.

    Raises:
        RunError: Lengths or number of classes don't fit.
    """
    values = np.asarray(probs, dtype=float)
    if values.ndim == 1 and task.binary:
        values = np.stack([1 - values, values], axis=1)
    wanted = (len(cases), len(task.classes))
    lengths = {np.shape(groups), np.shape(labels), (len(cases),)}
    if values.shape != wanted or len(lengths) > 1:
        raise RunError(
            f"Predictions of output {output!r} for task {task.name!r} need probabilities of shape "
            f"{wanted} and as many groups and labels; have {values.shape}, {np.shape(groups)} and "
            f"{np.shape(labels)}."
        )
    fixed = {
        "part": part,
        "task": task.name,
        "output": output,
        "label": np.asarray(labels, dtype=np.int64),
    }
    named = {
        "case": [str(case) for case in cases],
        "group": [str(group) for group in np.asarray(groups)],
    }
    return pd.DataFrame(
        {**named, **fixed, **{f"p{k}": values[:, k] for k in range(values.shape[1])}}
    )


def write_predictions(path: str | os.PathLike[str], predictions: Predictions) -> str:
    """Write a Parquet file, whole or not at all.

    Returns:
        The digest of the predictions.

    Raises:
        RunError: It can't be written; names the path and the remedy.
    """
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_pandas(predictions.frame, preserve_index=False)
    header = canonical(Header(SCHEMA, predictions.tasks)).encode()
    buffer = pa.BufferOutputStream()
    parquet.write_table(
        table.replace_schema_metadata({_METADATA: header}), buffer, compression="zstd"
    )
    write_atomic(path, buffer.getvalue().to_pybytes())
    return predictions.digest


def read_predictions(path: str | os.PathLike[str], *, digest: str = "") -> Predictions:
    """Read and check a file of predictions.

    Args:
        path: The file.
        digest: Digest of predictions that were checked when they were written: what has it needn't
            be checked again.

    Raises:
        RunError: It is absent, truncated, of another version, without a column, or holds impossible
            rows.
    """
    import pyarrow as pa
    from pyarrow import parquet

    remedy = "Run again to make it anew, or restore it from a copy."
    try:
        table = parquet.read_table(pa.BufferReader(Path(path).read_bytes()))
    except (OSError, pa.ArrowException) as cause:
        raise RunError(
            f"Can't read predictions from {path} ({_first_line(cause)}). {remedy}"
        ) from cause
    text = (table.schema.metadata or {}).get(_METADATA)
    if text is None:
        raise RunError(
            f"{path} is a Parquet file, but not one of fusionzoo's predictions. {remedy}"
        )
    try:
        data = json.loads(text)
    except ValueError as cause:
        raise RunError(
            f"What {path} says of its tasks is damaged ({_first_line(cause)}). {remedy}"
        ) from cause
    found = data.get("schema") if isinstance(data, dict) else None
    if found != SCHEMA:
        raise RunError(
            f"{path} has predictions of schema {found}; "
            f"this fusionzoo reads schema {SCHEMA}. "
            "Read it with the version that wrote it, or run again."
        )
    header = from_json(Header, data, str(path))
    columns = prediction_columns(header.tasks)
    if digest and set(columns) <= set(table.column_names):
        known = Predictions(_frame(table.select(columns), path), header.tasks, checked=True)
        if known.digest == digest:
            return known
    try:
        return Predictions(_frame(table, path), header.tasks)
    except RunError as cause:
        raise RunError(f"{path}: {cause}") from cause


def _frame(table: Any, path: str | os.PathLike[str]) -> pd.DataFrame:
    """The rows, without what pandas noted in the file about itself."""
    import pyarrow as pa

    try:
        table.validate(full=True)  # text that is none, too
        frame: pd.DataFrame = table.replace_schema_metadata(None).to_pandas()
    except pa.ArrowException as cause:
        raise RunError(
            f"The rows of {path} are damaged ({_first_line(cause)}). Run again to make them anew."
        ) from cause
    return frame


def _first_line(cause: Exception) -> str:
    return getattr(cause, "strerror", None) or str(cause).partition("\n")[0] or type(cause).__name__


def _problems(frame: pd.DataFrame, tasks: Sequence[TaskSpec]) -> Iterable[str]:
    """Everything that is wrong with the rows, in words."""
    empty = [name for name in TEXT_COLUMNS if frame[name].isna().any()]
    if empty:
        yield f"column {', '.join(empty)} has empty cells"
        return
    known = [task.name for task in tasks]
    strange = sorted(set(frame["task"]) - set(known))
    if strange:
        yield f"task {', '.join(strange)} is not declared; declared are {', '.join(known)}"
    twice = frame[frame.duplicated(["part", "task", "output", "case"])]
    if len(twice):
        part, task, output, case = twice.iloc[0][["part", "task", "output", "case"]]
        yield f"case {case!r} occurs twice for part {part!r}, task {task!r}, output {output!r}"
    for task in tasks:
        yield from _task_problems(frame[frame["task"] == task.name], task)


def _task_problems(rows: pd.DataFrame, task: TaskSpec) -> Iterable[str]:
    num_classes = len(task.classes)
    labels = rows["label"].to_numpy()
    strange = sorted({int(code) for code in labels if code not in range(-1, num_classes)})
    if strange:
        codes = f"-1 to {num_classes - 1}"
        yield f"task {task.name!r}: labels {strange} are not among the codes {codes}"
    probs = rows[[f"p{k}" for k in range(num_classes)]].to_numpy(dtype=float)
    wrong = ~((probs >= 0) & (probs <= 1)).all(axis=1) | (
        np.abs(probs.sum(axis=1) - 1) > SUM_TOLERANCE
    )
    if wrong.any():
        first = rows[wrong].iloc[0]
        shown = ", ".join(f"{value:.4g}" for value in probs[wrong][0])
        yield (
            f"task {task.name!r}: {int(wrong.sum())} rows hold no probabilities that sum to 1, "
            f"for example case {first['case']!r}, output {first['output']!r}: {shown}"
        )
    for part, block in rows.groupby("part"):
        facts = block.groupby("case")[["label", "group"]].nunique()
        for name in ("label", "group"):
            several = facts.index[facts[name] > 1]
            if len(several):
                yield f"task {task.name!r}: case {several[0]!r} has more than one {name}"
        sizes = block.groupby("output")["case"].nunique()
        if sizes.nunique() > 1 or (len(sizes) and sizes.iloc[0] != len(facts)):
            counts = ", ".join(f"{output} {count}" for output, count in sizes.items())
            yield f"task {task.name!r}, part {part!r}: outputs are not on the same cases ({counts})"
