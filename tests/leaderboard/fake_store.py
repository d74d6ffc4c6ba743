"""Stores of records and predictions with known true differences; nothing is trained."""

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from fusionzoo.evaluation.predictions import Predictions, prediction_rows
from fusionzoo.evaluation.report import evaluate
from fusionzoo.records.environment import Environment, Hardware
from fusionzoo.records.failure import SCHEMA as FAILURE_SCHEMA
from fusionzoo.records.failure import Failure, write_failure
from fusionzoo.records.record import (
    SCHEMA,
    Cost,
    DataFacts,
    RunRecord,
    SplitFacts,
    TrainingFacts,
)
from fusionzoo.records.sheet import SCHEMA as SHEET_SCHEMA
from fusionzoo.records.sheet import PublishedTest, Sheet, SheetCell, SheetRow, write_sheet
from fusionzoo.records.store import RunStore
from fusionzoo.spec import TaskSpec

BINARY = TaskSpec("malignancy", ("benign", "malignant"))
GRADES = TaskSpec("grade", ("low", "middle", "high"))
ENVIRONMENT = Environment(
    python="3.11.9",
    platform="Linux x86_64",
    versions={"fusionzoo": "0.1.0", "torch": "2.6.0", "numpy": "2.1.0"},
    commit="1f3c" * 10,
    dirty=False,
    hardware=Hardware("Some Processor", 8, None),
    kernels={"selective_scan": "reference"},
)


@dataclass(frozen=True)
class Model:
    """A row: what it is called, and how well it tells classes apart.

    `signal` is the distance of the classes in standard deviations of the score; 1.0 is an AUROC of
    about 0.76, 2.0 of 0.92.
    """

    label: str
    spec: str
    signal: float = 1.5
    parameters: int = 1_000_000
    published: dict = field(default_factory=dict)
    published_sd: dict = field(default_factory=dict)
    category: str = ""
    basis: str = "released"
    note: str = ""
    refusal: str = ""
    #: Cells that failed or were not run: (fold, seed) to a failure's kind, or "waiting".
    absent: dict = field(default_factory=dict)


MODELS = (
    Model("Concat", "ct=penet3d, table=mlp -> concat -> linear", 1.5, 2_100_000),
    Model("MSCA", "ct=penet3d, table=kan -> msca -> linear", 2.3, 3_400_000),
    Model("CT alone", "ct=penet3d -> linear", 1.45, 900_000),
    Model("Table alone", "table=kan -> linear", 0.6, 2_000),
)


def printed(model, **published):
    """The same model with printed numbers."""
    return replace(model, published=published)


def edit_record(root, run_id, change):
    """Change a record's JSON in place, as no honest writer does."""
    path = Path(root) / run_id / "record.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def make_store(
    root,
    models=MODELS,
    *,
    folds=3,
    seeds=(0,),
    tasks=(BINARY,),
    patients=40,
    dataset="lidc",
    sheet=True,
    replicates=100,
    prefix="",
    **changes,
):
    """A store with every run of these models, and a sheet that says so; returns its path."""
    root = Path(root)
    store = RunStore(root)
    rows = []
    for index, model in enumerate(models):
        cells = []
        for fold in range(folds) if folds else [None]:
            for seed in seeds:
                run_id = (
                    f"{prefix}{index:02d}-{'split' if fold is None else f'fold{fold}'}-seed{seed}"
                )
                cells.append(SheetCell(run_id, fold, seed))
                absent = model.absent.get((fold, seed))
                if model.refusal or absent == "waiting":
                    continue
                if absent:
                    fail(root, model, run_id, fold, seed, absent)
                    continue
                add_run(
                    store,
                    model,
                    index,
                    run_id,
                    fold,
                    seed,
                    folds,
                    tasks,
                    patients,
                    dataset,
                    replicates,
                )
        rows.append(_row(model, () if model.refusal else tuple(cells)))
    if sheet:
        asked = _sheet(tuple(rows), folds, tuple(seeds), dataset)
        write_sheet(root, replace(asked, **changes))
    return root


