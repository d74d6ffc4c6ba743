"""timm: any image network of the package timm, for images and, slice by slice, for volumes.

Source: Wightman, PyTorch Image Models, doi:10.5281/zenodo.4414861; each network is credited there.
Differs from the package: nothing is ever downloaded; weights are loaded from a file.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import timm
import torch
from einops import rearrange, reduce
from jaxtyping import Float
from timm.models import FeatureListNet, adapt_input_conv
from torch import Tensor, nn
from torch.func import functional_call

from fusionzoo.errors import BadOption, UnknownComponent, nearest
from fusionzoo.interface import AbstractEncoder, AbstractSummary, component
from fusionzoo.spec import FeatureSpec, Modality


@component(source="Wightman, PyTorch Image Models, doi:10.5281/zenodo.4414861")
class Timm(AbstractEncoder):
    """A timm network as a pyramid of maps, or what it has before its pooling and classifier.

    The slices of a volume go through the 2D network one by one, as a batch of batch x depth images;
    the maps are put together again as volumes of the same depth, tokens of all slices as one
    sequence, and the summary pools over space and then over slices.

    A pyramid leaves out what some networks have behind their last level: EfficientNet's widest
    convolution, XCiT's class attention. With `features=vector` everything up to the classifier is
    there, and the vector is the network's own: XCiT's class token, the mean of a map or of LeViT's
    tokens. LeViT has two classifiers, each a norm and a linear map, whose outputs it averages in
    evaluation and, without a teacher, in training; that is one such map, and the head here takes
    its place, without the norm.

    Weights of three channels fill a stem of others as timm does it: kernels are repeated and
    scaled by 3 / channels, so that copies of one image give what the image gave; for one channel
    they are summed. Values are scaled by the data set; ImageNet's networks were trained on
    standardised ones.

    Args:
        modality: The image or volume.
        name: A model's name in timm, for instance regnety_032.
        out_indices: Which of the network's levels to give, fine to coarse; all of them by default.
        features: `pyramid`, `last` for a single map or, from transformers, tokens, or `vector`.
        slice_pool: How the summary of a volume pools its slices.
        pretrained: Refused; weights come from a file.

    Inputs:  `batch channels height width` or `batch channels depth height width`
    Returns: maps `batch channels_i *space_i`, fine to coarse, `batch tokens channels`, or `batch
        channels`, which for a volume are tokens, one per slice; the depth keeps its size
    Raises:  UnknownComponent: timm has no such model; BadOption: `pretrained`, or a network that
        can't take this size
    Example:
        >>> image = Modality("derm", "image", 3, (64, 64))
        >>> [tuple(x.shape[1:]) for x in Timm(image, out_indices=(1, 2))(torch.zeros(1, 3, 64, 64))]
        [(64, 16, 16), (128, 8, 8)]
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"image", "volume"})
    small: ClassVar[Mapping[str, Any]] = {"name": "resnet10t"}

    def __init__(
        self,
        modality: Modality,
        *,
        name: str = "resnet18",
        out_indices: tuple[int, ...] | None = None,
        features: Literal["pyramid", "last", "vector"] = "pyramid",
        slice_pool: Literal["mean", "max"] = "mean",
        pretrained: bool = False,
    ):
        super().__init__()
        _check(name, pretrained)
        self.slice_pool = slice_pool
        self.first_conv = _first_conv(name)
        self.depth = modality.size[0] if modality.kind == "volume" else None
        try:
            self.net = _build(name, modality, out_indices, features)
            images, chained = _trace(self.net, modality)
        except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise BadOption(
                f"timm's {name!r} can't be built for {modality.name!r} of shape {modality.shape}: "
                f"{first}. {_made_for(name)}Choose a network for this size, resize the images, "
                "or try features='last' or 'vector'."
            ) from error
        given = tuple(self._spec(shape, stride) for shape, stride in images)
        self.staged = chained
        self.last_map = "net.last" if features == "vector" else ""
        self.spans = _spans(self.net) if chained else ()
        self.stages = given if chained or len(given) == 1 else (_as_pyramid(given),)

    def stage(self, level: int, x: Float[Tensor, "batch channels *space"]) -> Any:
        """The network's blocks up to its next level, or all of it where it can't be cut."""
        x = self._fold(x)
        if not self.staged:
            found = self.net(x)
            maps = [self._unfold(each) for each in (found if isinstance(found, list) else [found])]
            return maps if len(maps) > 1 else maps[0]
        for name in self.spans[level]:
            x = self.net.get_submodule(name)(x)
        return self._unfold(x)

    def summary(self) -> "SlicePool | None":
        """For volumes, pooling over space and then over slices; None for images."""
        return None if self.depth is None else SlicePool(self.output, self.depth, self.slice_pool)

    def rename_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights that timm saved, under our names, without the parts that are cut off here.

        The stem's kernels are fitted to the channels.
        """
        own = self.state_dict()
        inside = "net.model." if any(key.startswith("net.model.") for key in own) else "net."
        renamed = {}
        for key, value in state.items():
            flat = inside + key.replace(".", "_", 1)
            name = flat if flat in own else inside + key
            if key.removesuffix(".weight") in self.first_conv and name in own:
                value = _for_channels(value, own[name].shape[1])
            renamed[name] = value
        return {key: value for key, value in renamed.items() if key in own}

    def _fold(self, x: Tensor) -> Tensor:
        if self.depth is None:
            return x
        return rearrange(
            x, "batch channels depth height width -> (batch depth) channels height width"
        )

    def _unfold(self, x: Tensor) -> Tensor:
        """Maps, tokens or vectors of slices as a volume or as tokens of the whole volume."""
        if self.depth is None:
            return x
        pattern = {
            2: "(batch depth) channels -> batch depth channels",
            3: "(batch depth) tokens channels -> batch (depth tokens) channels",
            4: "(batch depth) channels height width -> batch channels depth height width",
        }
        return rearrange(x, pattern[x.ndim], depth=self.depth)

    def _spec(self, shape: Sequence[int], stride: int) -> FeatureSpec:
        """What one level gives, from its shape for one image."""
        slices = () if self.depth is None else (self.depth,)
        if len(shape) == 3:
            channels, *size = shape
            return FeatureSpec.map(
                channels, (*slices, *size), (*(1 for _ in slices), stride, stride)
            )
        if len(shape) == 2:
            return FeatureSpec.tokens((self.depth or 1) * shape[0], shape[1])
        return (
            FeatureSpec.tokens(self.depth, shape[0]) if self.depth else FeatureSpec.vector(shape[0])
        )


class SlicePool(AbstractSummary):
    """One vector of a volume: the mean over each slice's positions, then a pool over slices.

    Args:
        given: A pyramid or map with the depth as first axis, or tokens, slice after slice.
        depth: Slices.
        pool: Over slices.
    """

    def __init__(self, given: FeatureSpec, depth: int, pool: Literal["mean", "max"]):
        super().__init__()
        self.depth, self.pool = depth, pool
        self.output = FeatureSpec.vector(given.channels)

    def forward(self, features: Tensor | list[Tensor]) -> Float[Tensor, "batch channels"]:
        """One vector per case, from the coarsest level."""
        x = features[-1] if isinstance(features, list) else features
        if x.ndim == 3:
            pattern = "batch (depth tokens) channels -> batch depth channels"
            x = reduce(x, pattern, "mean", depth=self.depth)
        else:
            x = reduce(x, "batch channels depth height width -> batch depth channels", "mean")
        return reduce(x, "batch depth channels -> batch channels", self.pool)


class LastFeatures(nn.Module):
    """A timm network up to its pooling, with maps as `batch channels height width`."""

    model: Any

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch ..."]:
        """A map, tokens or a vector."""
        x = self.model.forward_features(x)
        return x.permute(0, 3, 1, 2) if x.ndim == 4 and self.channels_last else x


class VectorFeatures(nn.Module):
    """A timm network up to its classifier, which gives what that would read."""

    model: Any

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        self.last = nn.Identity()

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch embed"]:
        """A vector; its last map goes through `last`, channels first."""
        x = self.model.forward_features(x)
        if x.ndim == 4 and self.channels_last:
            x = self.last(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        else:
            x = self.last(x)
        return self.model.forward_head(x, pre_logits=True)


class ChannelsFirst(nn.Module):
    """A timm feature network whose maps come as `batch height width channels`."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.feature_info = model.feature_info

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> list[Float[Tensor, "batch _ _ _"]]:
        """Maps, channels first."""
        return [each.permute(0, 3, 1, 2) for each in self.model(x)]


