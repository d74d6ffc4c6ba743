"""What of each input spoke for a class: Integrated Gradients and Grad-CAM, in two or three axes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from fusionzoo.errors import BadOption, MissingExtra
from fusionzoo.explain.score import Score, read_by, with_inputs
from fusionzoo.interface import AbstractEncoder, Batch
from fusionzoo.models.model import Feature, FusionModel

#: Passes that are run at once.
CHUNK = 16
#: Maps of fewer positions are left for finer ones.
FEWEST_POSITIONS = 4
_SMOOTH = {2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True)
class Attributions:
    """What each value of each input added to the score.

    Args:
        values: Per modality, one number per value of the input, without the batch axis.
        score: The score of the case.
        baseline: The score of the baseline.
    """

    values: Mapping[str, Float[Tensor, "..."]]
    score: float
    baseline: float

    @property
    def by_modality(self) -> dict[str, float]:
        """The sum over each modality."""
        return {name: float(values.sum()) for name, values in self.values.items()}

    @property
    def gap(self) -> float:
        """By how much the sum of all misses `score - baseline`; 0 but for the steps' coarseness."""
        return sum(self.by_modality.values()) - (self.score - self.baseline)


def integrated_gradients(
    model: FusionModel,
    batch: Batch,
    score: Score,
    *,
    baseline: Mapping[str, Float[Tensor, "..."]] | None = None,
    steps: int = 64,
) -> Attributions:
    """(x - x') times the mean gradient of the score on the way from x' to x.

    All modalities go the way together, so that everything adds up to the difference between the
    case's score and the baseline's. Points and weights are those of Gauss and Legendre.

    Source: Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017, Eq. (1);
    computed by captum.

    Args:
        model: The model, in evaluation mode.
        batch: A single case.
        score: What is explained.
        baseline: Per modality an input without the batch axis; zeros where there is none.
        steps: Points on the way.

    Raises:
        MissingExtra: captum is not installed.
        BadOption: No steps, or a score that no gradient reaches.
    """
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise MissingExtra(
            "Integrated Gradients need captum, which is not installed. Install it: pip install "
            "'fusionzoo[explain]'. Grad-CAM works without it: --method gradcam."
        ) from error
    if steps < 1:
        raise BadOption(f"Integrated Gradients need one step or more, not steps={steps}.")
    names = read_by(model)
    given = baseline or {}
    inputs = [batch.inputs[name].detach() for name in names]
    starts = [
        given[name].to(x)[None] if name in given else torch.zeros_like(x)
        for name, x in zip(names, inputs, strict=True)
    ]

    def run(*each: Tensor) -> Tensor:
        found = score.of(model(with_inputs(batch, dict(zip(names, each, strict=True)))))
        # An input that has no part in the score gets a gradient of 0 instead of none.
        return found + sum(0 * x.flatten(1).sum(dim=1) for x in each)

    with torch.no_grad():
        ends = [float(run(*each)[0]) for each in (inputs, starts)]
    _check_gradient(model, batch, score)
    method: Any = IntegratedGradients(run)
    found = method.attribute(
        tuple(x.requires_grad_() for x in inputs),
        tuple(starts),
        n_steps=steps,
        method="gausslegendre",
        internal_batch_size=min(CHUNK, steps),
    )
    values = {name: x[0].detach() for name, x in zip(names, found, strict=True)}
    return Attributions(values, *ends)


@dataclass(frozen=True)
class Cam:
    """Where in one input a class was seen.

    Args:
        heat: relu of the weighted sum of maps, at the input's size, from 0 to its highest value.
        size: Size of the maps that it was made from.
        level: Number of the encoder's level that gave them, None where it has none.
    """

    heat: Float[Tensor, "*space"]
    size: tuple[int, ...]
    level: int | None


