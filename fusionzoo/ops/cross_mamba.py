"""Cross-modal Mamba (CMM): sequences whose selective scans are read out by one another.

Source: IIMGF-Net, MICCAI 2025, Sec. 2.2; its released code, which differs from the paper's formulas
and is followed: A is diagonal, step sizes and skip are one per channel, results go through a norm.
"""

import math
from collections.abc import Mapping

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.ops.conv import channel_linear
from fusionzoo.ops.selective_scan import selected_backend, selective_scan
from fusionzoo.ops.ss2d import initialise_rates_, initialise_steps_


class CrossMamba(nn.Module):
    """`norm(scan(x; steps(x), A, B(x), C(y)))`: one sequence, read out by another.

    With x_t and y_t the two sequences, both scanned once from the first position to the last,

        h_t = exp(s_t A) h_{t-1} + s_t B_t x_t,   z_t = C_t h_t + D x_t
        s_t = softplus(W_s W_r x_t + b),  B_t = W_B x_t,  C_t = W_C y_t

    W_r of rank ceil(channels / 16), A negative and diagonal, everything but B and C per channel.

    Args:
        channels: Channels of both sequences.
        num_states: States per channel.
        exchange: Whether C comes from the other sequence; from the scanned one otherwise, which
            leaves a plain Mamba scan.
        backend: Backend of the selective scan.
    """

    def __init__(
        self, channels: int, *, num_states: int = 16, exchange: bool = True, backend: str = "auto"
    ):
        super().__init__()
        selected_backend("meta", backend)
        self.exchange, self.scan_backend = exchange, backend
        self.rank, self.num_states = math.ceil(channels / 16), num_states
        self.write = nn.Linear(channels, self.rank + num_states, bias=False)
        self.read = nn.Linear(channels, num_states, bias=False)
        self.step = nn.Linear(self.rank, channels)
        self.A_log = nn.Parameter(torch.empty(channels, num_states))
        self.D = nn.Parameter(torch.ones(channels))
        self.norm = nn.LayerNorm(channels)
        initialise_rates_(self.A_log)
        initialise_steps_(self.step.weight, self.step.bias)

    def forward(
        self,
        own: Float[Tensor, "batch channels length"],
        other: Float[Tensor, "batch channels length"],
    ) -> Float[Tensor, "batch length channels"]:
        """The scanned sequence, channels last."""
        rows = channel_linear(self.write, own)
        narrow, B = rows.split([self.rank, self.num_states], 1)
        C = channel_linear(self.read, other if self.exchange else own)
        y = selective_scan(
            own,
            channel_linear(self.step, narrow, bias=False),
            -torch.exp(self.A_log),
            B,
            C,
            self.D,
            self.step.bias,
            delta_softplus=True,
            backend=self.scan_backend,
        )
        return self.norm(rearrange(y, "batch channels length -> batch length channels"))

    def rename_official(self, state: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
        """This scan's state dict from the pair of IIMGF-Net's release.

        Args:
            state: The released `Cross_Modal_Mamba`.
            number: Which of its two sequences is scanned here, 1 or 2.
        """
        reader = 3 - number if self.exchange else number
        names = {
            "step.weight": f"dt_proj_{number}.weight",
            "step.bias": f"dt_proj_{number}.bias",
            "A_log": f"A_log_{number}",
            "D": f"D_{number}",
            "norm.weight": f"out_norm_{number}.weight",
            "norm.bias": f"out_norm_{number}.bias",
        }
        renamed = {ours: state[official] for ours, official in names.items()}
        num_states = renamed["A_log"].shape[1]
        renamed["write.weight"] = state[f"x_proj_{number}.weight"][:-num_states]
        renamed["read.weight"] = state[f"x_proj_{reader}.weight"][-num_states:]
        return renamed


class CrossMambaPair(nn.Module):
    """Two sequences, each scanned and read out by the other.

    Args:
        channels: Channels of both sequences.
        num_states: States per channel.
        exchange: As for `CrossMamba`.
        backend: Backend of the selective scans.
    """

    def __init__(
        self, channels: int, *, num_states: int = 16, exchange: bool = True, backend: str = "auto"
    ):
        super().__init__()
        self.first, self.second = (
            CrossMamba(channels, num_states=num_states, exchange=exchange, backend=backend)
            for _ in range(2)
        )

    def forward(
        self,
        x: Float[Tensor, "batch channels length"],
        y: Float[Tensor, "batch channels length"],
    ) -> tuple[Float[Tensor, "batch length channels"], Float[Tensor, "batch length channels"]]:
        """Both scanned sequences, channels last."""
        return self.first(x, y), self.second(y, x)

    def rename_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This pair's state dict from that of IIMGF-Net's release."""
        pairs = (("first", self.first, 1), ("second", self.second, 2))
        return {
            f"{name}.{key}": tensor
            for name, scan, number in pairs
            for key, tensor in scan.rename_official(state, number).items()
        }


__all__ = ["CrossMamba", "CrossMambaPair"]
