"""What data sets promise: rows that agree, honest splits, the same values at every reading."""

import inspect
import re
from typing import Any

import numpy as np
import torch

from fusionzoo import registry
from fusionzoo.conformance.examination import Check, Examination
from fusionzoo.conformance.probes import MAPS, VECTORS, ProbeMaps, ProbeVectors
from fusionzoo.conformance.quiet import PYTHON, random_states, watch
from fusionzoo.conformance.report import Fault, NotRun
from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.data.loader import CaseLoader
from fusionzoo.data.splits import make_split
from fusionzoo.data.tabular import fit_encoders
from fusionzoo.errors import BadOption, DataError, FusionZooError
from fusionzoo.models.assemble import assemble
from fusionzoo.training.config import TrainConfig

_KIND = frozenset({"dataset"})
#: Cases whose images are read.
_LOOKED_AT = 8


def opened(examined: Examination) -> AbstractDataset:
    """The data set, as it was given, or opened with the options that there are."""
    subject = examined.subject
    if subject.dataset is None:
        lacking = [
            p.name
            for p in subject.parameters.values()
            if p.default is inspect.Parameter.empty and p.name not in subject.options
        ]
        if lacking:
            raise NotRun(
                f'it needs {", ".join(lacking)}: check "{subject.name}({lacking[0]}=...)", or '
                "an open data set"
            )
        try:
            subject.dataset = examined.cls(**subject.options)
        except (BadOption, DataError) as error:
            raise NotRun(f"it can't be opened here: {error}") from error
    return subject.dataset


def check_opening(examined: Examination) -> None:
    """Opening it once more reads, and does nothing else."""
    if examined.subject.is_given_open:
        raise NotRun("it was open already; name it with its options to see how it opens")
    data = opened(examined)
    before = random_states()
    with watch(may_read=True) as deeds:
        again = examined.cls(**examined.subject.options)
    after = random_states()
    deeds += [f"draws from {n}" for n in before if before[n] != after[n] and n != PYTHON]
    if deeds:
        raise Fault(f"Opening it {'; '.join(deeds[:4])}.")
    if again.digest != data.digest:
        raise Fault(f"Opened twice, its digest is {data.digest[:12]} and {again.digest[:12]}.")
    if not re.fullmatch(r"[0-9a-f]{64}", data.digest):
        raise Fault(f"Its digest is {data.digest[:80]!r}, not the 64 digits of a SHA-256.")


def check_rows(examined: Examination) -> None:
    """Everything that has a row per case has as many, and codes are codes."""
    data, wrong = opened(examined), []
    count = len(data.cases)
    if len(set(data.cases)) != count or not all(isinstance(case, str) for case in data.cases):
        wrong.append("its cases are not all different texts")
    names = {m.name for m in data.spec.modalities}
    tables = {m.name for m in data.spec.modalities if m.kind == "table"}
    tasks = {task.name: task for task in data.spec.tasks}
    if set(data.targets) != set(tasks):
        wrong.append(f"its targets are {_named(data.targets)}, its tasks {_named(tasks)}")
    if set(data.columns) != tables:
        wrong.append(f"its columns are of {_named(data.columns)}, its tables {_named(tables)}")
    if len(data.groups) != count:
        wrong.append(f"it has {count} cases and {len(data.groups)} patients' names")
    for name in sorted(set(data.targets) & set(tasks)):
        wrong += _codes(name, np.asarray(data.targets[name]), count, len(tasks[name].classes))
    for name in sorted(names):
        present = np.asarray(data.present(name))
        if present.shape != (count,) or present.dtype != bool:
            wrong.append(f"'present' of {name!r} is {present.dtype} {present.shape}")
    if wrong:
        raise Fault("; ".join(wrong) + ".")


def _codes(task: str, codes: np.ndarray, count: int, classes: int) -> list[str]:
    if codes.shape != (count,) or not np.issubdtype(codes.dtype, np.integer):
        return [f"targets of {task!r} are {codes.dtype} {codes.shape}, not {count} whole numbers"]
    outside = sorted(set(codes.tolist()) - set(range(-1, classes)))
    wrong = [f"targets of {task!r} hold {outside[:3]}, not -1 to {classes - 1}"] if outside else []
    if len(set(codes[codes >= 0].tolist())) < 2:
        wrong.append(f"targets of {task!r} have fewer than two classes")
    return wrong


