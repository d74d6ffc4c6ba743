"""The package from Python: build a model, run a combo on a data set, open a finished run."""

import hashlib
import json
import resource
import statistics
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file, save

from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.data.loader import CaseLoader
from fusionzoo.data.new_cases import open_new_cases, roles_text
from fusionzoo.data.open import dataset_text, is_path, open_dataset
from fusionzoo.data.splits import Split, make_split
from fusionzoo.data.tabular import TableEncoder, fit_encoders
from fusionzoo.errors import BadOption, LayoutMismatch, RunError
from fusionzoo.evaluation.calibration import CALIBRATION, load_or_fit, scale
from fusionzoo.evaluation.predict import predict, prediction_blocks
from fusionzoo.evaluation.predictions import Predictions
from fusionzoo.evaluation.report import Scoring, evaluate
from fusionzoo.evaluation.robustness import STRESS
from fusionzoo.grammar import Call, Combo, parse
from fusionzoo.models.assemble import assemble, assemble_meta, plan, suggest
from fusionzoo.models.missing import check_present, missing_policy
from fusionzoo.models.model import FusionModel
from fusionzoo.models.plan import Plan
from fusionzoo.models.profile import count_flops
from fusionzoo.models.weights import fill
from fusionzoo.records.environment import collect_environment, package_versions
from fusionzoo.records.lease import Lease, claim
from fusionzoo.records.record import (
    SCHEMA,
    Cost,
    DataFacts,
    RunRecord,
    SplitFacts,
    TrainingFacts,
    utc_now,
)
from fusionzoo.records.store import CONFIG, PREDICTIONS, RECORD, WEIGHTS, RunStore, make_run_id
from fusionzoo.schema import from_json, to_json
from fusionzoo.spec import DataSpec
from fusionzoo.storage import remove_leftovers, write_atomic
from fusionzoo.training.branches import BranchStore
from fusionzoo.training.config import TrainConfig
from fusionzoo.training.memory import kept_memory
from fusionzoo.training.observer import Observer
from fusionzoo.training.processes import launched
from fusionzoo.training.stages import Trained, Trainer

#: Version of how runs are trained and scored; boards don't mix protocols.
PROTOCOL = "1"
#: The roles of the data set's columns, under which new cases are read.
ROLES = "dataset.yaml"
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "64-true")


def build(
    spec: str | Combo, *, dataset: str | AbstractDataset | DataSpec = "lidc", seed: int = 0
) -> FusionModel:
    """The model of a spec for a data set, untrained.

    Args:
        spec: A spec string.
        dataset: A data set's name, the path of a manifest, or its description alone.
        seed: Seed of the initial weights.

    Raises:
        FusionZooError: The spec can't be read or its parts don't fit.
    """
    data = dataset if isinstance(dataset, DataSpec) else open_dataset(dataset).spec
    return assemble(spec, data, seed=seed)


@dataclass(frozen=True)
class RunPlan:
    """All that defines a run, resolved and checked before anything is trained.

    Args:
        combo: The spec with the data set's suggestions written out.
        dataset: The open data set.
        dataset_text: How to open it again.
        split: Which cases train, validate and test.
        fold: Fold that is tested, or None.
        num_folds: Number of folds.
        seed: Seed of the run.
        config: Training settings.
        precision: Precision, as Fabric names it.
        plan: Shapes, options and conversions.
        scoring: How it is scored.
    """

    combo: Combo
    dataset: AbstractDataset
    dataset_text: str
    split: Split
    fold: int | None
    num_folds: int
    seed: int
    config: TrainConfig
    precision: str
    plan: Plan
    scoring: Scoring

    @property
    def identity(self) -> dict[str, Any]:
        """What defines the run: the same identity gives the same numbers on one machine."""
        scoring = {} if self.scoring == Scoring() else {"scoring": to_json(self.scoring)}
        return {
            **scoring,
            "protocol": PROTOCOL,
            "spec": str(self.combo),
            "weights": {part: _digest(path) for part, path in self.plan.weights.items()},
            "dataset": self.dataset.spec.name,
            "dataset_digest": self.dataset.digest,
            "split_digest": self.split.digest,
            "seed": self.seed,
            "training": self.config.to_json(),
            "precision": self.precision,
        }

    def reopened_by(self, text: str) -> "RunPlan":
        """The same plan, whose data set is opened again by `text`."""
        return replace(self, dataset_text=text)

    @property
    def run_id(self) -> str:
        """Name of the run's folder."""
        parts = [binding.chain.calls[0].name for binding in self.combo.bindings]
        fusion = [call.name for call in self.combo.fusion.calls] if self.combo.fusion else []
        where = [
            self.dataset.spec.name,
            f"fold{self.fold}" if self.fold is not None else "",
            f"seed{self.seed}",
        ]
        return make_run_id(self.identity, " ".join([*parts, *fusion, *where]))


