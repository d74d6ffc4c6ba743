"""PENet: a 3D ResNeXt with squeeze-and-excitation for CT, three scales as a pyramid.

Source: Huang et al., PENet, npj Digital Medicine 2020, doi:10.1038/s41746-020-0266-y, as MMCAF-Net
uses it: the three scales feed its neck, and ASPP + global pooling is its image-only model.
Differs from the released code: the segmentation decoders, which nothing reads, are not built;
stochastic depth draws from torch's generator, not from Python's `random`, so that one seed fixes a
run; one-channel input is convolved once with the summed stem weight, where the release copies the
input three times (the same numbers).
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import reduce
from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.errors import BadOption, WeightsError
from fusionzoo.interface import AbstractEncoder, AbstractSummary, component
from fusionzoo.ops.conv import PointwiseConv3d, SqueezeExcite
from fusionzoo.spec import FeatureSpec, Modality

#: Bottlenecks per stage by `depth`: the layers of the ResNet that would have a fourth stage.
BLOCKS = {14: (1, 1, 1), 26: (2, 2, 2), 50: (3, 4, 6)}
#: Channels at width 1: of the stem, and inside each stage's bottlenecks, which give twice as many.
STEM_CHANNELS = 64
STAGE_CHANNELS = (128, 256, 512)
ASPP_CHANNELS = 256
CHANNELS_PER_NORM_GROUP = 16

_UNUSED = re.compile(r"(decoders\.\d+|out_conv)\.")
_RENAMES = (
    (r"^in_conv\.0\.", "encoder.stem_conv."),
    (r"^in_conv\.1\.", "encoder.stem_norm."),
    (r"^encoders\.(\d+)\.penet_blocks\.(\d+)\.", r"encoder.blocks.\1.\2."),
    (r"^asp_pool\.in_conv\.0\.", "summary.aspp.entry.conv."),
    (r"^asp_pool\.in_conv\.1\.", "summary.aspp.entry.norm."),
    (r"^asp_pool\.conv1\.", "summary.aspp.point."),
    (r"^asp_pool\.conv2\.", "summary.aspp.near."),
    (r"^asp_pool\.conv3\.", "summary.aspp.far."),
    (r"^asp_pool\.conv4\.1\.", "summary.aspp.context."),
    (r"^asp_pool\.norm\.", "summary.aspp.norm."),
    (r"^asp_pool\.out_conv\.0\.", "summary.aspp.exit.conv."),
    (r"^asp_pool\.out_conv\.1\.", "summary.aspp.exit.norm."),
    (r"^classifier\.fc\.", "head."),
    (r"\.(conv|norm)1\.", r".reduce.\1."),
    (r"\.(conv|norm)2\.", r".grouped.\1."),
    (r"\.(conv|norm)3\.", r".expand.\1."),
    (r"\.se_block\.excite\.0\.", ".gate.squeeze."),
    (r"\.se_block\.excite\.2\.", ".gate.excite."),
    (r"\.down_sample\.0\.", ".skip.conv."),
    (r"\.down_sample\.1\.", ".skip.norm."),
)


@component(source="Huang et al., PENet, npj Digital Medicine 2020; MMCAF-Net, image encoder")
class PENet3D(AbstractEncoder):
    """A stem and three stages of ResNeXt bottlenecks with group norm and channel gates.

    The stem gives 64 channels at stride (2, 4, 4); the stages give 256, 512 and 1024 at strides
    (2, 4, 4), (4, 8, 8) and (8, 16, 16); channels are times `width`. At the defaults it has
    10,502,896 parameters.

    Args:
        modality: A volume. One channel counts as three equal ones, so that official weights load.
        width: Scales channels and the groups of grouped convolutions together, so that a group
            keeps its channels. A multiple of 1/4: group norm takes 16 channels a group, and the
            stem has 64 at width 1.
        depth: 50 for 3, 4, 6 bottlenecks in the stages, 26 for 2, 2, 2 and 14 for 1, 1, 1.
        cardinality: Groups of the grouped convolutions at width 1.
        stochastic_depth: Bottleneck `i` of `n` is left out of a training step with probability
            `stochastic_depth * i / n` (one draw for the whole batch); evaluation rescales nothing.
        init: `kaiming` as the release trains it (normal, fan-in, biases 0; the last norm of a
            bottleneck starts at 0), or `torch` for torch's defaults.
        pool: How the pyramid becomes one vector where one is asked for: `aspp` as the release's
            image-only model (256 channels), or `mean` over the last scale (1024), which is what
            methods with an image vector of their own read of a network.

    Inputs: `batch channels depth height width`, any size.
    Returns: A pyramid of three maps, fine to coarse; every stride 2 gives `ceil(size / 2)`.
    Raises: BadOption for options that it can't be built with.

    Example:
        >>> ct = Modality("ct", "volume", 1, (12, 48, 48))
        >>> encoder = PENet3D(ct, width=0.25, depth=14)
        >>> [tuple(scale.shape) for scale in encoder(torch.zeros(2, 1, 12, 48, 48))]
        [(2, 64, 6, 12, 12), (2, 128, 3, 6, 6), (2, 256, 2, 3, 3)]
    """

    accepts = frozenset({"volume"})
    small: ClassVar[Mapping[str, Any]] = {"width": 0.25, "depth": 14, "cardinality": 8}

    def __init__(
        self,
        modality: Modality,
        *,
        width: float = 1.0,
        depth: int = 50,
        cardinality: int = 32,
        stochastic_depth: float = 0.5,
        init: str = "kaiming",
        pool: Literal["aspp", "mean"] = "aspp",
    ):
        super().__init__()
        _check_options(width, depth, cardinality, stochastic_depth, init)
        self.width, self.init, self.pool = width, init, pool
        stem = round(STEM_CHANNELS * width)
        self.stem_conv = RepeatedInputConv3d(modality.channels, stem)
        self.stem_norm = _group_norm(stem)
        self.blocks = nn.ModuleList()
        channels, index, total = stem, 0, sum(BLOCKS[depth])
        for level, num_blocks in enumerate(BLOCKS[depth]):
            inner = round(STAGE_CHANNELS[level] * width)
            stage = nn.Sequential()
            for block in range(num_blocks):
                stride = 2 if level > 0 and block == 0 else 1
                drop = stochastic_depth * index / total
                groups = round(cardinality * width)
                stage.append(Bottleneck(channels, inner, groups=groups, stride=stride, drop=drop))
                channels, index = 2 * inner, index + 1
            self.blocks.append(stage)
        self.stages = _stages(modality, width)
        _initialise(self, init)

    def stem(
        self, x: Float[Tensor, "batch channels depth height width"]
    ) -> Float[Tensor, "batch stem pooled_depth pooled_height pooled_width"]:
        """Convolution 7x7x7 at stride (1, 2, 2), then max pooling at stride 2."""
        return F.max_pool3d(F.leaky_relu(self.stem_norm(self.stem_conv(x))), 3, stride=2, padding=1)

    def stage(
        self, level: int, x: Float[Tensor, "batch inputs depth height width"]
    ) -> Float[Tensor, "batch outputs strided_depth strided_height strided_width"]:
        """The bottlenecks of one stage; stages 1 and 2 begin with stride 2."""
        return self.blocks[level](x)

    def summary(self) -> "PENetSummary | None":
        """ASPP and global pooling, the release's image-only path (8,063,232 parameters)."""
        if self.pool == "mean":
            return None
        return PENetSummary(self.output, round(ASPP_CHANNELS * self.width), init=self.init)

    @classmethod
    def official_parts(cls, state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """State dicts of our parts `encoder`, `summary` and `head` from a released PENet's.

        A leading `module.` is taken off; the decoders, which nothing reads, are left out. Of
        MMCAF-Net's image model, its `encoder.` is read. The head is a linear layer's `weight` and
        `bias`.

        Raises: WeightsError for names that a PENet does not have.
        """
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
        inside = {
            name.removeprefix("encoder."): tensor
            for name, tensor in state.items()
            if name.startswith("encoder.")
        }
        parts: dict[str, dict[str, Tensor]] = {"encoder": {}, "summary": {}, "head": {}}
        unknown = []
        for official, tensor in (inside or state).items():
            if _UNUSED.match(official):
                continue
            name = official
            for pattern, ours in _RENAMES:
                name = re.sub(pattern, ours, name)
            part, _, rest = name.partition(".")
            if part in parts:
                parts[part][rest] = tensor
            else:
                unknown.append(official)
        if unknown:
            raise WeightsError(
                f"These weights are no PENet's: {len(unknown)} of {len(state)} names are unknown, "
                f"{unknown[0]!r} first. Give the state dict of a released PENet, "
                "or load weights that fusionzoo saved without renaming them."
            )
        return parts

    @classmethod
    def rename_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """This encoder's state dict from that of a released PENet or MMCAF-Net image model."""
        return cls.official_parts(state)["encoder"]


class Bottleneck(nn.Module):
    """`leaky_relu(gate(expand(grouped(reduce(x)))) + skip(x))`, every convolution group-normalised.

    Args:
        in_channels: Channels of the input.
        inner_channels: Channels of the 3x3x3 convolution; the output has twice as many.
        groups: Groups of the 3x3x3 convolution.
        stride: Stride of the 3x3x3 convolution and of the skip.
        drop: Probability that a training step gives the skip alone, without activation.
    """

    def __init__(
        self,
        in_channels: int,
        inner_channels: int,
        *,
        groups: int,
        stride: int = 1,
        drop: float = 0.0,
    ):
        super().__init__()
        out_channels = 2 * inner_channels
        self.drop = drop
        self.reduce = _normed(PointwiseConv3d(in_channels, inner_channels, bias=False))
        grouped = nn.Conv3d(
            inner_channels, inner_channels, 3, stride=stride, padding=1, groups=groups, bias=False
        )
        self.grouped = _normed(grouped)
        expand = PointwiseConv3d(inner_channels, out_channels, bias=False)
        self.expand = _normed(expand, activate=False)
        self.gate = SqueezeExcite(out_channels)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            skip = PointwiseConv3d(in_channels, out_channels, stride=stride, bias=False)
            self.skip = _normed(skip, activate=False)

    def forward(
        self, x: Float[Tensor, "batch inputs depth height width"]
    ) -> Float[Tensor, "batch outputs strided_depth strided_height strided_width"]:
        """The block, or in training now and then its skip alone."""
        skip = self.skip(x)
        if self.training and self.drop > 0 and torch.rand((), device="cpu").item() < self.drop:
            return skip
        return F.leaky_relu(self.gate(self.expand(self.grouped(self.reduce(x)))) + skip)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: point-wise, dilation 6, dilation 12 and global branches.

    Source: Chen et al., DeepLabv3, 2017, in 3D and between two convolutions, as PENet has it.

    Args:
        in_channels: Channels of the map.
        out_channels: Channels that it gives; each branch has a quarter of them.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        branch = out_channels // 4
        self.entry = _normed(nn.Conv3d(in_channels, out_channels, 3, padding=2, dilation=2))
        self.point = nn.Conv3d(out_channels, branch, 1)
        self.near = nn.Conv3d(out_channels, branch, 3, padding=6, dilation=6)
        self.far = nn.Conv3d(out_channels, branch, 3, padding=12, dilation=12)
        self.context = nn.Conv3d(out_channels, branch, 1)
        self.norm = _group_norm(out_channels)
        self.exit = _normed(nn.Conv3d(out_channels, out_channels, 1))

    def forward(
        self, x: Float[Tensor, "batch inputs depth height width"]
    ) -> Float[Tensor, "batch outputs depth height width"]:
        """A map of the same size."""
        x = self.entry(x)
        pooled = reduce(x, "batch channels depth height width -> batch channels 1 1 1", "mean")
        context = self.context(pooled).expand(-1, -1, *x.shape[2:])
        joined = torch.cat([self.point(x), self.near(x), self.far(x), context], dim=1)
        return self.exit(F.leaky_relu(self.norm(joined)))


class PENetSummary(AbstractSummary):
    """The coarsest map through `ASPP`, averaged over space."""

    def __init__(self, given: FeatureSpec, channels: int, *, init: str = "kaiming"):
        super().__init__()
        self.aspp = ASPP(given.channels, channels)
        self.output = FeatureSpec.vector(channels)
        _initialise(self, init)

    @classmethod
    def rename_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """This summary's state dict from that of a released PENet."""
        return PENet3D.official_parts(state)["summary"]

    def forward(self, features: list[Tensor]) -> Float[Tensor, "batch channels"]:
        """One vector per case from the last map of a pyramid."""
        return reduce(self.aspp(features[-1]), "batch channels ... -> batch channels", "mean")


class RepeatedInputConv3d(nn.Conv3d):
    """The stem's convolution, which sees a one-channel volume as three equal channels.

    Convolving three copies is convolving once with the weight summed over its input channels, at a
    third of the work.
    """

    def __init__(self, in_channels: int, out_channels: int):
        weights = 3 if in_channels == 1 else in_channels
        super().__init__(weights, out_channels, 7, stride=(1, 2, 2), padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.sum(1, keepdim=True) if x.shape[1] == 1 else self.weight
        return self._conv_forward(x, weight, None)


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // CHANNELS_PER_NORM_GROUP, channels)


def _normed(conv: nn.Conv3d, *, activate: bool = True) -> nn.Sequential:
    parts: OrderedDict[str, nn.Module] = OrderedDict(conv=conv, norm=_group_norm(conv.out_channels))
    if activate:
        parts["act"] = nn.LeakyReLU()
    return nn.Sequential(parts)


def _stages(modality: Modality, width: float) -> tuple[FeatureSpec, ...]:
    """What each stage gives: strides 2, 4, 8 along depth and 4, 8, 16 in the plane."""
    stages = []
    for level, channels in enumerate(STAGE_CHANNELS):
        stride = (2 << level, 4 << level, 4 << level)
        size = tuple(-(-length // step) for length, step in zip(modality.size, stride, strict=True))
        stages.append(FeatureSpec.map(2 * round(channels * width), size, stride))
    return tuple(stages)


def _initialise(module: nn.Module, init: str) -> None:
    if init == "torch":
        return
    for part in module.modules():
        if isinstance(part, nn.Conv3d | nn.Linear):
            nn.init.kaiming_normal_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        if isinstance(part, Bottleneck):
            nn.init.zeros_(part.get_parameter("expand.norm.weight"))


def _check_options(
    width: float, depth: int, cardinality: int, stochastic_depth: float, init: str
) -> None:
    stem, inner, groups = STEM_CHANNELS * width, STAGE_CHANNELS[0] * width, cardinality * width
    if stem <= 0 or stem % CHANNELS_PER_NORM_GROUP:
        raise BadOption(
            f"Encoder 'penet3d' can't be built with width={width}: its stem would have {stem:g} "
            "channels, and group norm takes them 16 at a time. Use a multiple of 0.25."
        )
    if depth not in BLOCKS:
        known = ", ".join(map(str, BLOCKS))
        raise BadOption(f"Encoder 'penet3d' has no depth {depth}. It is built with depth {known}.")
    if groups < 1 or groups % 1 or inner % groups:
        raise BadOption(
            f"Encoder 'penet3d' can't be built with cardinality={cardinality} at width={width}: "
            f"that makes {groups:g} groups of {inner:g} channels. Choose a cardinality so that "
            "cardinality * width is a whole number that divides them."
        )
    if not 0 <= stochastic_depth <= 1:
        raise BadOption(
            f"Encoder 'penet3d' can't be built with stochastic_depth={stochastic_depth}: it is a "
            "probability. Use a number from 0 (never) to 1."
        )
    if init not in ("kaiming", "torch"):
        raise BadOption(f"Encoder 'penet3d' knows no init {init!r}. It takes 'kaiming' or 'torch'.")


__all__ = ["ASPP", "Bottleneck", "PENet3D", "PENetSummary"]
