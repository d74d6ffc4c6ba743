"""Augmentations that plugins add, by name: `augment="flip_some+add_noise(level=0.1)"`."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from fusionzoo import registry
from fusionzoo.grammar import parse_chain
from fusionzoo.interface import AbstractAugmentation
from fusionzoo.spec import Modality


@dataclass(frozen=True)
class AugmentationChain:
    """Augmentations of one modality, one after the other."""

    parts: tuple[AbstractAugmentation, ...]

    def __call__(
        self, x: Float[Tensor, "batch channels *space"], keys: Shaped[np.ndarray, " batch"]
    ) -> Float[Tensor, "batch channels *space"]:
        """The batch after all of them."""
        for part in self.parts:
            x = part(x, keys)
        return x


def augmentations_by_name(
    text: str, modalities: Iterable[Modality]
) -> dict[str, AugmentationChain]:
    """What happens to each image and volume; those that no part accepts stay as they are.

    Args:
        text: Names with options, joined by "+".
        modalities: Images and volumes.

    Raises:
        UnknownComponent: There is no such augmentation.
        BadOption: It doesn't take that option.
    """
    calls = parse_chain(text).calls
    classes = [registry.load("augmentation", call.name) for call in calls]
    options = [registry.bind("augmentation", c.name, dict(c.options), text) for c in calls]
    chains = {}
    for modality in modalities:
        parts = [
            cls(modality, **given)
            for cls, given in zip(classes, options, strict=True)
            if modality.kind in cls.accepts
        ]
        if parts:
            chains[modality.name] = AugmentationChain(tuple(parts))
    return chains


__all__ = ["AugmentationChain", "augmentations_by_name"]
