"""Components that each break one promise, and the check that has to find it."""

import contextlib
import os
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.data.transforms import uniform
from fusionzoo.interface import (
    AbstractAugmentation,
    AbstractEncoder,
    AbstractFusion,
    AbstractHead,
    AbstractNeck,
    Context,
    FusionOutput,
    component,
)
from fusionzoo.spec import FeatureSpec, Modality, Need

#: Class -> the one check that fails, and words of what it says.
BROKEN: dict[type, tuple[str, str]] = {}


def breaks(check: str, words: str):
    """Note which check a class fails; it is documented as the sound one that it derives from."""

    def note(cls):
        sound = next(base for base in cls.__mro__[1:] if base.__doc__ and "Sound" in base.__name__)
        cls.__doc__ = cls.__doc__ or sound.__doc__
        BROKEN[cls] = (check, words)
        return cls

    return note


@component(source="this test")
class SoundEncoder(AbstractEncoder):
    """y = tanh(W x + b).

    Args:
        modality: A table.
        channels: Width of y.

    Returns: a vector
    Example:
        >>> 2 * 2
        4
    """

    accepts = frozenset({"table"})

    def __init__(self, modality: Modality, *, channels: int = 6):
        super().__init__()
        self.linear = nn.Linear(modality.channels, channels)
        self.stages = (FeatureSpec.vector(channels),)

    def stage(self, level: int, x: Any) -> Any:
        return torch.tanh(self.linear(x))


@component(source="this test")
class SoundFusion(AbstractFusion):
    """z = [x_1, ..., x_M] W + b.

    Args:
        given: A vector each.
        channels: Width of z.

    Returns: one output `fused`
    Example:
        >>> 2 * 2
        4
    """

    def __init__(self, given: Mapping[str, FeatureSpec], *, channels: int = 6):
        super().__init__()
        self.linear = nn.Linear(sum(spec.channels for spec in given.values()), channels)
        self.outputs = {"fused": FeatureSpec.vector(channels)}

    def join(self, features: dict[str, Any], context: Context) -> FusionOutput:
        return FusionOutput({"fused": self.linear(torch.cat(list(features.values()), dim=1))})


@component(source="this test")
class SoundNeck(AbstractNeck):
    """Each level through a 1x1 convolution.

    Args:
        given: A pyramid.

    Returns: a pyramid
    Example:
        >>> 2 * 2
        4
    """

    def __init__(self, given: FeatureSpec):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(level.channels, level.channels, 1) for level in given.levels
        )
        self.output = given

    @classmethod
    def need(cls, **options: Any) -> Need:
        return Need(("pyramid",), spatial_dims=2)

    def forward(self, features: Any) -> Any:
        return [conv(x) for conv, x in zip(self.convs, features, strict=True)]


@component(source="this test")
class SoundHead(AbstractHead):
    """A linear layer per task.

    Args:
        given: A vector.
        tasks: What to predict.

    Example:
        >>> 2 * 2
        4
    """

    def __init__(self, given: FeatureSpec, tasks: Any):
        super().__init__(given, tasks)
        self.layers = nn.ModuleList(nn.Linear(given.channels, t.num_logits) for t in tasks)

    def forward(self, x: Any) -> Any:
        return {t.name: layer(x) for t, layer in zip(self.tasks, self.layers, strict=True)}


# Description.


@breaks("docstring", "lacks 'channels' under 'Args:'")
class SilentAboutAnOption(SoundEncoder):
    """y = tanh(W x + b).

    Args:
        modality: A table.

    Returns: a vector
    Example:
        >>> 2 * 2
        4
    """


@breaks("docstring", "lacks a source: @component(source=...)")
class OfUnknownOrigin(SoundEncoder):
    source = ""


@breaks("example", "Expected:\n    5\nGot:\n    4")
class WrongExample(SoundEncoder):
    """y = tanh(W x + b).

    Args:
        modality: A table.
        channels: Width of y.

    Returns: a vector
    Example:
        >>> 2 * 2
        5
    """


