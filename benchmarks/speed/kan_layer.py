"""Time of the KAN encoder's layer against pykan's (without it, against Cox-de Boor per edge).

Run: OMP_NUM_THREADS=1 python benchmarks/speed/kan_layer.py
Both layers map 7 columns to 24 channels with cubic splines on 5 intervals, on one thread. They take
turns, so that a busy machine slows both; each number is the median over the rounds.
"""

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.encoders.kan import KANLayer, PykanLayer
from fusionzoo.ops.splines import cox_de_boor, uniform_knots

COLUMNS, CHANNELS, GRID_SIZE, ORDER = 7, 24, 5, 3


class PerEdgeLayer(nn.Module):
    """The usual formulation: the recursion, then one activation per edge, kept and summed."""

    def __init__(self, native: KANLayer):
        super().__init__()
        self.native = native
        self.register_buffer("knots", uniform_knots(GRID_SIZE, ORDER).float())

    def forward(self, x: Tensor) -> Tensor:
        """The sum of the kept activations of all edges."""
        basis = cox_de_boor(x, self.knots, ORDER)
        splines = torch.einsum("big,igo->bio", basis, self.native.coef)
        edges = self.native.scale_base * F.silu(x)[:, :, None] + self.native.scale_spline * splines
        return edges.sum(dim=1)


def reference(native: KANLayer) -> tuple[str, nn.Module]:
    """What to compare with, and its name."""
    if importlib.util.find_spec("kan") is None:
        return "Cox-de Boor per edge", PerEdgeLayer(native)
    return "pykan", PykanLayer(COLUMNS, CHANNELS, grid_size=GRID_SIZE, order=ORDER)


def forward(layer: nn.Module, x: Tensor) -> None:
    """One evaluation."""
    with torch.no_grad():
        layer(x)


def train(layer: nn.Module, x: Tensor) -> None:
    """One evaluation with all gradients."""
    layer(x).square().mean().backward()


def medians_us(work: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median time of each in microseconds, the contenders taking turns."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(rounds + rounds // 10):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            if round_ >= rounds // 10:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) * 1e6 for name, values in times.items()}


def main() -> None:
    """Print one row per batch size and direction."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    native = KANLayer(COLUMNS, CHANNELS, grid_size=GRID_SIZE, order=ORDER)
    name, other = reference(native)
    print(f"| batch | work | fusionzoo, us | {name}, us | ratio |\n|---|---|---|---|---|")
    for batch in (4, 32, 256, 1024):
        x = torch.rand(batch, COLUMNS) * 2 - 1
        for label, step in (("forward", forward), ("forward + backward", train)):
            contenders = {"ours": native, "other": other}
            work = {
                key: lambda layer=layer, step=step, x=x: step(layer, x)
                for key, layer in contenders.items()
            }
            took = medians_us(work, rounds)
            ratio = took["other"] / took["ours"]
            print(
                f"| {batch} | {label} | {took['ours']:.0f} | {took['other']:.0f} | {ratio:.2f}x |"
            )


if __name__ == "__main__":
    main()