def grad_cam(
    model: FusionModel, batch: Batch, score: Score, *, level: int | None = None
) -> dict[str, Cam]:
    """relu(sum_c a_c A_c) per image, with a_c the mean gradient of the score over map A_c.

    A are the maps of an encoder's last level of four positions or more. Images that are stacked on
    channels share one map. Tokens are put back in their places. The result is interpolated to the
    input's size.

    Source: Selvaraju et al., Grad-CAM, ICCV 2017, Eqs. (1)-(2).

    Args:
        model: The model, in evaluation mode.
        batch: A single case.
        score: What is explained.
        level: Which level's maps, for all images; counted from the end where negative.

    Raises:
        BadOption: No image has maps, the level isn't there, or no gradient reaches the maps.
    """
    images = [f for f in model.features if batch.inputs[f.modalities[0]].ndim > 2]
    _check_gradient(model, batch, score)
    with torch.enable_grad(), _watched(model) as seen:
        inputs = {
            name: x.detach().requires_grad_() if x.is_floating_point() else x
            for name, x in batch.inputs.items()
        }
        value = score.of(model(with_inputs(batch, inputs))).sum()
        maps = {f.name: _chosen(f, seen[f.name], inputs[f.modalities[0]], level) for f in images}
        if not maps:
            raise BadOption("Grad-CAM needs an image or a volume, and the model reads none.")
        tensors = [place.tensor for place in maps.values()]
        found = torch.autograd.grad(value, tensors, allow_unused=True)
    likes = {feature.name: inputs[feature.modalities[0]] for feature in images}
    slopes = {
        name: _as_maps(torch.zeros_like(place.tensor) if each is None else each, likes[name])
        for (name, place), each in zip(maps.items(), found, strict=True)
    }
    if not any(slope.any() for slope in slopes.values()):
        raise BadOption(
            f"No gradient of the score reaches the maps of {', '.join(maps)}, so Grad-CAM has "
            "nothing to show: the model reads something else of them, such as a class token. Use "
            "--method ig, or another --level."
        )
    cams: dict[str, Cam] = {}
    for feature in images:
        name = feature.name
        cams |= dict.fromkeys(feature.modalities, _cam(maps[name], slopes[name], likes[name]))
    return cams


@dataclass
class _Place:
    """Maps or tokens that a model made on its way."""

    tensor: Tensor
    level: int | None = None


@dataclass
class _Seen:
    """What one stream's encoder made: its levels in order, and the module of its last map."""

    levels: list[Tensor] = field(default_factory=list)
    inner: list[Tensor] = field(default_factory=list)


def _cam(place: _Place, slopes: Tensor, x: Tensor) -> Cam:
    """The weighted sum of maps at the size of the input."""
    maps = _as_maps(place.tensor, x)
    weights = reduce(slopes, "batch channels ... -> batch channels", "mean")
    weights = weights.reshape(*weights.shape, *(1 for _ in maps.shape[2:]))
    heat = torch.relu((weights * maps).sum(dim=1, keepdim=True)).detach()
    size = tuple(heat.shape[2:])
    grown = F.interpolate(
        heat, size=tuple(x.shape[2:]), mode=_SMOOTH[x.ndim - 2], align_corners=False
    )
    return Cam(grown[0, 0], size, place.level)


def _chosen(feature: Feature, seen: _Seen, x: Tensor, level: int | None) -> _Place:
    """The maps of one stream that are looked at."""
    count = len(seen.levels)
    if level is not None and not -count <= level < count:
        raise BadOption(
            f"The encoder of {feature.name!r} has {count} levels; level={level} is none of them. "
            f"Use {-count} to {count - 1}."
        )
    places = [_Place(each, number) for number, each in enumerate(seen.levels)]
    if level is not None:
        places = [places[level]]
    elif seen.inner:
        places = [_Place(each) for each in seen.inner]
    fitting = [place for place in places if _grid(place.tensor, x)]
    if not fitting:
        raise BadOption(
            f"Grad-CAM needs a map, and the encoder of {feature.name!r} gives none"
            f"{' at that level' if level is not None else ''}. Use --method ig."
        )
    wide = [p for p in fitting if math.prod(_grid(p.tensor, x)) >= FEWEST_POSITIONS]
    return (wide or fitting)[-1]