def _check(name: str, pretrained: bool) -> None:
    if pretrained:
        raise BadOption(
            f"Encoder 'timm' never downloads, so it can't take pretrained=True for {name!r}. "
            "Download the weights once and give their file: timm(..., weights=PATH)."
        )
    if not timm.is_model(name):
        known = timm.list_models()
        raise UnknownComponent(
            f"timm has no model called {name!r}. {nearest(name, known)}"
            f"timm.list_models() shows all {len(known)}."
        )


def _made_for(name: str) -> str:
    """'It was made for 224x224. ' where timm says so."""
    config = timm.models.get_pretrained_cfg(name)
    return f"It was made for {'x'.join(map(str, config.input_size[1:]))}. " if config else ""


def _first_conv(name: str) -> tuple[str, ...]:
    """Names of the layers that read the image."""
    config = timm.models.get_pretrained_cfg(name)
    found = getattr(config, "first_conv", None) or ()
    return (found,) if isinstance(found, str) else tuple(found)


def _for_channels(kernels: Tensor, channels: int) -> Tensor:
    """Kernels of three channels for others; those of another number as they are."""
    if kernels.ndim != 4 or kernels.shape[1] != 3 or channels == 3:
        return kernels
    fitted: Tensor = adapt_input_conv(channels, kernels)
    return fitted


