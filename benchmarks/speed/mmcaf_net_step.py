"""Time of one training step of MMCAF-Net against the plain composition that its release makes.

Run: OMP_NUM_THREADS=2 python benchmarks/speed/mmcaf_net_step.py --rounds 3 (add --memory for peaks)
A step is forward, backward and an SGD update of everything, batch 2, volumes of 1 x 12 x 192 x 192
and 7 columns. Both arms hold the same weights, take turns in one process, and have dropout and
stochastic depth off, so that they do equal work. The plain arm is an image branch written here from
the published structure: torch's grouped convolutions, one CT channel copied to three, an ASPP whose
result nobody reads, and every merge convolution by itself. Table, fusion and head are ours in both
(about 7000 of 89 million parameters). The release's decoders, which never run, are left out.

Before any timing, the arms must agree in evaluation mode: logits to 1e-4, the gradients of all
parameters that are read to 1e-4 of their norm in float64, and each size of depth-wise convolution,
forward and backward, to 1e-5. The gap of the gradients in float32 is printed beside what noise of
1e-7 in the input makes of the plain arm's own.
"""

import argparse
import copy
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.encoders.penet3d import PENet3D
from fusionzoo.interface import Batch
from fusionzoo.models.assemble import assemble
from fusionzoo.models.model import FusionModel, Trunk
from fusionzoo.necks.e3d_msca import E3DMSCA
from fusionzoo.ops.depthwise import depthwise_conv3d
from fusionzoo.spec import DataSpec, Modality, TaskSpec

SPEC = (
    "ct=penet3d(width={width},stochastic_depth=0)+e3d_msca(dropout=0.3), table=kan "
    "-> msca -> linear"
)
TASK, COLUMNS, BATCH = "squamous", 7, 2
ARMS = ("fusionzoo", "plain")


@dataclass(frozen=True)
class Size:
    """How large a volume and network are."""

    plane: int
    width: float

    @property
    def channels(self) -> tuple[int, int, int]:
        """Of the three scales, fine to coarse."""
        return tuple(round(self.width * c) for c in (256, 512, 1024))


SIZES = {"full": Size(192, 1.0), "small": Size(48, 0.25)}