def fail(root, model, run_id, fold, seed, kind):
    reasons = {
        "memory": "The run was killed for memory: it was given 2048 MiB.",
        "timeout": "The run took longer than 600 s.",
    }
    told = reasons.get(kind, "ValueError: loss is not finite")
    args = (told, 2, "Traceback ...", "host, Python 3.11", "2026-01-01T00:00:00+00:00")
    write_failure(root, Failure(FAILURE_SCHEMA, run_id, model.spec, fold, seed, kind, *args))


def add_run(
    store, model, index, run_id, fold, seed, folds, tasks, patients, dataset, replicates, **changes
):
    predictions = predict(model, index, fold, seed, tasks, patients)
    digest = store.write_predictions(run_id, predictions)
    scheme = f"fold {fold} of {folds} stratified folds by patient, seed 0"
    cases = 2 * patients
    split = SplitFacts(
        "split in the data" if fold is None else scheme,
        fold,
        f"{0 if fold is None else fold:02d}" * 32,
        {"train": cases * 3, "val": cases, "test": cases},
    )
    record = RunRecord(
        schema=SCHEMA,
        protocol="1",
        run_id=run_id,
        spec=model.spec,
        spec_hash=f"{index:012d}",
        options={"ct:penet3d": {"width": 0.25, "depth": 14}},
        conversions=("ct: summary -> vector of 64 channels",),
        data=DataFacts(dataset, {"size": "all"}, "cd" * 32),
        split=split,
        seed=seed,
        training=TrainingFacts({"epochs": 12, "lr": 0.001, "precision": "32-true"}, ()),
        evaluation=evaluate(predictions, replicates=replicates, seed=seed),
        predictions_digest=digest,
        cost=Cost(
            model.parameters,
            flops=model.parameters * 90,
            peak_memory_mib=900.0 + index,
            train_seconds=60.0 + 7 * index + seed,
            latency_ms=4.0 + index,
        ),
        environment=ENVIRONMENT,
        started="2026-01-01T00:00:00+00:00",
        finished="2026-01-01T00:01:00+00:00",
    )
    store.write_record(replace(record, **changes))


def predict(model, index, fold, seed, tasks, patients):
    """Two cases a patient; half of a score's variance is the patient's and all models share it."""
    place = 0 if fold is None else fold
    blocks = []
    for part in ("val", "test"):
        shared = np.random.default_rng([place, part == "test"])
        own = np.random.default_rng([place, part == "test", index + 1, seed])
        of = np.repeat(np.arange(patients), 2)
        names = [f"{place}-{part}-{i:03d}" for i in range(len(of))]
        groups = [f"{place}-{part}-p{i:03d}" for i in of]
        for task in tasks:
            classes = len(task.classes)
            labels = np.repeat(shared.integers(0, classes, patients), 2)
            common = shared.normal(size=(patients, classes))[of] * math.sqrt(0.25)
            noise = own.normal(size=(len(of), classes)) * math.sqrt(0.25)
            scores = model.signal / 2 * np.eye(classes)[labels] + common + noise
            probs = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            named = {"part": part, "task": task, "output": "fused"}
            blocks.append(
                prediction_rows(cases=names, groups=groups, labels=labels, probs=probs, **named)
            )
    return Predictions.collect(blocks, tasks)


def _row(model, cells):
    return SheetRow(
        model.label,
        model.spec,
        model.basis,
        model.category,
        dict(model.published),
        dict(model.published_sd),
        model.note,
        {},
        cells,
        model.refusal,
    )


def _sheet(rows, folds, seeds, dataset):
    return Sheet(
        schema=SHEET_SCHEMA,
        name="paper/table1",
        title="A paper, Table 1: four ways of fusing",
        paper="Doe et al., 2025",
        place="Table 1",
        published_dataset="lung_pet_ct_dx",
        dataset=dataset,
        dataset_name=dataset,
        num_folds=folds or 0,
        seeds=seeds,
        protocol="1",
        precision="32-true",
        size="",
        options={},
        settings={"epochs": 12},
        decimals=3,
        test=PublishedTest(15, 28, "squamous cell carcinoma"),
        note="Rows are trained with this package's settings.",
        rows=rows,
    )
