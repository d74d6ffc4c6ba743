"""Features of a frozen trunk, computed once: the plain pass, and augmented views."""

from collections.abc import Iterable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from fusionzoo.interface import Batch, Features
from fusionzoo.models.model import Feature, FusionModel
from fusionzoo.training.processes import Loader, over_batches


class FeatureCache:
    """Encoded features by case and epoch.

    The plain pass is exact: a frozen trunk in evaluation mode gives the same numbers every time.
    Training reads augmented view `epoch % views` instead, where there are views.

    Args:
        num_cases: Cases of the data set.
    """

    def __init__(self, num_cases: int):
        self._position = torch.full((num_cases,), -1, dtype=torch.long)
        self._plain: list[Tensor] = []
        self._views: list[list[Tensor]] = []
        self._is_list = False

    def add_plain(self, batches: Iterable[tuple[Tensor, Features]]) -> None:
        """The pass without augmentation, over every case that will be asked for."""
        rows, self._plain, self._is_list = _collect(batches)
        self._position[rows] = torch.arange(len(rows))

    def add_view(self, batches: Iterable[tuple[Tensor, Features]]) -> None:
        """One augmented pass over the training part; other cases keep their plain features."""
        rows, levels, _ = _collect(batches)
        view = [level.clone() for level in self._plain]
        for level, augmented in zip(view, levels, strict=True):
            level[self._rows(rows)] = augmented
        self._views.append(view)

    def __call__(self, index: Tensor, epoch: int) -> Features:
        """Features of the cases `index`; epoch -1 is the plain pass."""
        source = (
            self._views[epoch % len(self._views)] if epoch >= 0 and self._views else self._plain
        )
        rows = self._rows(index.cpu())
        levels = [level[rows].to(index.device) for level in source]
        return levels if self._is_list else levels[0]

    def _rows(self, index: Tensor) -> Tensor:
        """Where the cases are in the plain pass, which must have held them."""
        rows = self._position[index]
        assert bool((rows >= 0).all()), f"cases that the plain pass left out: {index[rows < 0]}"
        return rows


def _collect(batches: Iterable[tuple[Tensor, Features]]) -> tuple[Tensor, list[Tensor], bool]:
    """Rows, each level's features over all batches, and whether the features are a pyramid."""
    rows, levels = [], []
    is_list = False
    for index, features in batches:
        is_list = isinstance(features, list)
        rows.append(index.cpu())
        levels.append(
            [level.cpu() for level in (features if isinstance(features, list) else [features])]
        )
    return torch.cat(rows), [torch.cat(parts) for parts in zip(*levels, strict=True)], is_list


def cached_bytes(
    model: FusionModel, features: Iterable[Feature], batch: Batch, num_cases: int, views: int
) -> int:
    """Memory that caching some streams would take, judged from one batch."""
    size = len(batch.index)
    total = 0
    with torch.inference_mode():
        for feature in features:
            encoded = model.trunks[feature.encoder](model.read(feature, batch))
            total += sum(
                level.numel() * 4 for level in (encoded if isinstance(encoded, list) else [encoded])
            )
    return total * num_cases * (views + 1) // size


def encode_all(
    trunk: nn.Module, model: FusionModel, feature: Feature, loader: Loader, fabric: Fabric
) -> Iterable[tuple[Tensor, Features]]:
    """One stream's features, batch by batch, in evaluation mode; processes take turns."""
    trunk.eval()

    def encode(batch: Batch) -> tuple[Tensor, Features]:
        batch = batch.to(fabric.device)
        with torch.inference_mode():
            encoded = trunk(model.read(feature, batch))
        pyramid = isinstance(encoded, list)
        return batch.index.cpu(), [x.cpu() for x in encoded] if pyramid else encoded.cpu()

    return over_batches(fabric, loader, encode)
