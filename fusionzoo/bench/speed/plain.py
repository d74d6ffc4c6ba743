"""The same model as plain PyTorch composes it: what speed is measured against.

What the released codes of the zoo's methods do and this package doesn't, put back with the weights
shared, so that the arithmetic is the same and only the way differs:

- depth-wise 3D convolutions with torch's own gradients;
- one CT channel copied to three, all of them convolved;
- an ASPP behind PENet that is computed although nothing reads it;
- selective scans as a loop over positions in Python.
"""

from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.encoders.penet3d import (
    ASPP_CHANNELS,
    PENet3D,
    PENetSummary,
    RepeatedInputConv3d,
)
from fusionzoo.models.model import FusionModel, Trunk
from fusionzoo.ops.depthwise import DepthwiseConv3d


def compose_plainly(model: FusionModel) -> tuple[str, ...]:
    """Change a model's parts to what plain PyTorch composes; the weights stay the same tensors.

    Args:
        model: Any assembled model.

    Returns:
        One line for each kind of thing that was put back; none where the model is plain as it is.
    """
    found: dict[str, int] = {}

    def count(what: str) -> None:
        found[what] = found.get(what, 0) + 1

    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, DepthwiseConv3d):
                setattr(module, name, _as_conv3d(child))
                count("depth-wise 3D convolutions with torch's own gradients")
            elif isinstance(child, RepeatedInputConv3d) and child.in_channels == 3:
                setattr(module, name, _ThreeCopies(child))
                count("copies of one channel")
        if isinstance(module, Trunk) and isinstance(module.encoder, PENet3D) and len(module.necks):
            _read_by_nobody(module.encoder)
            count("ASPP that nothing reads")
        if isinstance(getattr(module, "scan_backend", None), str):
            setattr(module, "scan_backend", "reference")  # noqa: B010
            if not isinstance(getattr(type(module), "backend", None), property):
                count("selective scans as a loop over positions")
    return tuple(f"{number} {what}" for what, number in found.items())


class _ThreeCopies(nn.Module):
    """A convolution of one channel copied to three."""

    def __init__(self, conv: RepeatedInputConv3d):
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        x = x.expand(-1, 3, *x.shape[2:]).contiguous() if x.shape[1] == 1 else x
        return self.conv._conv_forward(x, self.conv.weight, None)


def _as_conv3d(conv: DepthwiseConv3d) -> nn.Conv3d:
    with torch.device("meta"):
        plain = nn.Conv3d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            padding=conv.padding,  # type: ignore[arg-type]
            groups=conv.groups,
            bias=False,
        )
    plain.weight = conv.weight
    return plain


def _read_by_nobody(encoder: PENet3D) -> None:
    """Run a summary of the last scale at every pass, and throw its result away."""
    channels = round(ASPP_CHANNELS * encoder.width)
    aspp = PENetSummary(encoder.output, channels).to(next(encoder.parameters()).device)

    def run(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        aspp([output])

    encoder.blocks[-1].register_forward_hook(run)