def plan_run(
    spec: str | Combo,
    *,
    dataset: str | AbstractDataset = "lidc",
    fold: int | None = None,
    num_folds: int | None = None,
    seed: int = 0,
    precision: str = "32-true",
    training: Mapping[str, Any] | None = None,
    threshold_rule: str = "youden",
    binary: str = "auto",
) -> RunPlan:
    """Resolve and check everything about a run; the arguments are those of `run`.

    Raises:
        FusionZooError: Anything that would fail later.
    """
    if precision not in PRECISIONS:
        raise BadOption(
            f"There is no precision {precision!r}. Use one of: {', '.join(PRECISIONS)}."
        )
    scoring = Scoring(threshold_rule, binary)
    opened = open_dataset(dataset)
    combo = suggest(parse(spec) if isinstance(spec, str) else spec, opened.spec)
    config = TrainConfig.from_settings(opened.spec.training, training or {})
    resolved = plan(combo, opened.spec)
    folds = num_folds or opened.num_folds
    split = make_split(opened, fold=fold, num_folds=folds, seed=opened.fold_seed)
    present = {name: opened.present(name) for name in combo.modalities}
    check_present(combo, present, opened.cases, f"data set {opened.spec.name!r}")
    return RunPlan(
        combo,
        opened,
        dataset_text(dataset),
        split,
        fold,
        folds,
        seed,
        config,
        precision,
        resolved,
        scoring,
    )


@lru_cache(maxsize=256)
def flops_of(combo: Combo, data: DataSpec) -> int | None:
    """Floating-point operations of one case's prediction; None where they can't be counted."""
    return count_flops(assemble_meta(combo, data), data)


