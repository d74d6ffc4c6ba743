"""What a `dataset.yaml` says: which column is what, and how images are prepared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fusionzoo.data.dataset import TableColumns
from fusionzoo.spec import Modality, TaskSpec


@dataclass(frozen=True)
class ImageRole:
    """One image per case.

    Args:
        name: Name of the modality.
        column: Column with the path of the file.
        kind: `volume` (one channel, axes depth, height, width), `rgb` or `gray`.
        size: Size that every case gets, in the order of the axes.
        spacing_mm: Voxel size (depth, height, width) to resample volumes to; None leaves theirs.
        spacing_column: Column with each case's voxel size in mm, for files that don't hold it.
        window: Values that become 0 and 1; outside they are clipped. None keeps the values.
        fit: `pad` crops or pads at the centre, `resize` stretches; by default volumes pad and
            images resize.
        key: Array to read from an npz with several.
        mean: Subtracted per channel, after window or division; empty for none.
        std: Divides per channel.
        optional: Whether a case may be without it.
    """

    name: str
    column: str
    kind: Literal["volume", "rgb", "gray"]
    size: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None = None
    spacing_column: str | None = None
    window: tuple[float, ...] | None = None
    fit: Literal["pad", "resize"] = "pad"
    key: str | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    optional: bool = False

    @property
    def channels(self) -> int:
        """Channels of the array that a model is given."""
        return 3 if self.kind == "rgb" else 1

    @property
    def modality(self) -> Modality:
        """What a model has to know of it."""
        kind: Literal["volume", "image"] = "volume" if self.kind == "volume" else "image"
        return Modality(self.name, kind, self.channels, self.size)


@dataclass(frozen=True)
class TargetRole:
    """One thing to predict.

    Args:
        name: Name of the task.
        column: Column with the class.
        classes: Values in the order of their codes; a binary target has two, the second positive.
        missing: `refuse` an empty cell, or `ignore` it: the case then has no target for this task.
    """

    name: str
    column: str
    classes: tuple[str, ...]
    missing: Literal["refuse", "ignore"] = "refuse"

    @property
    def task(self) -> TaskSpec:
        """What a model has to know of it."""
        return TaskSpec(self.name, self.classes)


@dataclass(frozen=True)
class SplitRole:
    """Which part a case is in: read from a column, or made by a scheme.

    Args:
        column: Column with train, val, test or with fold numbers.
        folds_only: Whether the column must hold fold numbers.
        scheme: `group_kfold`: folds of whole groups, made when training; None where a column says.
        num_folds: Folds of the scheme.
        seed: Seed of the scheme.
    """

    column: str | None = None
    folds_only: bool = False
    scheme: str | None = None
    num_folds: int = 5
    seed: int = 0


@dataclass(frozen=True)
class Roles:
    """Everything that a `dataset.yaml` says; `text` is the file as it was read."""

    text: str
    name: str | None
    manifest: str
    root: str | None
    id: str
    group: str | None
    split: SplitRole | None
    images: tuple[ImageRole, ...]
    tables: Mapping[str, TableColumns]
    targets: tuple[TargetRole, ...]
