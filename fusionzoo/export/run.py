"""Exports a finished run's model, and keeps the file only if it gives the same probabilities."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fusionzoo.api import ROLES, FinishedRun
from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.errors import BadOption, RunError, nearest
from fusionzoo.evaluation.calibration import CALIBRATION, read_calibration
from fusionzoo.export.formats import FORMATS, Runner, load, write
from fusionzoo.export.program import Exportable, trace
from fusionzoo.reopen import reopen
from fusionzoo.schema import dumps
from fusionzoo.storage import atomic_path, write_atomic

#: Batch sizes that the written model is tried with.
BATCHES = (1, 3, 8)


@dataclass(frozen=True)
class Export:
    """What was written, and how near it is to the run's own model.

    Args:
        path: The file.
        form: Its format.
        sidecar: The JSON file beside it, with inputs, outputs and preparation.
        cases: Test cases that were compared.
        max_difference: Largest absolute difference of a probability to the run's own model.
        max_to_record: The same to the probabilities that the record was made from.
    """

    path: Path
    form: str
    sidecar: Path
    cases: int
    max_difference: float
    max_to_record: float


def export(
    run: FinishedRun,
    path: str | Path,
    *,
    form: str = "torch-export",
    dataset: str | AbstractDataset | None = None,
    cases: int = 64,
    tolerance: float = 1e-4,
) -> Export:
    """Write a finished run's model to a file, and a JSON file beside it that says how to feed it.

    The written file is opened again and run on test cases in batches of 1, 3 and 8; where one
    probability differs by more than `tolerance`, no file is left.

    Args:
        run: The run.
        path: The file.
        form: `torch-export` (a `.pt2` archive) or `onnx`.
        dataset: Where the run's data are now, if they have moved.
        cases: Test cases to compare on, at most.
        tolerance: Largest absolute difference of a probability.

    Raises:
        BadOption: There is no such format, or a part of the model can't be written in it.
        MissingExtra: The format's packages are not installed.
        RunError: The file gives other probabilities, or the run's data have changed.
    """
    if form not in FORMATS:
        raise BadOption(
            f"A model can't be exported as {form!r}. {nearest(form, FORMATS)}Formats: "
            f"{', '.join(FORMATS)}."
        )
    target = Path(path)
    opened = reopen(run, dataset)
    exportable = Exportable(run.model(run.data), run.data)
    program = trace(exportable)
    rows = opened.split.test[:cases]
    with atomic_path(target) as temporary:
        write(program, form, list(exportable.names), temporary)
        runner = load(form, temporary, exportable)
        worst, to_record = 0.0, 0.0
        for number, size in enumerate(BATCHES):
            loader = opened.loader(rows[: None if number else BATCHES[-1]], batch_size=size)
            for batch in loader:
                inputs = exportable.inputs(batch)
                gap, theirs = _compared(exportable, runner, inputs)
                worst = max(worst, gap, *_with_absent(exportable, runner, inputs))
                indices = batch.index.tolist()
                to_record = max(to_record, _to_record(run, opened.dataset, indices, theirs))
        if not worst <= tolerance:
            raise RunError(
                f"The exported model differs from the run's own by {worst:.2e} in a probability, "
                f"which is more than the tolerance {tolerance:.0e}. Nothing was written; use "
                "another format, or a larger --tolerance if you can accept it."
            )
    sidecar = target.with_name(f"{target.name}.json")
    found = Export(target, form, sidecar, len(rows), worst, to_record)
    write_atomic(sidecar, dumps(_description(run, exportable, found)) + "\n")
    return found


@torch.inference_mode()
def _compared(
    exportable: Exportable, runner: Runner, inputs: dict[str, torch.Tensor]
) -> tuple[float, dict[str, np.ndarray]]:
    """Largest difference between the model and the written file, and what the file says."""
    ours = {name: x.numpy() for name, x in exportable(inputs).items()}
    theirs = {name: x.detach().numpy() for name, x in runner(inputs).items()}
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours), theirs


def _with_absent(
    exportable: Exportable, runner: Runner, inputs: dict[str, torch.Tensor]
) -> Iterator[float]:
    """The same with each modality taken from every second case, where the fusion has masks."""
    for modality in exportable.modalities if exportable.masked else ():
        there = inputs[f"present_{modality.name}"].clone()
        there[::2] = False
        shape = (-1, *(1,) * len(modality.shape))
        without = inputs[modality.name] * there.view(shape)
        changed = {modality.name: without, f"present_{modality.name}": there}
        yield _compared(exportable, runner, inputs | changed)[0]


def _to_record(
    run: FinishedRun, dataset: AbstractDataset, rows: list[int], found: dict[str, np.ndarray]
) -> float:
    """Largest difference of a batch to the predictions that the record was made from."""
    saved, worst = run.predictions(), 0.0
    for task, probs in found.items():
        chosen = saved.select(part="test", task=task, output=run.main)
        place = {case: k for k, case in enumerate(chosen.cases.tolist())}
        own = chosen.probs[[place[dataset.cases[row]] for row in rows]]
        worst = max(worst, float(np.abs(own - probs).max()))
    return worst


def _description(run: FinishedRun, exportable: Exportable, found: Export) -> dict[str, Any]:
    """How to feed the file and read what it gives."""
    encoders = run.encoders()
    inputs: list[dict[str, Any]] = []
    for modality in exportable.modalities:
        told: dict[str, Any] = {"name": modality.name, "kind": modality.kind, "dtype": "float32"}
        told |= {"shape": ["batch", *modality.shape]}
        if modality.name in encoders:
            encoder = encoders[modality.name]
            told |= {"columns": encoder.names, "encoder": json.loads(encoder.to_json())}
        inputs.append(told)
    if exportable.masked:
        inputs += [
            {"name": f"present_{m.name}", "dtype": "bool", "shape": ["batch"]}
            for m in exportable.modalities
        ]
    return {
        "format": found.form,
        "run_id": run.record.run_id,
        "spec": run.record.spec,
        "inputs": inputs,
        "outputs": [_output(run, task.name, task.classes) for task in exportable.data.tasks],
        "preparation": (run.folder / ROLES).read_text(encoding="utf-8"),
        "parity": {
            "cases": found.cases,
            "batch_sizes": list(BATCHES),
            "max_difference": found.max_difference,
            "max_to_record": found.max_to_record,
        },
    }


def _output(run: FinishedRun, task: str, classes: tuple[str, ...]) -> dict[str, Any]:
    row = run.record.evaluation.row(task, run.main)
    told: dict[str, Any] = {
        "name": task,
        "shape": ["batch", len(classes)],
        "classes": list(classes),
        "threshold": row.threshold.value if row.threshold else None,
        "temperature": None,
    }
    path = run.folder / CALIBRATION
    if path.is_file():
        calibration = read_calibration(path)
        if calibration.predictions_digest == run.record.predictions_digest:
            told["temperature"] = calibration.of(task, run.main).value
    return told


__all__ = ["Export", "export"]