def _digest(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run(
    spec: str | Combo,
    *,
    dataset: str | AbstractDataset = "lidc",
    fold: int | None = None,
    num_folds: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "32-true",
    out: str | Path = "runs",
    resume: bool = False,
    fresh: bool = False,
    training: Mapping[str, Any] | None = None,
    threshold_rule: str = "youden",
    binary: str = "auto",
    observer: Observer | None = None,
) -> RunRecord:
    """Train a combo, test it, and leave a record.

    A finished run is not trained again: its record is returned.

    Args:
        spec: A spec string: `ct=penet3d, table=kan -> msca -> linear`.
        dataset: A data set's name (with options), the path of a manifest, or an open data set.
        fold: Fold to test on, from 0; None for the data set's one split.
        num_folds: Number of folds, where the data come without; None for what the data set says.
        seed: Seed of weights, order, augmentation and dropout; splits and folds are the same for
            every seed.
        device: `auto`, `cpu`, `cuda`, `mps`.
        precision: `32-true`, `16-mixed`, `bf16-mixed` or `64-true`.
        out: Folder of all runs; the run gets one of its own in it.
        resume: Go on with an interrupted run; the numbers are those of an uninterrupted one.
        fresh: Throw away what an earlier run with the same identity left, and start again.
        training: Settings of `TrainConfig` over the data set's.
        threshold_rule: How the thresholds of two-class tasks are chosen, on validation cases:
            `youden`, `f1` or `0.5`.
        binary: What sensitivity and specificity of two-class tasks are in the mean over tasks:
            `positive`, `macro` or `auto`, as `fusionzoo.evaluation.report.evaluate` says.
        observer: Hears of progress.

    Returns:
        The record; the run's folder is `out / record.run_id`.

    Raises:
        FusionZooError: Anything the user can mend.
    """
    planned = plan_run(
        spec,
        dataset=dataset,
        fold=fold,
        num_folds=num_folds,
        seed=seed,
        precision=precision,
        training=training,
        threshold_rule=threshold_rule,
        binary=binary,
    )
    return execute(
        planned, device=device, out=out, resume=resume, fresh=fresh, observer=observer or Observer()
    )


def execute(
    planned: RunPlan,
    *,
    device: str,
    out: str | Path,
    resume: bool,
    fresh: bool,
    observer: Observer,
    branches: str | Path | None = None,
    lease: Lease | None = None,
) -> RunRecord:
    """Carry out a planned run; nobody else works on it meanwhile.

    Args:
        planned: The run.
        device: As for `run`.
        out: As for `run`.
        resume: As for `run`.
        fresh: As for `run`.
        observer: Hears of progress.
        branches: Folder of trained branches that runs share: one that an earlier run trained on the
            same cases with the same settings, seed and code is read, with the same numbers.
        lease: The run's lease, where the caller has it; otherwise it is taken for the time.

    Raises:
        LeaseTaken: Another process is training this run.
    """
    store = RunStore(out)
    run_id = planned.run_id
    if store.is_complete(run_id) and not fresh:
        observer.note("This run is complete already; its record is shown. --fresh trains it again.")
        return store.read_record(run_id)
    fabric = _fabric(device, planned.precision, observer)
    with _claimed(fabric, out, run_id, lease) as held:
        if fresh and fabric.is_global_zero:
            _clear(store.folder(run_id))
        fabric.barrier()
        if store.is_complete(run_id):  # by another process, a moment ago
            return store.read_record(run_id)
        return _carry_out(planned, store, held, fabric, resume, observer, branches)


def check_ready(planned: RunPlan, *, out: str | Path, resume: bool, fresh: bool) -> None:
    """Prove that a run can be written, and that no unfinished one is in its place.

    Raises:
        RunError: It can't, or there is one and neither `resume` nor `fresh` says what to do.
    """
    folder = RunStore(out).prepare(planned.run_id)
    if any(folder.glob("*.ckpt")) and not resume and not fresh:
        raise RunError(
            f"An unfinished run of the same spec, data and settings is in {str(folder)!r}. "
            "Go on with it: --resume. Or start it again: --fresh."
        )


def _claimed(
    fabric: Fabric, out: str | Path, run_id: str, lease: Lease | None
) -> AbstractContextManager[Lease | None]:
    """The run's lease; the first of several processes has it for all."""
    if lease is not None or not fabric.is_global_zero:
        return nullcontext(lease)
    return claim(out, run_id)


def _carry_out(
    planned: RunPlan,
    store: RunStore,
    lease: Lease | None,
    fabric: Fabric,
    resume: bool,
    observer: Observer,
    branches: str | Path | None,
) -> RunRecord:
    """Train, test and write the record, with the lease or beside the process that has it."""
    run_id = planned.run_id
    folder = store.folder(run_id)
    started, clock = utc_now(), time.perf_counter()
    encoders = fit_encoders(planned.dataset, planned.split.train)
    if lease is not None:
        check_ready(planned, out=store.root, resume=resume, fresh=False)
        remove_leftovers(folder)
        store.write_config(run_id, _config(planned, encoders))
        write_atomic(folder / ROLES, roles_text(planned.dataset))
    fabric.barrier()
    trainer = Trainer(
        planned.combo,
        planned.dataset,
        planned.split,
        encoders,
        planned.config,
        seed=planned.seed,
        fabric=fabric,
        folder=folder,
        identity=run_id,
        observer=observer,
        branches=BranchStore(Path(branches), _branch_facts(planned)) if branches else None,
    )
    with kept_memory(fabric.device.type):
        trained = trainer.train()
    seconds = time.perf_counter() - clock + trained.reused_seconds
    record = None
    if lease is not None:
        record = _finish(planned, store, lease, trained, encoders, fabric, started, seconds)
        for checkpoint in folder.glob("*.ckpt"):
            checkpoint.unlink()
    fabric.barrier()
    return record or store.read_record(run_id)


def _branch_facts(planned: RunPlan) -> dict[str, Any]:
    """What a branch of a run depends on, beside its own spec."""
    facts = {key: value for key, value in planned.identity.items() if key != "spec"}
    return {**facts, "versions": package_versions(("torch", "timm", "numpy"))}


def _fabric(device: str, precision: str, observer: Observer) -> Fabric:
    known = ("auto", "cpu", "cuda", "mps")
    if device not in known:
        raise BadOption(f"There is no device {device!r}. Use one of: {', '.join(known)}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise BadOption(
            "No CUDA device is usable here. Use --device cpu, or --device auto for whatever "
            "there is."
        )
    fabric = launched(device, precision)
    if fabric.device.type == "cpu" and "mixed" in precision:
        observer.note(f"Precision {precision} is often far slower than 32-true on a CPU.")
    return fabric


def _clear(folder: Path) -> None:
    """Delete the files that a run leaves, and what was made of them; there may be others."""
    if folder.is_dir():
        for name in (RECORD, PREDICTIONS, CONFIG, WEIGHTS, ROLES, CALIBRATION, STRESS):
            (folder / name).unlink(missing_ok=True)
        for pattern in ("*.ckpt", "*.png", "card.*"):
            for path in folder.glob(pattern):
                path.unlink()


def _config(planned: RunPlan, encoders: Mapping[str, TableEncoder]) -> dict[str, Any]:
    """What a run's folder needs so that its model can be used again."""
    return {
        "spec": str(planned.combo),
        "dataset": planned.dataset_text,
        "data": to_json(planned.dataset.spec),
        "fold": planned.fold,
        "num_folds": planned.num_folds,
        "seed": planned.seed,
        "precision": planned.precision,
        "training": planned.config.to_json(),
        "tables": {name: json.loads(encoder.to_json()) for name, encoder in encoders.items()},
    }


def _finish(
    planned: RunPlan,
    store: RunStore,
    lease: Lease,
    trained: Trained,
    encoders: Mapping[str, TableEncoder],
    fabric: Fabric,
    started: str,
    seconds: float,
) -> RunRecord:
    """Predict, evaluate, and write everything, the record last."""
    dataset, split, run_id = planned.dataset, planned.split, planned.run_id
    read = planned.combo.modalities

    def cases(rows: np.ndarray) -> CaseLoader:
        return CaseLoader(
            dataset, rows, encoders, batch_size=planned.config.batch_size, modalities=read
        )

    blocks = prediction_blocks(
        trained.models, {"val": cases(split.val), "test": cases(split.test)}, dataset, fabric.device
    )
    predictions = Predictions.collect(blocks, dataset.spec.tasks)
    digest = store.write_predictions(run_id, predictions)
    evaluation = evaluate(
        predictions,
        seed=planned.seed,
        reference=trained.main,
        threshold_rule=planned.scoring.threshold_rule,
        binary=planned.scoring.binary,
    )
    model = trained.models[trained.main]
    folder = store.folder(run_id)
    state = {key: value.contiguous().cpu() for key, value in model.state_dict().items()}
    write_atomic(folder / WEIGHTS, save(state))
    _figures(folder, predictions, evaluation, trained.main, dataset.spec)
    gpu = torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else None
    record = RunRecord(
        schema=SCHEMA,
        protocol=PROTOCOL,
        run_id=run_id,
        spec=str(planned.combo),
        spec_hash=planned.plan.hash,
        options=to_json(planned.plan.options),
        conversions=planned.plan.conversions,
        data=DataFacts(dataset.spec.name, to_json(dataset.options), dataset.digest),
        split=SplitFacts(
            split.scheme,
            planned.fold,
            split.digest,
            {"train": len(split.train), "val": len(split.val), "test": len(split.test)},
        ),
        seed=planned.seed,
        training=TrainingFacts(
            {
                **planned.config.to_json(),
                "recipe": trained.recipe,
                "precision": planned.precision,
                **({"processes": fabric.world_size} if fabric.world_size > 1 else {}),
            },
            tuple(
                {"stage": stage, **to_json(report)}
                for stage, reports in trained.history.items()
                for report in reports
            ),
        ),
        evaluation=evaluation,
        predictions_digest=digest,
        cost=Cost(
            parameters=sum(p.numel() for p in model.parameters()),
            flops=flops_of(planned.combo, dataset.spec),
            peak_memory_mib=_peak_memory(fabric.device),
            train_seconds=round(seconds, 3),
            latency_ms=_latency(model, cases(split.test[:1]), fabric.device),
        ),
        environment=collect_environment(gpu=gpu, kernels=_kernels(model)),
        started=started,
        finished=utc_now(),
    )
    lease.check()
    store.write_record(record)
    return record


def _figures(
    folder: Path, predictions: Predictions, evaluation: Any, main: str, data: DataSpec
) -> None:
    from fusionzoo.evaluation.plots import plot_confusion, plot_roc

    for task in data.tasks:
        suffix = f"-{task.name}" if len(data.tasks) > 1 else ""
        plot_roc(folder / f"roc{suffix}.png", predictions, evaluation, task.name)
        plot_confusion(
            folder / f"confusion{suffix}.png", predictions, evaluation, task.name, output=main
        )


def _kernels(model: FusionModel) -> dict[str, str]:
    """Backends that parts of the model say they ran on."""
    return {
        f"{name}.backend" if name else "backend": str(module.backend)
        for name, module in model.named_modules()
        if isinstance(getattr(module, "backend", None), str)
    }


def _peak_memory(device: torch.device) -> float:
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(used / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _latency(
    model: FusionModel, loader: CaseLoader, device: torch.device, repeats: int = 11
) -> float:
    """Median time of one case's prediction, ms; the first pass warms up."""
    (batch,) = loader
    batch = batch.to(device)
    times = []
    model.eval()
    with torch.inference_mode():
        for _ in range(repeats):
            began = time.perf_counter()
            model(batch)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(times[1:]), 3)


@dataclass(frozen=True)
class FinishedRun:
    """A run's folder, opened: its record, and its model where asked for.

    Args:
        folder: The run's folder.
        record: Its record.
        config: What it was asked to do.
    """

    folder: Path
    record: RunRecord
    config: Mapping[str, Any]

    @property
    def main(self) -> str:
        """Name of the combo's own output."""
        return self.record.evaluation.main

    @property
    def data(self) -> DataSpec:
        """The data set's description, as it was when the run was trained."""
        return from_json(DataSpec, self.config["data"], str(self.folder / CONFIG))

    @property
    def store(self) -> RunStore:
        """The folder of all runs."""
        return RunStore(self.folder.parent)

    def predictions(self) -> Predictions:
        """The predictions that the record was made from, verified."""
        return self.store.verify(self.record)

    def encoders(self) -> dict[str, TableEncoder]:
        """The fitted table encoders."""
        return {
            name: TableEncoder.from_json(json.dumps(told))
            for name, told in self.config["tables"].items()
        }

    def model(self, data: DataSpec) -> FusionModel:
        """The trained model, in evaluation mode."""
        model = assemble(parse(self.config["spec"]).map(_without_weights), data)
        path = self.folder / WEIGHTS
        try:
            state = load_file(path)
        except Exception as error:
            raise RunError(
                f"The weights {str(path)!r} can't be read ({error}). Run it again with --fresh."
            ) from error
        fill(model, state, what=f"the spec {self.config['spec']!r}", path=path)
        return model.eval()


def _without_weights(kind: str, call: Call) -> Call:
    """A call without its `weights=`: a finished run has weights of its own."""
    return Call(call.name, tuple(o for o in call.options if o[0] != "weights"), call.column)


def open_run(folder: str | Path) -> FinishedRun:
    """Open the folder of a finished run.

    Raises:
        RunError: It isn't one, or a file of it is damaged.
    """
    path = Path(folder)
    record = RunStore(path.parent).read_record(path.name)
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{str(path / CONFIG)!r} can't be read ({error}). Run it again with --fresh."
        ) from error
    return FinishedRun(path, record, config)