def _named(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"


def check_values(examined: Examination) -> None:
    """Images have the shape that was declared, in float32, and are the same when read again."""
    data = opened(examined)
    for modality in data.spec.modalities:
        if modality.kind == "table":
            continue
        rows = np.flatnonzero(data.present(modality.name))
        for row in rows[:: max(len(rows) // _LOOKED_AT, 1)].tolist():
            image = data.image(modality.name, row)
            what = f"{modality.name!r} of case {data.cases[row]!r}"
            if image.shape != modality.shape or image.dtype != np.float32:
                raise Fault(
                    f"{what} is {image.dtype} {image.shape}; declared is float32 {modality.shape}."
                )
            if not np.isfinite(image).all():
                raise Fault(f"{what} has values that are not finite.")
            if not np.array_equal(image, data.image(modality.name, row)):
                raise Fault(f"{what} differs when it is read again.")


def check_tables(examined: Examination) -> None:
    """Tables hold what their roles say, and encode to as many columns as declared."""
    data = opened(examined)
    every = np.arange(len(data.cases))
    for modality in data.spec.modalities:
        if modality.kind != "table":
            continue
        frame, columns = data.table(modality.name), data.columns[modality.name]
        if len(frame) != len(data.cases):
            raise Fault(f"{modality.name!r} has {len(frame)} rows for {len(data.cases)} cases.")
        if modality.channels != columns.num_encoded:
            raise Fault(
                f"{modality.name!r} declares {modality.channels} encoded columns; its roles make "
                f"{columns.num_encoded}."
            )
        try:
            encoder = fit_encoders(data, every)[modality.name]
            encoded = encoder.transform(frame[np.asarray(data.present(modality.name))])
        except DataError as error:
            raise Fault(f"{modality.name!r} can't be encoded: {error}") from error
        if not np.isfinite(encoded).all():
            raise Fault(f"{modality.name!r} has encoded values that are not finite.")


def check_split(examined: Examination) -> None:
    """No patient is in two parts: of what comes with the data, and of what is drawn from it."""
    data = opened(examined)
    for told, parts in (("split", data.given_split), ("folds", data.given_folds)):
        if parts is not None:
            _one_part_each(data, np.asarray(parts), f"the {told} of the release")
    made = 0
    for fold in (None, 0, data.num_folds - 1):
        told = "the fixed split" if fold is None else f"fold {fold}"
        try:
            split = make_split(data, fold=fold, num_folds=data.num_folds, seed=data.fold_seed)
        except FusionZooError:
            continue  # too few cases for it, which a user is told
        part = np.full(len(data.cases), "", dtype="<U5")
        for name, rows in (("train", split.train), ("val", split.val), ("test", split.test)):
            if (part[rows] != "").any():
                raise Fault(f"In {told}, a case is in two parts.")
            part[rows] = name
        _one_part_each(data, part, told)
        made += 1
    if not made:
        raise NotRun("it has too few cases for a split")


def _one_part_each(data: AbstractDataset, parts: np.ndarray, told: str) -> None:
    seen: dict[str, str] = {}
    for patient, part in zip(np.asarray(data.groups).tolist(), parts.tolist(), strict=True):
        if part != "" and seen.setdefault(str(patient), str(part)) != str(part):
            raise Fault(
                f"In {told}, patient {patient!r} is in {seen[str(patient)]!r} and in {part!r}."
            )


def check_suggestions(examined: Examination) -> None:
    """What it suggests to components and to the trainer can be had."""
    spec, wrong = opened(examined).spec, []
    for name, suggested in spec.suggestions.items():
        kinds = [
            kind for kind in ("encoder", "neck", "fusion", "head") if name in registry.names(kind)
        ]
        takes = {option for kind in kinds for option in registry.options(kind, name)}
        unknown = [option for option in suggested if option not in takes]
        if not kinds:
            wrong.append(f"it suggests options of {name!r}, which there isn't")
        elif unknown:
            wrong.append(f"it suggests {', '.join(unknown)} of {name!r}, which has no such option")
    try:
        TrainConfig.from_settings(spec.training)
    except FusionZooError as error:
        wrong.append(str(error))
    if wrong:
        raise Fault("; ".join(wrong))


def check_batches(examined: Examination) -> None:
    """The loader's batches go through a small model and give gradients to it."""
    data = opened(examined)
    chosen = np.arange(min(len(data.cases), 4))
    encoders = fit_encoders(data, np.arange(len(data.cases)))
    batch = CaseLoader(data, chosen, encoders, batch_size=len(chosen)).batch(0)
    branches = ", ".join(
        f"{m.name}={VECTORS if m.kind == 'table' else MAPS}" for m in data.spec.modalities
    )
    fusion = " -> concat" if len(data.spec.modalities) > 1 else ""
    with (
        registry.lent("encoder", MAPS, ProbeMaps),
        registry.lent("encoder", VECTORS, ProbeVectors),
    ):
        model = assemble(f"{branches}{fusion} -> linear", data.spec)
    logits = model(batch).logits
    for task in data.spec.tasks:
        if logits[task.name].shape != (len(chosen), task.num_logits):
            raise Fault(f"Logits of {task.name!r} are {tuple(logits[task.name].shape)}.")
    torch.cat([x.flatten() for x in logits.values()]).sum().backward()
    if not all(p.grad is not None for p in model.parameters()):
        raise Fault("A small model gets no gradient from its batches.")


CHECKS: tuple[Check, ...] = (
    Check(
        "opening",
        "Opening it reads and does nothing else, and gives the same digest every time.",
        check_opening,
        _KIND,
    ),
    Check(
        "rows",
        "Cases, patients, targets and masks agree in number, and targets are class codes.",
        check_rows,
        _KIND,
    ),
    Check(
        "images",
        "Images are float32 of the declared shape, finite, and the same when read again.",
        check_values,
        _KIND,
        after=("rows",),
    ),
    Check(
        "tables",
        "Tables have a row a case and encode to the declared number of finite columns.",
        check_tables,
        _KIND,
        after=("rows",),
    ),
    Check(
        "splits",
        "No patient is in two parts of its split or of any of its folds.",
        check_split,
        _KIND,
        after=("rows",),
    ),
    Check(
        "suggestions",
        "What it suggests to components and to the trainer are options that they have.",
        check_suggestions,
        _KIND,
    ),
    Check(
        "batches",
        "Its batches go through a small model, forward and backward.",
        check_batches,
        _KIND,
        after=("rows", "images", "tables"),
    ),
)
