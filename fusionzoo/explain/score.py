"""The number that is explained: the log-odds that a model gives to one class of one task."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fusionzoo.errors import BadOption, nearest
from fusionzoo.interface import Batch
from fusionzoo.models.model import FusionModel, ModelOutput
from fusionzoo.spec import TaskSpec

#: What the fusion makes of all outputs' logits.
FINAL = "final"


@dataclass(frozen=True)
class Score:
    """log(p / (1 - p)) of one class: for two classes plus or minus the logit.

    Args:
        task: The task.
        code: Code of the class.
        output: `final`, or one of the fusion's outputs.
    """

    task: TaskSpec
    code: int
    output: str = FINAL

    @property
    def class_name(self) -> str:
        """Name of the class."""
        return self.task.classes[self.code]

    def of(self, output: ModelOutput) -> Float[Tensor, " batch"]:
        """The log-odds of each case of a batch."""
        by_task = output.logits if self.output == FINAL else output.by_output[self.output]
        logits = by_task[self.task.name]
        if self.task.binary:
            return logits[:, 0] if self.code else -logits[:, 0]
        own = logits[:, self.code]
        others = torch.cat([logits[:, : self.code], logits[:, self.code + 1 :]], dim=1)
        return own - torch.logsumexp(others, dim=1)


def choose_score(
    model: FusionModel,
    batch: Batch,
    tasks: tuple[TaskSpec, ...],
    *,
    task: str | None = None,
    class_name: str | None = None,
    output: str = FINAL,
) -> Score:
    """What to explain about a case.

    Args:
        model: The model, in evaluation mode.
        batch: The case.
        tasks: The data set's tasks.
        task: Which of them; the first where not said.
        class_name: The class; the most probable one where not said.
        output: `final`, or one of the fusion's outputs.

    Raises:
        BadOption: There is no such task, class or output.
    """
    by_name = {each.name: each for each in tasks}
    chosen = by_name.get(tasks[0].name if task is None else task)
    if chosen is None:
        raise BadOption(
            f"There is no task {task!r}. {nearest(str(task), by_name)}There are: "
            f"{', '.join(by_name)}."
        )
    if class_name is not None and class_name not in chosen.classes:
        raise BadOption(
            f"Task {chosen.name!r} has no class {class_name!r}. "
            f"{nearest(class_name, chosen.classes)}It has: {', '.join(chosen.classes)}."
        )
    with torch.no_grad():
        given = model(batch)
    if output != FINAL and output not in given.by_output:
        raise BadOption(
            f"The model has no output {output!r}. {nearest(output, given.by_output)}It has: "
            f"{', '.join((FINAL, *given.by_output))}."
        )
    if class_name is not None:
        return Score(chosen, chosen.classes.index(class_name), output)
    odds = [float(Score(chosen, code, output).of(given)[0]) for code in range(len(chosen.classes))]
    return Score(chosen, max(range(len(odds)), key=odds.__getitem__), output)


def with_inputs(batch: Batch, inputs: Mapping[str, Float[Tensor, "batch ..."]]) -> Batch:
    """The single case of a batch as many times as there are inputs, with these inputs."""
    count = len(next(iter(inputs.values())))
    return Batch(
        dict(inputs),
        {name: mask.expand(count) for name, mask in batch.present.items()},
        {name: codes.expand(count) for name, codes in batch.targets.items()},
        batch.index.expand(count),
    )


def read_by(model: FusionModel) -> tuple[str, ...]:
    """Names of the modalities that a model reads, in order."""
    return tuple(dict.fromkeys(name for f in model.features for name in f.modalities))


__all__ = ["FINAL", "Score", "choose_score", "read_by", "with_inputs"]