def predict_cases(
    run: FinishedRun,
    cases: str,
    *,
    device: str = "auto",
    root: str | Path | None = None,
    calibrate: bool = False,
) -> pd.DataFrame:
    """A finished run's probabilities for other cases, one row per case and task.

    A case may lack a modality where the run's fusion takes such cases: its cell is then empty.

    Args:
        run: The run.
        cases: A manifest with the columns that the run was trained on, or the name of a data set.
        device: `auto`, `cpu`, `cuda`, `mps`.
        root: Folder that paths in the manifest are relative to; its own where not given.
        calibrate: Whether probabilities are at the temperature that fits the validation cases best;
            what is predicted stays the same.

    Returns:
        Columns case, task, one `p_<class>` per class, `predicted` (at the run's threshold for two
        classes, the most probable class for more) and `missing`, the modalities that the case
        lacks.

    Raises:
        DataError: The cases can't be read under the run's roles, or lack what the fusion needs.
        LayoutMismatch: The data set's modalities are not the run's.
    """
    trained_on, combo = run.data, parse(run.config["spec"])
    wanted = [m for m in trained_on.modalities if m.name in combo.modalities]
    if is_path(cases) and not cases.lower().endswith((".yaml", ".yml")):
        takes = missing_policy(combo) in ("zero", "mask")
        optional = [m.name for m in wanted if takes and m.kind != "table"]
        dataset = open_new_cases(Path(cases), run.folder / ROLES, root=root, optional=optional)
    else:
        dataset = open_dataset(cases)
    problems = [
        f"{m.name} ({m.kind} of {m.shape})" for m in wanted if m not in dataset.spec.modalities
    ]
    if problems:
        have = ", ".join(f"{m.name} ({m.kind} of {m.shape})" for m in dataset.spec.modalities)
        raise LayoutMismatch(
            f"The run reads {', '.join(problems)}, which {dataset.spec.name!r} doesn't have; it "
            f"has {have}. "
            f"Give cases with the modalities that the run was trained on."
        )
    present = {m.name: dataset.present(m.name) for m in wanted}
    check_present(combo, present, dataset.cases, f"the cases in {cases}")
    lacks = [" ".join(n for n, p in present.items() if not p[i]) for i in range(len(dataset.cases))]
    fabric = _fabric(device, run.config["precision"], Observer())
    model = run.model(trained_on)
    fabric.to_device(model)
    loader = CaseLoader(
        dataset,
        np.arange(len(dataset.cases)),
        run.encoders(),
        batch_size=run.config["training"]["batch_size"],
        modalities=[m.name for m in wanted],
        task=dataset.spec.tasks[0].name,
    )
    rows, found = predict(model, loader, trained_on.tasks, fabric.device)
    calibration = load_or_fit(run.folder, run.predictions()) if calibrate else None
    frames = []
    for task in trained_on.tasks:
        probs = found[task.name]
        threshold = run.record.evaluation.row(task.name, run.main).threshold
        codes = (probs[:, 1] >= threshold.value).astype(int) if threshold else probs.argmax(axis=1)
        if calibration is not None:
            probs = scale(probs, calibration.of(task.name, run.main).value)
        named = {f"p_{label}": probs[:, code] for code, label in enumerate(task.classes)}
        predicted = [task.classes[code] for code in codes]
        told = {"case": [dataset.cases[row] for row in rows], "task": task.name, **named}
        told |= {"predicted": predicted, "missing": [lacks[row] for row in rows]}
        frames.append(pd.DataFrame(told))
    return pd.concat(frames, ignore_index=True)