@breaks("options", "takes anything, so a mistyped option passes")
class TakesAnything(SoundEncoder):
    """y = tanh(W x + b).

    Args:
        modality: A table.
        options: Whatever.

    Returns: a vector
    Example:
        >>> 2 * 2
        4
    """

    def __init__(self, modality: Modality, **options: Any):
        super().__init__(modality, **options)


@breaks("options", "'mode' takes fast or exact, and its default is 'slow'")
class DefaultThatIsNoChoice(SoundEncoder):
    """y = tanh(W x + b).

    Args:
        modality: A table.
        mode: How.

    Returns: a vector
    Example:
        >>> 2 * 2
        4
    """

    def __init__(
        self,
        modality: Modality,
        *,
        mode: Literal["fast", "exact"] = "slow",  # type: ignore[assignment]
    ):
        super().__init__(modality)


@breaks("options", "the default of 'widths', {1: 2}, can't be said in a spec string")
class DefaultThatSpecsCannotSay(SoundEncoder):
    """y = tanh(W x + b).

    Args:
        modality: A table.
        widths: How wide.

    Returns: a vector
    Example:
        >>> 2 * 2
        4
    """

    def __init__(self, modality: Modality, *, widths: dict[int, int] = {1: 2}):  # noqa: B006
        super().__init__(modality)


# Features.


@breaks("sizes", "Building it raises RuntimeError: twelve columns")
class CrashesAtSomeSizes(SoundEncoder):
    def __init__(self, modality: Modality, *, channels: int = 6):
        if modality.channels == 12:
            raise RuntimeError("twelve columns")
        super().__init__(modality, channels=channels)


@breaks("sizes", "It can be built for 0 of 6 settings; two are the least.")
class FitsNothing(SoundNeck):
    """Each level through a 1x1 convolution.

    Args:
        given: A pyramid.

    Returns: a pyramid
    Example:
        >>> 2 * 2
        4
    """

    def __init__(self, given: FeatureSpec):
        from fusionzoo.errors import LayoutMismatch

        raise LayoutMismatch("No.")

    @classmethod
    def need(cls, **options: Any) -> Need:
        return Need(("pyramid", "vector"))


@breaks("features", "it declares 'output' as (1, 7); it gives (1, 6)")
class DeclaresOtherChannels(SoundEncoder):
    def __init__(self, modality: Modality, *, channels: int = 6):
        super().__init__(modality, channels=channels)
        self.stages = (FeatureSpec.vector(channels + (modality.channels == 12)),)


@breaks("features", "it declares 'fused'; it gives 'joined'")
class GivesAnotherName(SoundFusion):
    def join(self, features: dict[str, Any], context: Context) -> FusionOutput:
        return FusionOutput({"joined": super().join(features, context).features["fused"]})


# Quietness.


@breaks("construction", "Building it prints 'hello'")
class PrintsWhenBuilt(SoundEncoder):
    def __init__(self, modality: Modality, *, channels: int = 6):
        super().__init__(modality, channels=channels)
        sys.stdout.write("hello\n")


@breaks("construction", "Building it reads ")
class ReadsWhenBuilt(SoundEncoder):
    def __init__(self, modality: Modality, *, channels: int = 6):
        super().__init__(modality, channels=channels)
        with contextlib.suppress(OSError):
            (Path.home() / "weights.txt").read_text()


@breaks("construction", "Building it writes ")
class WritesWhenBuilt(SoundEncoder):
    def __init__(self, modality: Modality, *, channels: int = 6):
        super().__init__(modality, channels=channels)
        import tempfile

        with tempfile.TemporaryFile() as file:
            file.write(b"x")


@breaks("construction", "Building it uses the network (socket.connect)")
class CallsHome(SoundEncoder):
    def __init__(self, modality: Modality, *, channels: int = 6):
        super().__init__(modality, channels=channels)
        import socket

        with socket.socket() as line:
            line.setblocking(False)
            line.connect_ex(("127.0.0.1", 9))