def _grid(features: Tensor, x: Tensor) -> tuple[int, ...]:
    """Spatial size of what an encoder gave for input x; empty where it is no map."""
    dims, depth = x.ndim - 2, x.shape[2] if x.ndim == 5 else 1
    if features.ndim == x.ndim:
        return tuple(features.shape[2:])
    if dims == 3 and features.ndim == 4 and len(features) == len(x) * depth:
        return (depth, *features.shape[2:])
    if features.ndim == 3:
        plane = _plane(features.shape[1] * len(features) // (len(x) * depth), x.shape[-2:])
        return (depth, *plane) if plane and dims == 3 else plane
    return ()


def _plane(tokens: int, size: Sequence[int]) -> tuple[int, ...]:
    """Rows and columns of an image's tokens, some of which may come before the map's."""
    strides = (2**k for k in range(1, 8))
    grids = [tuple(-(-n // stride) for n in size) for stride in strides]
    return next((g for g in grids if 0 <= tokens - g[0] * g[1] <= 5), ())


def _as_maps(features: Tensor, x: Tensor) -> Tensor:
    """Maps, or tokens, as `batch channels *space`."""
    size = _grid(features, x)
    if features.ndim == x.ndim:
        return features
    if features.ndim == 4:
        pattern = "(batch depth) channels height width -> batch channels depth height width"
        return rearrange(features, pattern, depth=size[0])
    rows, columns = size[-2:]
    slices = features.reshape(len(x) * (size[0] if len(size) == 3 else 1), -1, features.shape[-1])
    kept = slices[:, -rows * columns :]
    pattern = "batch (rows columns) channels -> batch channels rows columns"
    maps = rearrange(kept, pattern, rows=rows)
    return maps if len(size) == 2 else _as_maps(maps, x)


@contextmanager
def _watched(model: FusionModel) -> Iterator[dict[str, _Seen]]:
    """What each stream's encoder makes while the block runs.

    Streams that share an encoder go through it in the model's order, level by level or one after
    the other, so that the k-th time that a level is made it belongs to the k-th stream.
    """
    seen = {feature.name: _Seen() for feature in model.features}
    watched, handles = [], []
    for key in dict.fromkeys(feature.encoder for feature in model.features):
        streams = [feature.name for feature in model.features if feature.encoder == key]
        encoder = model.trunk(next(f for f in model.features if f.encoder == key)).encoder
        encoder.emit = partial(_emit, encoder, [seen[name] for name in streams])  # type: ignore[method-assign]
        watched.append(encoder)
        if encoder.last_map:
            inner = encoder.get_submodule(encoder.last_map)
            keep = partial(_keep, [seen[name] for name in streams])
            handles.append(inner.register_forward_hook(keep))
    try:
        yield seen
    finally:
        for encoder in watched:
            del encoder.emit
        for handle in handles:
            handle.remove()


def _emit(encoder: AbstractEncoder, streams: list[_Seen], level: int, x: Any) -> Any:
    """The encoder's own `emit`, with what the stage gave kept for the stream that it is for."""
    own = next(seen for seen in streams if len(seen.levels) <= level)
    own.levels.extend(x if isinstance(x, list) else [x])
    return type(encoder).emit(encoder, level, x)


def _keep(streams: list[_Seen], module: Any, given: Any, output: Tensor) -> None:
    next(seen for seen in streams if not seen.inner).inner.append(output)


def _check_gradient(model: FusionModel, batch: Batch, score: Score) -> None:
    """Refuse a score that was fitted after training and passes no gradient."""
    names = read_by(model)
    with torch.enable_grad():
        inputs = {name: batch.inputs[name].detach().requires_grad_() for name in names}
        output = model(with_inputs(batch, inputs))
        if score.of(output).requires_grad:
            return
    with_gradient = [
        name
        for name in output.by_output
        if Score(score.task, score.code, name).of(output).requires_grad
    ]
    raise BadOption(
        f"No gradient goes through output {score.output!r} of this model: it was fitted after "
        f"training. Explain one of {', '.join(with_gradient) or 'no others'} with --output."
    )


__all__ = ["Attributions", "Cam", "grad_cam", "integrated_gradients"]
