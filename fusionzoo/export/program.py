"""A model as a graph of plain operators, with tensors in and probabilities out."""

import warnings

import torch
from torch import Tensor, nn

from fusionzoo.errors import BadOption
from fusionzoo.evaluation.predict import probabilities
from fusionzoo.export.scan import scan_by_doubling
from fusionzoo.interface import Batch
from fusionzoo.models.model import FusionModel
from fusionzoo.spec import DataSpec

#: Cases of the batch that the graph is traced with; any number can be given afterwards.
TRACED = 2
#: Largest batch that the graph declares.
LARGEST = 65_536


class Exportable(nn.Module):
    """A model between tensors.

    Args:
        model: The trained model, in evaluation mode; it is changed where its fusion needs every
            modality, since a graph can't look for cases that lack one.
        data: What it was trained on.

    Inputs:  one tensor per modality that it reads, as `Batch.inputs` has them; where the fusion
             takes cases without a modality, also `present_<modality>`, a boolean per case
    Returns: one tensor per task, `batch classes`: probabilities
    """

    def __init__(self, model: FusionModel, data: DataSpec):
        super().__init__()
        self.model = model
        self.data = data
        names = [name for feature in model.features for name in feature.modalities]
        self.modalities = [data.modality(name) for name in dict.fromkeys(names)]
        policy = model.chain[0].missing if model.chain else "alone"
        self.masked = policy in ("zero", "mask")
        if policy == "refuse":
            # All modalities are there, as the graph has no masks: nothing is left to refuse.
            model.chain[0].missing = "mask"  # type: ignore[misc]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        masks = [f"present_{m.name}" for m in self.modalities] if self.masked else []
        return (*(m.name for m in self.modalities), *masks)

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """The inputs that a batch holds."""
        found = {m.name: batch.inputs[m.name] for m in self.modalities}
        if self.masked:
            found |= {f"present_{m.name}": batch.present[m.name] for m in self.modalities}
        return found

    def examples(self, count: int = TRACED) -> dict[str, Tensor]:
        """Inputs of the right shapes: zeros, all modalities there."""
        found = {m.name: torch.zeros(count, *m.shape) for m in self.modalities}
        if self.masked:
            there = torch.ones(count, dtype=torch.bool)
            found |= {f"present_{m.name}": there.clone() for m in self.modalities}
        return found

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Probabilities per task."""
        names = [m.name for m in self.modalities]
        count, device = inputs[names[0]].shape[0], inputs[names[0]].device
        there = torch.ones(count, dtype=torch.bool, device=device)
        batch = Batch(
            inputs={name: inputs[name] for name in names},
            present={name: inputs.get(f"present_{name}", there) for name in names},
            targets={},
            index=torch.arange(count, device=device),
        )
        output = self.model(batch)
        return {
            task.name: probabilities(output.logits[task.name], task).float()
            for task in self.data.tasks
        }


def trace(exportable: Exportable) -> torch.export.ExportedProgram:
    """The model as an exported program that takes batches of any size.

    The selective scan, an operator of this package, is written out in PyTorch's own operators, so
    that the program runs where fusionzoo is not installed.

    Raises:
        BadOption: A part of the model can't be exported; it is named.
    """
    _refuse(exportable.model)
    batch = torch.export.Dim("batch", min=1, max=LARGEST)
    example = exportable.examples()
    try:
        with warnings.catch_warnings():
            # Recurrent layers keep their weights in a second list, which tracing puts back.
            warnings.filterwarnings("ignore", ".*were assigned during export", UserWarning)
            program = torch.export.export(
                exportable.eval(),
                (example,),
                dynamic_shapes=({name: {0: batch} for name in example},),
                strict=False,
            )
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise BadOption(
            f"The model of {exportable.model.plan.combo} can't be exported: PyTorch can't trace it "
            f"({type(error).__name__}: {reason})."
        ) from error
    scan = getattr(torch.ops.fusionzoo, "selective_scan", None)
    if scan is None or not any(node.target is scan.default for node in program.graph.nodes):
        return program
    return program.run_decompositions({scan.default: scan_by_doubling})


def _refuse(model: FusionModel) -> None:
    """Refuse parts that say of themselves that they can't be exported."""
    unable = sorted(
        {type(part).__name__ for part in model.modules() if not getattr(part, "exports", True)}
    )
    if unable:
        raise BadOption(
            f"The model of {model.plan.combo} can't be exported: {', '.join(unable)} does what no "
            "graph of tensors can. Use 'fusionzoo predict', or another part."
        )


__all__ = ["Exportable", "trace"]