@breaks("construction", "Building it seeds torch's generator")
class SeedsWhenBuilt(SoundEncoder):
    def __init__(self, modality: Modality, *, channels: int = 6):
        torch.manual_seed(0)
        super().__init__(modality, channels=channels)


@breaks("construction", "Building it seeds random's generator and numpy's global generator")
class SeedsOtherGenerators(SoundEncoder):
    def __init__(self, modality: Modality, *, channels: int = 6):
        random.seed(0)
        np.random.seed(0)
        super().__init__(modality, channels=channels)


@breaks("construction", "Building it changes environment variables")
class SetsTheEnvironment(SoundEncoder):
    def __init__(self, modality: Modality, *, channels: int = 6):
        super().__init__(modality, channels=channels)
        os.environ["FUSIONZOO_TEST_OF_QUIETNESS"] = str(random.random())


# Learning.


@breaks("registration", "Not registered, so never trained or saved: extra[0].weight 6x6")
class WeightsInAList(SoundEncoder):
    def __init__(self, modality: Modality, *, channels: int = 6):
        super().__init__(modality, channels=channels)
        self.extra = [nn.Linear(channels, channels)]

    def stage(self, level: int, x: Any) -> Any:
        return self.extra[0](super().stage(level, x))


@breaks("gradient of weights", "No gradient reaches unused.bias, unused.weight.")
class WeightsThatNothingReads(SoundEncoder):
    def __init__(self, modality: Modality, *, channels: int = 6):
        super().__init__(modality, channels=channels)
        self.unused = nn.Linear(channels, channels)


@breaks("gradient of weights", "No gradient reaches linear.bias, linear.weight.")
class DetachesItsOwn(SoundHead):
    def __init__(self, given: FeatureSpec, tasks: Any):
        super().__init__(given, tasks)
        self.linear = nn.Linear(given.channels, given.channels)

    def forward(self, x: Any) -> Any:
        return super().forward(x + self.linear(x).detach())


@breaks("gradient of inputs", ", table: nothing before it would ever learn.")
class IgnoresASecondModality(SoundFusion):
    def join(self, features: dict[str, Any], context: Context) -> FusionOutput:
        first, *rest = features.values()
        return super().join(dict(enumerate([first, *(0 * x for x in rest)])), context)  # type: ignore[arg-type]


@breaks("exceptions", "`no_gradient` names attention.*, and no weight is called so.")
class ExcusesWhatIsNotThere(SoundEncoder):
    no_gradient = frozenset({"attention.*"})


# Repeating.


@breaks("determinism", "In evaluation mode it draws from torch's generator.")
class DropsOutWhenEvaluated(SoundEncoder):
    def stage(self, level: int, x: Any) -> Any:
        return F.dropout(super().stage(level, x), 0.5)


@breaks("determinism", "In evaluation mode, 'output' differs by")
class RemembersTheLastBatch(SoundEncoder):
    calls = 0

    def stage(self, level: int, x: Any) -> Any:
        type(self).calls += 1
        return super().stage(level, x) + 0.01 * type(self).calls


@breaks("independence", "when a case is with other cases")
class ComparesCases(SoundEncoder):
    def stage(self, level: int, x: Any) -> Any:
        return super().stage(level, x - 0.5 * x.mean(dim=0))


@breaks("saving", "After saving and loading, 'output' differs by")
class ForgetsItsProjection(SoundEncoder):
    def __init__(self, modality: Modality, *, channels: int = 6):
        super().__init__(modality, channels=channels)
        self.register_buffer("basis", torch.randn(channels, channels), persistent=False)

    def stage(self, level: int, x: Any) -> Any:
        return super().stage(level, x) @ self.basis


@breaks("copies", "Changing the weights of a copy changes it")
class SharesWithItsCopies(SoundEncoder):
    def __deepcopy__(self, memo: Any) -> Any:
        return self


# Missing modalities.


@breaks("missing", "with what stands in its place")
class MasksNothing(SoundFusion):
    missing = "mask"


