"""Whether parts give what they declare: each is run once on the meta device, without memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.errors import FusionZooError, LayoutMismatch
from fusionzoo.interface import AbstractEncoder, AbstractFusion, AbstractHead, Context
from fusionzoo.spec import FeatureSpec, Modality, TaskSpec

#: Cases of the batch that is run; two, so that an axis of length one does not pass for the batch.
_CASES = 2


def verify_encoder(encoder: AbstractEncoder, modality: Modality, what: str) -> None:
    """Compare every stage, and the output, with what the encoder declares.

    Here as in the other functions, a part that can't run on the meta device is taken at its word.

    Raises:
        LayoutMismatch: The encoder gives other shapes; names it, what it declares and gives.
    """
    given = torch.zeros(_CASES, *modality.shape, device="meta")
    with _evaluated(encoder):
        _compare(what, lambda: encoder(given), encoder.output)
        if encoder.staged:
            _compare_stages(encoder, given, what)


def _compare_stages(encoder: AbstractEncoder, given: Tensor, what: str) -> None:
    found: list[Any] = []

    def run(level: int) -> Any:
        before = found[-1] if level else encoder.stem(given)
        found.append(encoder.stage(level, before))
        return found[-1]

    for level, declared in enumerate(encoder.stages):
        if len(found) == level:  # the stages before could be run
            _compare(f"{what}, stage {level},", partial(run, level), declared)


def verify_part(part: nn.Module, given: FeatureSpec, declared: FeatureSpec, what: str) -> None:
    """Compare what a neck or a summary gives with what it declares.

    Raises:
        LayoutMismatch: It gives other shapes.
    """
    with _evaluated(part):
        _compare(what, lambda: part(_zeros(given)), declared)


def verify_fusion(
    fusion: AbstractFusion,
    given: Mapping[str, FeatureSpec],
    stages: Mapping[str, Sequence[FeatureSpec]],
    what: str,
    *,
    last: bool,
    unrefined: Mapping[str, FeatureSpec] | None = None,
) -> None:
    """Compare what a fusion gives at each of its places with what it declares.

    Between stages it must keep every shape. `unrefined` are the features before a chain's fusions.

    Raises:
        LayoutMismatch: It gives other shapes, or other names than its `outputs` or `refined`.
    """
    present = {name: torch.ones(_CASES, dtype=torch.bool, device="meta") for name in given}
    context = Context(present)
    if unrefined is not None:
        before = {name: _zeros(spec) for name, spec in unrefined.items()}
        context = Context(present, unrefined=before)
    features = {name: _zeros(spec) for name, spec in given.items()}
    with _evaluated(fusion):
        if "exchange" in fusion.places:
            for level in range(max(map(len, stages.values()))):
                at = {name: specs[min(level, len(specs) - 1)] for name, specs in stages.items()}
                states: Any = {name: _zeros(spec) for name, spec in at.items()}
                run = partial(fusion.exchange, level, states, context)
                _compare(f"{what}, after stage {level},", run, at)
        if last:
            _compare(what, lambda: fusion.join(features, context).features, fusion.outputs)
        else:
            _compare(what, lambda: fusion.refine(features, context), fusion.refined)


def verify_head(
    head: AbstractHead, given: FeatureSpec, tasks: Sequence[TaskSpec], what: str
) -> None:
    """Compare a head's logits with what its tasks need.

    Raises:
        LayoutMismatch: It gives other shapes or tasks.
    """
    declared = {task.name: FeatureSpec.vector(task.num_logits) for task in tasks}
    with _evaluated(head):
        _compare(what, lambda: head(_zeros(given)), declared)


def _zeros(spec: FeatureSpec) -> Any:
    made = [torch.zeros(shape, device="meta") for shape in _shapes(spec)]
    return made if spec.layout == "pyramid" else made[0]


def _shapes(spec: FeatureSpec) -> list[tuple[int, ...]]:
    """Shapes of what a spec describes, one per level."""
    if spec.layout == "tokens":
        return [(_CASES, spec.num_tokens, spec.channels)]
    return [(_CASES, level.channels, *level.size) for level in spec.levels]


@contextmanager
def _evaluated(part: nn.Module) -> Iterator[None]:
    """The part in evaluation mode, without gradients."""
    training = part.training
    part.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        part.train(training)


def _compare(
    what: str, run: Callable[[], Any], declared: FeatureSpec | Mapping[str, FeatureSpec]
) -> None:
    try:
        found = run()
    except FusionZooError:
        raise
    except Exception:
        return  # it can't run without memory
    if isinstance(declared, FeatureSpec):
        _compare_one(what, found, declared)
        return
    names = ", ".join(found) if isinstance(found, Mapping) else type(found).__name__
    if not isinstance(found, Mapping) or set(found) != set(declared):
        raise LayoutMismatch(
            f"{what} declares {', '.join(declared)}; it gives {names}. "
            "Correct what it declares or what it computes."
        )
    for name, spec in declared.items():
        _compare_one(f"{what} for {name!r}", found[name], spec)


def _compare_one(what: str, found: Any, declared: FeatureSpec) -> None:
    wanted = [f"{shape}" for shape in _shapes(declared)]
    pyramid = declared.layout == "pyramid"
    each = found if isinstance(found, list | tuple) else [found]
    shapes = [f"{tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__ for x in each]
    if shapes != wanted or pyramid != isinstance(found, list | tuple):
        listed = "a list of " if isinstance(found, list | tuple) else ""
        raise LayoutMismatch(
            f"{what} declares a {declared}, so {', '.join(wanted)} for {_CASES} cases; it gives "
            f"{listed}{', '.join(shapes)}. Correct what it declares or what it computes."
        )