def _build(
    name: str, modality: Modality, out_indices: tuple[int, ...] | None, features: str
) -> nn.Module:
    """The network with fresh weights for this modality's channels and size."""
    options: dict[str, Any] = {"in_chans": modality.channels}
    config = timm.models.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        options["img_size"] = modality.size[-2:]
    if features != "pyramid":
        wrap = LastFeatures if features == "last" else VectorFeatures
        return wrap(timm.create_model(name, num_classes=0, **options))
    if out_indices is not None:
        options["out_indices"] = out_indices
    net = timm.create_model(name, features_only=True, **options)
    return ChannelsFirst(net) if getattr(net, "output_fmt", "NCHW") == "NHWC" else net


def _trace(net: nn.Module, modality: Modality) -> tuple[list[tuple[tuple[int, ...], int]], bool]:
    """Shape and stride of each level for one image, and whether the network is a plain chain."""
    was_training = net.training
    net.eval()
    image = torch.empty(1, modality.channels, *modality.size[-2:], device="meta")
    found = _on_meta(net, image)
    maps = found if isinstance(found, list) else [found]
    info = getattr(net, "feature_info", None)
    strides = info.reduction() if info else [modality.size[-1] // x.shape[-1] for x in maps]
    chained = type(net) is FeatureListNet
    if chained:
        for span in _spans(net):
            for name in span:
                image = _on_meta(net.get_submodule(name), image)
            chained = chained and isinstance(image, Tensor)
    net.train(was_training)
    return [(tuple(x.shape[1:]), stride) for x, stride in zip(maps, strides, strict=True)], chained


def _on_meta(module: nn.Module, x: Any) -> Any:
    state = dict(module.named_parameters()) | dict(module.named_buffers())
    hollow = {name: torch.empty_like(value, device="meta") for name, value in state.items()}
    return functional_call(module, hollow, (x,))


def _spans(net: Any) -> tuple[tuple[str, ...], ...]:
    """Names of the blocks that lead to each level."""
    spans: list[tuple[str, ...]] = []
    current: list[str] = []
    for name, _ in net.named_children():
        current.append(name)
        if name in net.return_layers:
            spans.append(tuple(current))
            current = []
    return tuple(spans)


def _as_pyramid(given: Sequence[FeatureSpec]) -> FeatureSpec:
    return FeatureSpec.pyramid(tuple(spec.levels[0] for spec in given))