@breaks("missing", "is not finite")
class DividesByThoseThere(SoundFusion):
    missing = "mask"

    def join(self, features: dict[str, Any], context: Context) -> FusionOutput:
        there = [context.present[name][:, None].float() for name in features]
        kept = {n: x * p for (n, x), p in zip(features.items(), there, strict=True)}
        joined = super().join(kept, context).features["fused"]
        return FusionOutput({"fused": joined + 0 / there[0].sum()})


@breaks("missing", "missing='sometimes' is none of zero, mask, refuse.")
class UnknownPolicy(SoundFusion):
    missing = "sometimes"


# Moving.


@breaks("float64", "After .double() it gives 'output' as torch.float32.")
class AlwaysSingle(SoundEncoder):
    def stage(self, level: int, x: Any) -> Any:
        return super().stage(level, x).float()


@breaks("autocast", "Under autocast to bfloat16 it fails")
class MixesTypes(SoundEncoder):
    def stage(self, level: int, x: Any) -> Any:
        y = super().stage(level, x)
        zeros = torch.zeros(y.shape, dtype=x.dtype, device=x.device)
        return zeros.index_add(0, torch.arange(len(y), device=x.device), y)


@breaks("meta device", "On the meta device it fails")
class ReadsValues(SoundEncoder):
    def stage(self, level: int, x: Any) -> Any:
        y = super().stage(level, x)
        return y if float(y.sum()) < 1e9 else -y


@breaks("meta device", "stays where it was. Make it a buffer.")
class KeepsAPlainTensor(SoundEncoder):
    def __init__(self, modality: Modality, *, channels: int = 6):
        super().__init__(modality, channels=channels)
        self.shift = torch.ones(channels)

    def stage(self, level: int, x: Any) -> Any:
        return super().stage(level, x) + self.shift.to(x)


# Compiling.


@breaks("compile", "Compiled, 'output' differs by")
class OtherwiseWhenCompiled(SoundEncoder):
    def stage(self, level: int, x: Any) -> Any:
        y = super().stage(level, x)
        return 2 * y if torch.compiler.is_dynamo_compiling() else y


@breaks("export", "torch.export fails")
class BranchesOnValues(SoundEncoder):
    def stage(self, level: int, x: Any) -> Any:
        y = super().stage(level, x)
        if x.is_meta:
            return y
        return y if bool(y.sum() < 1e9) else -y


# Data sets.


class SoundData(AbstractDataset):
    """Sixty cases of two images' worth of noise and a table.

    Args:
        size: Height and width.
    """

    about = "made up"

    def __init__(self, *, size: int = 8):
        import pandas as pd

        from fusionzoo.data.dataset import TableColumns
        from fusionzoo.spec import DataSpec, TaskSpec

        rng = np.random.default_rng(0)
        self.size, count = size, 60
        self.options = {"size": size}
        self.cases = tuple(f"case{k}" for k in range(count))
        self.groups = np.array([f"p{k // 2}" for k in range(count)])
        self.targets = {"dx": rng.integers(0, 2, count)}
        self.columns = {"table": TableColumns(numeric=("age", "weight"))}
        self.frame = pd.DataFrame(rng.normal(size=(count, 2)), columns=["age", "weight"])
        self.spec = DataSpec(
            "sound",
            (Modality("image", "image", 1, (size, size)), Modality("table", "table", 2)),
            (TaskSpec("dx", ("no", "yes")),),
            {"mlp": {"hidden": (8,)}},
        )

    @property
    def digest(self) -> str:
        return "0" * 64

    def image(self, modality: str, index: int) -> np.ndarray:
        rng = np.random.default_rng(index)
        return rng.normal(size=(1, self.size, self.size)).astype(np.float32)

    def table(self, modality: str) -> Any:
        return self.frame.copy()


@breaks("docstring", "lacks `about`: where the data come from, and their licence")
class DataFromNowhere(SoundData):
    about = ""


