"""Gathers a card of a finished run from its record, its predictions and, where they are, its data.

Nothing on it is typed by hand but what it is meant for.
"""

from __future__ import annotations

from collections.abc import Iterator

from fusionzoo.api import FinishedRun
from fusionzoo.card.blocks import Block, Bullets, Heading, Table, Text, facts
from fusionzoo.card.results import (
    by_subgroup,
    calibration_of,
    main_rows,
    performance,
    stress_of,
)
from fusionzoo.card.subgroups import FEW_CASES
from fusionzoo.errors import FusionZooError
from fusionzoo.evaluation.calibration import fit_calibration
from fusionzoo.evaluation.results import Row
from fusionzoo.evaluation.robustness import STRESS, Robustness, read_robustness
from fusionzoo.grammar import parse
from fusionzoo.models.missing import POLICIES, missing_policy
from fusionzoo.reopen import Reopened, reopen

INTENDED = (
    "Research: to study this model on data like these. It is not a medical device, and nothing "
    "here is fit for decisions about patients."
)


def card_blocks(
    run: FinishedRun, *, intended_use: str = INTENDED, dataset: str | None = None
) -> list[Block]:
    """The card of a run.

    Args:
        run: The run.
        intended_use: What the model is meant for, and not meant for.
        dataset: Where the run's data are now, if they have moved.
    """
    opened, why = _opened(run, dataset)
    robustness, told = _robustness(run)
    return [
        Heading(1, f"Model card: {run.record.spec}"),
        *_summary(run),
        Heading(2, "Intended use"),
        Text(intended_use),
        Heading(2, "Data"),
        *_data(run, opened, why),
        Heading(2, "Performance"),
        *performance(run),
        Heading(2, "Subgroups"),
        *by_subgroup(run, opened, why),
        Heading(2, "Calibration"),
        *calibration_of(run, fit_calibration(run.predictions())),
        Heading(2, "Robustness"),
        *stress_of(robustness, told),
        Heading(2, "Limits"),
        Bullets(tuple(_limits(run, opened, robustness))),
        Heading(2, "Provenance"),
        *_provenance(run),
    ]


def _opened(run: FinishedRun, dataset: str | None) -> tuple[Reopened | None, str]:
    """The run's data, or why they can't be had."""
    try:
        return reopen(run, dataset), ""
    except FusionZooError as error:
        return None, str(error).partition("\n")[0]


def _robustness(run: FinishedRun) -> tuple[Robustness | None, str]:
    """The stress test of these very predictions, or why there is none."""
    if not (run.folder / STRESS).is_file():
        return None, f"Not tested. 'fusionzoo stress {run.folder}' does it."
    found = read_robustness(run.folder)
    if found.predictions_digest != run.record.predictions_digest:
        return None, f"{STRESS} is of other predictions than this run's; run the stress test again."
    return found, ""


def _summary(run: FinishedRun) -> Iterator[Block]:
    evaluation = run.record.evaluation
    for row in main_rows(run):
        task = run.predictions().task(row.task)
        positive = f", {row.num_positive} {task.classes[1]!r}" if task.binary else ""
        yield Text(
            f"{row.task} ({', '.join(task.classes)}): AUROC {row.metrics['auroc']} on "
            f"{row.num_cases} test cases of {row.num_patients} patients{positive}; "
            f"{evaluation.level:.0%} interval by patient."
        )


def _data(run: FinishedRun, opened: Reopened | None, why: str) -> Iterator[Block]:
    record, data = run.record, run.data
    read = parse(run.config["spec"]).modalities
    counts = ", ".join(f"{count} {part}" for part, count in record.split.counts.items())
    inputs = [
        f"{m.name} ({m.kind}, {' x '.join(map(str, m.shape))})"
        for m in data.modalities
        if m.name in read
    ]
    pairs = [
        ("data set", record.data.name),
        ("cases", f"{counts}; no patient is in two parts"),
        ("split", record.split.scheme),
        ("inputs", "; ".join(inputs)),
        ("absent modalities", POLICIES[missing_policy(parse(run.config["spec"]))]),
    ]
    for name, encoder in run.encoders().items():
        pairs.append((f"columns of {name}", ", ".join(encoder.names)))
    yield facts(pairs)
    if opened is None:
        yield Text(f"The data could not be opened for this card: {why}")
        return
    if opened.dataset.about:
        yield Text(" ".join(opened.dataset.about.split()))
    for task in data.tasks:
        codes = opened.dataset.targets[task.name]
        parts = {"train": opened.split.train, "val": opened.split.val, "test": opened.split.test}
        rows = tuple(
            (label, *(str(int((codes[rows] == code).sum())) for rows in parts.values()))
            for code, label in enumerate(task.classes)
        )
        yield Table((task.name, *parts), rows)


def _limits(
    run: FinishedRun, opened: Reopened | None, robustness: Robustness | None
) -> Iterator[str]:
    record = run.record
    fold = "the one split" if record.split.fold is None else f"fold {record.split.fold}"
    yield (
        f"One training with seed {record.seed}, tested on {fold}: other seeds and folds may give "
        "other numbers."
    )
    yield (
        f"Tested on cases of {record.data.name} only, which share their source with the training "
        "cases: how it does elsewhere isn't known."
    )
    for row in main_rows(run):
        yield _width(row)
        if min(row.class_counts) < FEW_CASES:
            yield f"{row.task}: a class has only {min(row.class_counts)} test cases."
    if robustness is None:
        yield "Robustness to absent or worse inputs was not tested."
    for warning in opened.dataset.warnings if opened is not None else ():
        yield f"About the data: {warning}"
    if record.environment.dirty:
        yield "The source had changes that no commit holds when it was trained."


def _width(row: Row) -> str:
    """How much the test patients leave open."""
    auroc, patients = row.metrics["auroc"], f"{row.task}: {row.num_patients} test patients"
    if auroc.reason:
        return f"{patients} are too few for an interval of the AUROC ({auroc.reason})."
    return f"{patients} leave the AUROC anywhere from {auroc.low:.3f} to {auroc.high:.3f}."


def _provenance(run: FinishedRun) -> Iterator[Block]:
    record = run.record
    env, cost = record.environment, record.cost
    commit = env.commit or "not a checkout"
    versions = ", ".join(f"{name} {version}" for name, version in env.versions.items())
    hardware = f"{env.hardware.cpu}, {env.hardware.cores} cores"
    flops = f"{cost.flops / 1e9:,.3f} GFLOPs a case" if cost.flops else "FLOPs not counted"
    yield facts(
        [
            ("run", record.run_id),
            ("spec", f"{record.spec} ({record.spec_hash})"),
            ("finished", record.finished),
            ("source", f"{commit}{' with changes' if env.dirty else ''}"),
            ("versions", versions),
            ("hardware", hardware + (f", {env.hardware.gpu}" if env.hardware.gpu else "")),
            ("cost", f"{cost.parameters:,} parameters, {flops}"),
            ("data", record.data.digest),
            ("split", record.split.digest),
            ("predictions", record.predictions_digest),
            ("seed", str(record.seed)),
            ("training", ", ".join(f"{k}={v}" for k, v in record.training.settings.items())),
        ]
    )