class PlainBottleneck(nn.Module):
    """Three convolutions, a channel gate and a skip."""

    def __init__(self, inputs: int, inner: int, groups: int, stride: int):
        super().__init__()
        out = 2 * inner
        self.conv1, self.norm1 = nn.Conv3d(inputs, inner, 1, bias=False), _group_norm(inner)
        self.conv2 = nn.Conv3d(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.norm2 = _group_norm(inner)
        self.conv3, self.norm3 = nn.Conv3d(inner, out, 1, bias=False), _group_norm(out)
        self.act = nn.LeakyReLU(inplace=True)
        excite = (nn.Linear(out, out // 16), nn.LeakyReLU(inplace=True), nn.Linear(out // 16, out))
        self.se_block = nn.ModuleDict({"excite": nn.Sequential(*excite)})
        self.down_sample = None
        if stride != 1 or inputs != out:
            skip = nn.Conv3d(inputs, out, 1, stride, bias=False)
            self.down_sample = nn.Sequential(skip, _group_norm(out))

    def forward(self, x: Tensor) -> Tensor:
        """The block."""
        y = self.act(self.norm1(self.conv1(x)))
        y = self.act(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        gate = torch.sigmoid(self.se_block["excite"](y.mean((2, 3, 4))))
        skip = x if self.down_sample is None else self.down_sample(x)
        return self.act(y * gate[:, :, None, None, None] + skip)


class PlainASPP(nn.Module):
    """Four parallel branches between two convolutions."""

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        branch = channels // 4
        entry = nn.Conv3d(inputs, channels, 3, padding=2, dilation=2)
        self.in_conv = nn.Sequential(entry, _group_norm(channels), nn.LeakyReLU(inplace=True))
        self.conv1 = nn.Conv3d(channels, branch, 1)
        self.conv2 = nn.Conv3d(channels, branch, 3, padding=6, dilation=6)
        self.conv3 = nn.Conv3d(channels, branch, 3, padding=12, dilation=12)
        self.conv4 = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Conv3d(channels, branch, 1))
        self.norm = _group_norm(channels)
        self.out_conv = nn.Sequential(nn.Conv3d(channels, channels, 1), _group_norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        """A map of the same size."""
        x = self.in_conv(x)
        context = self.conv4(x).expand(-1, -1, *x.shape[2:])
        joined = torch.cat([self.conv1(x), self.conv2(x), self.conv3(x), context], dim=1)
        return F.leaky_relu(self.out_conv(F.leaky_relu(self.norm(joined))))


class PlainPENet(nn.Module):
    """Three scales, and the ASPP after them."""

    def __init__(self, width: float):
        super().__init__()
        stem = round(64 * width)
        self.in_conv = nn.Sequential(
            nn.Conv3d(3, stem, 7, (1, 2, 2), 3, bias=False),
            _group_norm(stem),
            nn.LeakyReLU(inplace=True),
        )
        self.pool = nn.MaxPool3d(3, stride=2, padding=1)
        self.encoders = nn.ModuleList()
        channels, groups = stem, round(32 * width)
        for level, (inner, num_blocks) in enumerate(((128, 3), (256, 4), (512, 6))):
            inner = round(inner * width)
            blocks = []
            for block in range(num_blocks):
                stride = 2 if level and not block else 1
                blocks.append(PlainBottleneck(channels, inner, groups, stride))
                channels = 2 * inner
            self.encoders.append(nn.ModuleDict({"penet_blocks": nn.Sequential(*blocks)}))
        self.asp_pool = PlainASPP(channels, round(256 * width))

    def forward(self, x: Tensor) -> list[Tensor]:
        """The scales; the ASPP is computed and thrown away."""
        x = self.pool(self.in_conv(x.expand(-1, 3, -1, -1, -1)))
        scales = []
        for stage in self.encoders:
            x = stage["penet_blocks"](x)
            scales.append(x)
        self.asp_pool(x)
        return scales


class PlainCAB(nn.Module):
    """Channel gate."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc1 = nn.Conv3d(channels, channels // 16, 1, bias=False)
        self.fc2 = nn.Conv3d(channels // 16, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The gate."""
        pooled = (F.adaptive_avg_pool3d(x, 1), F.adaptive_max_pool3d(x, 1))
        return torch.sigmoid(sum(self.fc2(F.relu(self.fc1(p), inplace=True)) for p in pooled))


class PlainSAB(nn.Module):
    """Spatial gate."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The gate."""
        stacked = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], dim=1)
        return torch.sigmoid(self.conv(stacked))


class PlainDCFB(nn.Module):
    """Widen, three depth-wise convolutions, shuffle, narrow."""

    def __init__(self, channels: int):
        super().__init__()
        inner = 2 * channels
        self.pconv1 = _conv_norm(nn.Conv3d(channels, inner, 1, bias=False), nn.ReLU6(inplace=True))
        branches = (
            nn.Conv3d(inner, inner, k, padding=k // 2, groups=inner, bias=False) for k in (1, 3, 5)
        )
        dwconvs = nn.ModuleList(_conv_norm(conv, nn.ReLU6(inplace=True)) for conv in branches)
        self.msdc = nn.ModuleDict({"dwconvs": dwconvs})
        self.pconv2 = _conv_norm(nn.Conv3d(inner, channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """A map of the same shape."""
        wide = self.pconv1(x)
        mixed = sum(branch(wide) for branch in self.msdc["dwconvs"])
        batch, inner, *space = mixed.shape
        pairs = mixed.view(batch, inner // 2, 2, *space).transpose(1, 2).contiguous()
        return x + self.pconv2(pairs.view(batch, inner, *space))


class PlainUCB(nn.Module):
    """Up by two, a depth-wise and a point-wise convolution."""

    def __init__(self, inputs: int, out: int):
        super().__init__()
        self.up_dwc = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="trilinear", align_corners=True),
            nn.Conv3d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            nn.BatchNorm3d(inputs),
            nn.ReLU(inplace=True),
        )
        self.pwc = nn.Sequential(nn.Conv3d(inputs, out, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Twice the size."""
        return self.pwc(self.up_dwc(x))


class PlainBFPU(nn.Module):
    """Merge of a coarse and a fine map."""

    def __init__(self, channels: int, fine: int):
        super().__init__()
        self.adjust_c = nn.Conv3d(fine, channels, 1)
        self.query_conv = nn.Conv3d(channels, channels, 3, padding=1)
        self.key_conv = nn.Conv3d(channels, channels, 3, padding=1)
        self.gamma1 = nn.Conv3d(2 * channels, 2, 3, padding=1)
        self.gamma2 = nn.Conv3d(2 * channels, 2, 3, padding=1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """On the coarse map's grid."""
        y = self.adjust_c(_resize(y, x))
        a = torch.sigmoid(self.query_conv(x) * self.key_conv(y))
        ax, ay = a * x, a * y
        g, h = self.gamma1(torch.cat([x, ax], dim=1)), self.gamma2(torch.cat([y, ay], dim=1))
        return x * g[:, :1] + ax * g[:, 1:] + y * h[:, :1] + ay * h[:, 1:]


class PlainImage(Trunk):
    """The image branch, from a volume to 24 channels, under the released names."""

    def __init__(self, size: Size):
        nn.Module.__init__(self)  # none of our trunk's parts
        one, two, three = size.channels
        self.encoder = PlainPENet(size.width)
        for level, channels in enumerate(size.channels, start=1):
            stem = (nn.BatchNorm3d(channels), nn.ReLU(inplace=True), nn.Dropout(0.0))
            self.add_module(f"scale{level}", nn.Sequential(*stem))
            self.add_module(f"cab{level}", PlainCAB(channels))
            self.add_module(f"dcfb{level}", PlainDCFB(channels))
        self.sab = PlainSAB()
        self.ucb2, self.ucb1 = PlainUCB(three, two), PlainUCB(two, one)
        self.bfpu1, self.bfpu2 = PlainBFPU(two, one), PlainBFPU(three, two)
        self.fc = nn.Sequential(nn.Linear(three, 24), nn.ReLU(inplace=True), nn.Dropout(0.0))

    def forward(self, x: Tensor) -> Tensor:
        """Coarse to fine, and merged back to the coarse scale."""
        n1, n2, n3 = (
            self.get_submodule(f"scale{level}")(scale)
            for level, scale in enumerate(self.encoder(x), start=1)
        )
        d3 = self._e3d(3, n3)
        d2 = self._e3d(2, n2 + _resize(self.ucb2(d3), n2))
        d1 = self._e3d(1, n1 + _resize(self.ucb1(d2), n1))
        merged = self.bfpu2(d3, self.bfpu1(d2, d1))
        return self.fc(F.adaptive_max_pool3d(merged, 1).flatten(1))

    def _e3d(self, level: int, x: Tensor) -> Tensor:
        x = self.get_submodule(f"cab{level}")(x) * x
        return self.get_submodule(f"dcfb{level}")(self.sab(x) * x)


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // 16, channels)


def _conv_norm(conv: nn.Conv3d, *act: nn.Module) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm3d(conv.out_channels), *act)


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="trilinear", align_corners=True)


def our_model(size: Size) -> FusionModel:
    """The combo, without dropout, with norms and statistics as after some training."""
    ct = Modality("ct", "volume", 1, (12, size.plane, size.plane))
    data = DataSpec(
        "synthetic",
        (ct, Modality("table", "table", COLUMNS)),
        (TaskSpec(TASK, ("adenocarcinoma", "squamous")),),
    )
    model = assemble(SPEC.format(width=size.width), data)
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.GroupNorm | nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model


def plain_model(ours: FusionModel, size: Size) -> FusionModel:
    """The same table, fusion, head and weights, with the plain image branch."""
    stream = image_trunk(ours)
    plain = copy.deepcopy(ours)
    plain.trunks[stream] = PlainImage(size)
    state = ours.state_dict()
    with torch.no_grad():
        for name, tensor in image_pairs(plain.trunks[stream].state_dict()).items():
            tensor.copy_(state[f"trunks.{stream}.{name}"])
    return plain


def image_trunk(model: FusionModel) -> str:
    """The key of the CT's trunk."""
    (key,) = (feature.encoder for feature in model.features if feature.name == "ct")
    return key


def image_pairs(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """The plain branch's tensors under the names that our trunk has for them; no dead ones."""
    parts = E3DMSCA.official_parts(official)
    encoder = PENet3D.rename_official(parts["encoder"])
    places = (("encoder", encoder), ("necks.0", parts["neck"]), ("reduction.0", parts["summary"]))
    return {f"{place}.{name}": tensor for place, part in places for name, tensor in part.items()}


def make_batch(size: Size) -> Batch:
    """Noise, one case of each class."""
    torch.manual_seed(1)
    inputs = {
        "ct": torch.randn(BATCH, 1, 12, size.plane, size.plane),
        "table": torch.rand(BATCH, COLUMNS) * 2 - 1,
    }
    present = {name: torch.ones(BATCH, dtype=torch.bool) for name in inputs}
    return Batch(inputs, present, {TASK: torch.tensor([0, 1])}, torch.arange(BATCH))


def loss_of(model: FusionModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Cross-entropy, and the logits."""
    logits = model(batch).logits[TASK]
    targets = batch.targets[TASK].reshape(-1, 1).float()
    return F.binary_cross_entropy_with_logits(logits, targets), logits


def step(model: FusionModel, batch: Batch, optimiser: torch.optim.Optimizer) -> None:
    """One update."""
    optimiser.zero_grad(set_to_none=True)
    loss_of(model, batch)[0].backward()
    optimiser.step()


def optimiser_of(model: FusionModel) -> torch.optim.Optimizer:
    """The release's."""
    return torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, dampening=0.9)


def graded(model: FusionModel, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits and gradients in evaluation mode, under our names; none of dead parts."""
    model.eval().zero_grad(set_to_none=True)
    loss, logits = loss_of(model, batch)
    loss.backward()
    named = dict(model.named_parameters())
    prefix = f"trunks.{image_trunk(model)}."
    image = model.get_submodule(prefix[:-1])
    if isinstance(image, PlainImage):
        pairs = image_pairs(dict(image.named_parameters()))
        named = {name: p for name, p in named.items() if not name.startswith(prefix)}
        named |= {f"{prefix}{name}": parameter for name, parameter in pairs.items()}
    gradients = {name: parameter.grad for name, parameter in named.items()}
    model.zero_grad(set_to_none=True)
    return logits.detach(), gradients


def relative(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Norm of the differences over the norm of what is expected, all tensors as one vector."""
    apart = norm = 0.0
    for name, tensor in found.items():
        apart += float((tensor.double() - expected[name].double()).square().sum())
        norm += float(expected[name].double().square().sum())
    assert found.keys() == expected.keys()
    return (apart / norm) ** 0.5


def check_exactly(ours: FusionModel, plain: FusionModel, width: float) -> float:
    """Gap of all gradients in float64, on small volumes: without rounding there are no kinks."""
    batch = make_batch(Size(32, width))
    gap = relative(graded(ours.double(), batch)[1], graded(plain.double(), batch)[1])
    ours.float()
    plain.float()
    assert gap < 1e-4, f"gradients in float64 differ by {gap:.1e} of their norm"
    return gap


def check_models(ours: FusionModel, plain: FusionModel, batch: Batch) -> tuple[float, float, float]:
    """Gaps of logits and gradients in float32, and the plain arm's own when its input is rounded.

    Rounding puts some of the millions of activations on the other side of a ReLU's kink or moves a
    maximum, which changes gradients by more than it changes outputs: 1e-4 can't be asked of them
    in float32. The bound here, 1e-2, only finds mistakes; `check_exactly` is strict.
    """
    logits, gradients = graded(plain, batch)
    our_logits, our_gradients = graded(ours, batch)
    logit_gap, gap = float((our_logits - logits).abs().max()), relative(our_gradients, gradients)
    noisy = copy.deepcopy(batch)
    noisy.inputs["ct"] *= 1 + 1e-7 * torch.randn_like(batch.inputs["ct"])
    own = relative(graded(plain, noisy)[1], gradients)
    assert logit_gap < 1e-4, f"logits differ by {logit_gap:.1e}"
    assert gap < 1e-2, f"gradients differ by {gap:.1e} of their norm"
    return logit_gap, gap, own


def check_depthwise(size: Size) -> float:
    """Largest relative difference over the mixers' maps and kernels, forward and backward."""
    worst = 0.0
    for level, channels in enumerate(size.channels):
        space = [-(-n // (2 << level)) for n in (12, size.plane // 2, size.plane // 2)]
        for kernel in (3, 5):
            x = torch.randn(BATCH, 2 * channels, *space, requires_grad=True)
            weight = torch.randn(2 * channels, 1, kernel, kernel, kernel, requires_grad=True)
            expected = F.conv3d(x, weight, padding=kernel // 2, groups=2 * channels)
            found = depthwise_conv3d(x, weight)
            grad = torch.randn_like(expected)
            pairs = zip(
                (found, *torch.autograd.grad(found, (x, weight), grad)),
                (expected, *torch.autograd.grad(expected, (x, weight), grad)),
                strict=True,
            )
            gaps = [float((a - b).detach().norm() / b.detach().norm()) for a, b in pairs]
            worst = max(worst, *gaps)
    assert worst < 1e-5, f"depth-wise convolutions differ by {worst:.1e} of their norm"
    return worst


def timed(models: dict[str, FusionModel], batch: Batch, rounds: int) -> dict[str, list[float]]:
    """Seconds of each step, the arms taking turns; the first round warms up if there are more."""
    optimisers = {name: optimiser_of(model.train()) for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for round_ in range(rounds + (rounds > 1)):
        for name, model in models.items():
            start = time.perf_counter()
            step(model, batch, optimisers[name])
            if round_ or rounds == 1:
                times[name].append(time.perf_counter() - start)
    return times


def peak_mib(arm: str, size: str) -> float:
    """Peak resident memory of a fresh process that makes two steps of one arm."""
    command = [sys.executable, str(Path(__file__)), "--size", size, "--only", arm]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    return float(said.stdout)


def steps_alone(arm: str, size: Size) -> float:
    """Two steps of one arm; this process's peak resident memory in MiB."""
    model = our_model(size)
    if arm == "plain":
        model = plain_model(model, size)
    batch, optimiser = make_batch(size), optimiser_of(model.train())
    for _ in range(2):
        step(model, batch, optimiser)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Check that the arms agree, then print one row per arm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="peak memory, in fresh processes")
    parser.add_argument("--only", choices=ARMS, help="print the peak MiB of one arm, nothing else")
    given = parser.parse_args()
    size = SIZES[given.size]
    if given.only:
        print(steps_alone(given.only, size))
        return
    ours = our_model(size)
    models = dict(zip(ARMS, (ours, plain_model(ours, size)), strict=True))
    batch = make_batch(size)
    arms = tuple(models.values())
    print(f"depth-wise convolutions agree to {check_depthwise(size):.1e} of their norm;")
    print(f"gradients in float64, on small volumes, to {check_exactly(*arms, size.width):.1e};")
    logits, gradients, own = check_models(*arms, batch)
    print(f"logits to {logits:.1e}, gradients to {gradients:.1e} (plain with 1e-7 noise in the")
    print(f"input, against itself: {own:.1e})")
    times = timed(models, batch, given.rounds)
    print(f"load {os.getloadavg()[0]:.1f}, {torch.get_num_threads()} threads")
    print("| arm | step, s (median) | all, s |\n|---|---|---|")
    for name, values in times.items():
        told = " ".join(f"{value:.2f}" for value in values)
        print(f"| {name} | {statistics.median(values):.2f} | {told} |")
    ratios = [b / a for a, b in zip(times["fusionzoo"], times["plain"], strict=True)]
    print(f"ratio of the medians {_ratio(times):.2f}x, by round", *(f"{r:.2f}x" for r in ratios))
    if given.memory:
        peaks = ", ".join(f"{arm} {peak_mib(arm, given.size):.0f}" for arm in ARMS)
        print(f"peak memory of two steps, MiB: {peaks}")


def _ratio(times: dict[str, list[float]]) -> float:
    ours, plain = (statistics.median(times[name]) for name in ARMS)
    return plain / ours


if __name__ == "__main__":
    main()