@breaks("opening", "Opened twice, its digest is ")
class ChangingDigest(SoundData):
    opened = 0

    def __init__(self, *, size: int = 8):
        super().__init__(size=size)
        type(self).opened += 1
        self.number = type(self).opened

    @property
    def digest(self) -> str:
        return f"{self.number:064d}"


@breaks("opening", "Opening it draws from numpy's global generator")
class DrawsWhenOpened(SoundData):
    def __init__(self, *, size: int = 8):
        super().__init__(size=size)
        np.random.rand()


@breaks("rows", "targets of 'dx' hold [2], not -1 to 1")
class CodesOutside(SoundData):
    def __init__(self, *, size: int = 8):
        super().__init__(size=size)
        self.targets["dx"][0] = 2


@breaks("rows", "it has 60 cases and 59 patients' names")
class LosesAPatient(SoundData):
    def __init__(self, *, size: int = 8):
        super().__init__(size=size)
        self.groups = self.groups[1:]


@breaks("images", "is float32 (1, 9, 9); declared is float32 (1, 8, 8)")
class ImagesOfAnotherSize(SoundData):
    def image(self, modality: str, index: int) -> np.ndarray:
        return np.zeros((1, 9, 9), dtype=np.float32)


@breaks("images", "differs when it is read again")
class ImagesThatChange(SoundData):
    draws = np.random.default_rng(0)

    def image(self, modality: str, index: int) -> np.ndarray:
        return self.draws.normal(size=(1, 8, 8)).astype(np.float32)


@breaks("tables", "can't be encoded")
class TableWithoutAColumn(SoundData):
    def table(self, modality: str) -> Any:
        return self.frame[["age"]]


@breaks("splits", "In the split of the release, patient 'p0' is in 'train' and in 'val'")
class PatientsInTwoParts(SoundData):
    def __init__(self, *, size: int = 8):
        super().__init__(size=size)
        self.given_split = np.array(["train", "val", "test"] * 20)


@breaks("suggestions", "it suggests width of 'mlp', which has no such option")
class SuggestsWhatIsNotThere(SoundData):
    def __init__(self, *, size: int = 8):
        super().__init__(size=size)
        from dataclasses import replace

        self.spec = replace(self.spec, suggestions={"mlp": {"width": 8}})


# Augmentations.


@component(source="this test")
class SoundAugmentation(AbstractAugmentation):
    """y = x + d, with d drawn once a case.

    Args:
        modality: An image or a volume.

    Returns: the same shape
    Example:
        >>> 2 * 2
        4
    """

    def __call__(self, x: Any, keys: Any) -> Any:
        drawn = torch.from_numpy(uniform(keys, 1, "sound")).to(x)
        return x + drawn.reshape(-1, *(1 for _ in x.shape[1:]))


@breaks("shapes", "It changes the batch of image (3, 16, 16) itself; give a changed copy.")
class ChangesInPlace(SoundAugmentation):
    def __call__(self, x: Any, keys: Any) -> Any:
        return x.add_(super().__call__(x, keys) - x)


@breaks("shapes", "Of image (3, 16, 16) it makes torch.float32 (6, 3, 16, 15)")
class CropsAColumn(SoundAugmentation):
    def __call__(self, x: Any, keys: Any) -> Any:
        return super().__call__(x, keys)[..., :-1]


@breaks("keys", "it draws from torch's generator; draw from the keys.")
class DrawsFromTheProcess(SoundAugmentation):
    def __call__(self, x: Any, keys: Any) -> Any:
        return x + torch.rand(())


@breaks("keys", "a case alone is changed in another way")
class LooksAtTheWholeBatch(SoundAugmentation):
    def __call__(self, x: Any, keys: Any) -> Any:
        return super().__call__(x, keys) - x.mean()


@breaks("use", "Using it prints 'hello'")
class PrintsWhenUsed(SoundAugmentation):
    def __call__(self, x: Any, keys: Any) -> Any:
        sys.stdout.write("hello")
        return super().__call__(x, keys)


SOUND = (SoundEncoder, SoundNeck, SoundFusion, SoundHead, SoundData, SoundAugmentation)
