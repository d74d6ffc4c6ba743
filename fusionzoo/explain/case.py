"""Everything that is said about one case's decision, and the numbers of it as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from fusionzoo.data.dataset import TableColumns
from fusionzoo.explain.gradients import Attributions, Cam, grad_cam, integrated_gradients
from fusionzoo.explain.modality import Shares, modality_shares
from fusionzoo.explain.score import FINAL, Score, choose_score, read_by
from fusionzoo.interface import Batch
from fusionzoo.models.model import FusionModel
from fusionzoo.spec import TaskSpec

METHODS = ("ig", "gradcam", "both")
Baseline = Literal["mean", "zeros"]


@dataclass(frozen=True)
class TableTold:
    """A table's row for people.

    Args:
        groups: Per encoded number the column that it comes from.
        cells: Per column what stands in it.
    """

    groups: tuple[str, ...]
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Explanation:
    """Why a model gave a class to a case.

    Args:
        case: The case.
        score: What is explained.
        label: Name of the case's own class; None where it has no label.
        shares: What each modality added.
        attributions: What each value of each input added, where that was asked for.
        cams: Where in each image the class was seen, where that was asked for.
        inputs: What the model read, without the batch axis.
        tables: The case's row of each table.
        facts: What else to write down, for instance the run and the part that the case is in.
    """

    case: str
    score: Score
    label: str | None
    shares: Shares
    attributions: Attributions | None
    cams: Mapping[str, Cam] | None
    inputs: Mapping[str, Tensor]
    tables: Mapping[str, TableTold]
    facts: Mapping[str, str]

    @property
    def probability(self) -> float:
        """Probability of the class."""
        return float(torch.sigmoid(torch.tensor(self.shares.score, dtype=torch.float64)))

    def columns(self, table: str) -> dict[str, float]:
        """What each column of a table added, its encoded numbers together; largest first."""
        if self.attributions is None or table not in self.tables:
            return {}
        sums: dict[str, float] = {}
        values = self.attributions.values[table].tolist()
        for column, value in zip(self.tables[table].groups, values, strict=True):
            sums[column] = sums.get(column, 0.0) + value
        return dict(sorted(sums.items(), key=lambda item: -abs(item[1])))

    def to_json(self) -> dict[str, Any]:
        """All numbers but the maps themselves."""
        told: dict[str, Any] = {
            "case": self.case,
            **self.facts,
            "task": self.score.task.name,
            "class": self.score.class_name,
            "output": self.score.output,
            "label": self.label,
            "probability": self.probability,
            "log_odds": self.shares.score,
            "modalities": {
                "log_odds_without_any": self.shares.baseline,
                "shapley": dict(self.shares.values),
                "share": self.shares.parts,
            },
        }
        if self.attributions is not None:
            told["integrated_gradients"] = {
                "log_odds_of_baseline": self.attributions.baseline,
                "sum": self.attributions.by_modality,
                "gap": self.attributions.gap,
                "columns": {name: self.columns(name) for name in self.tables},
            }
        if self.cams is not None:
            told["grad_cam"] = {name: _told(cam) for name, cam in self.cams.items()}
        return told


def explain_case(
    model: FusionModel,
    batch: Batch,
    tasks: tuple[TaskSpec, ...],
    background: Batch,
    *,
    case: str = "",
    task: str | None = None,
    class_name: str | None = None,
    output: str = FINAL,
    method: Literal["ig", "gradcam", "both"] = "ig",
    baseline: Baseline = "mean",
    absence: Literal["background", "missing"] = "background",
    steps: int = 64,
    level: int | None = None,
    tables: Mapping[str, TableTold] | None = None,
    facts: Mapping[str, str] | None = None,
) -> Explanation:
    """Explain one decision.

    Args:
        model: The model, in evaluation mode.
        batch: A single case.
        tasks: The data set's tasks.
        background: Cases that stand for what a modality is without this case, of the training part
            for instance.
        case: What the case is called.
        task: Which task; the first where not said.
        class_name: Which class; the most probable one where not said.
        output: `final`, or one of the fusion's outputs.
        method: `ig` for Integrated Gradients, `gradcam`, or `both`.
        baseline: Where Integrated Gradients start: the `mean` of the background cases that have
            the modality, or `zeros`.
        absence: What stands for an absent modality in the shares, as in `modality_shares`.
        steps: Points of Integrated Gradients.
        level: Level of Grad-CAM's maps.
        tables: The case's row of each table, for people.
        facts: What else to write down.

    Raises:
        BadOption: Something that there isn't, or that this model can't do.
        MissingExtra: Integrated Gradients without captum.
    """
    score = choose_score(model, batch, tasks, task=task, class_name=class_name, output=output)
    attributions = cams = None
    if method in ("ig", "both"):
        start = _mean(model, background) if baseline == "mean" else None
        attributions = integrated_gradients(model, batch, score, baseline=start, steps=steps)
    if method in ("gradcam", "both"):
        cams = grad_cam(model, batch, score, level=level)
    code = int(batch.targets[score.task.name][0])
    return Explanation(
        case,
        score,
        score.task.classes[code] if code >= 0 else None,
        modality_shares(model, batch, score, background, absence=absence),
        attributions,
        cams,
        {name: batch.inputs[name][0].detach() for name in read_by(model)},
        tables or {},
        facts or {},
    )


def table_told(columns: TableColumns, cells: Mapping[str, object]) -> TableTold:
    """How a table's encoded numbers and cells are shown.

    Args:
        columns: Roles of the columns.
        cells: The row, by column.
    """
    flags = columns.numeric if columns.missing == "median+flag" else ()
    one_hot = [name for name, values in columns.categorical.items() for _ in values]
    groups = (*columns.numeric, *flags, *one_hot)
    return TableTold(groups, {name: _cell(cells[name]) for name in dict.fromkeys(groups)})


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "empty"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _mean(model: FusionModel, background: Batch) -> dict[str, Tensor]:
    """The mean input of the background cases that have the modality; zeros where none has."""
    means = {}
    for name in read_by(model):
        present = background.present[name]
        x = background.inputs[name]
        means[name] = x[present].mean(dim=0) if bool(present.any()) else torch.zeros_like(x[0])
    return means


def _told(cam: Cam) -> dict[str, Any]:
    peak = torch.unravel_index(cam.heat.argmax(), cam.heat.shape)
    return {"maps": list(cam.size), "level": cam.level, "peak": [int(i) for i in peak]}


__all__ = ["METHODS", "Explanation", "TableTold", "explain_case", "table_told"]
