"""monai_smooth: images blurred at random, by MONAI.

Source: MONAI (Apache-2.0), `monai.transforms.RandGaussianSmooth`.
Differs from MONAI: what is drawn comes from the case's key.
"""

from typing import ClassVar

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from fusionzoo.errors import BadOption
from fusionzoo.interface import AbstractAugmentation, component
from fusionzoo.spec import Modality
from fusionzoo_monai.per_case import per_case


@component(source="MONAI RandGaussianSmooth")
class MonaiSmooth(AbstractAugmentation):
    """A Gaussian blur a case, its deviation along each axis drawn evenly.

    Args:
        modality: An image or a volume.
        chance: That a case is changed.
        sigma: Smallest and largest deviation, in pixels or voxels.

    Inputs:  `batch channels *space`, and a key per case
    Returns: the same shape
    Raises:  BadOption: a chance that is none, or deviations out of order
    Example:
        >>> image = Modality("derm", "image", 3, (8, 8))
        >>> MonaiSmooth(image)(torch.ones(2, 3, 8, 8), np.arange(2, dtype=np.uint64)).shape
        torch.Size([2, 3, 8, 8])
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"image", "volume"})

    def __init__(
        self, modality: Modality, *, chance: float = 0.5, sigma: tuple[float, float] = (0.25, 1.5)
    ):
        from monai.transforms import RandGaussianSmooth

        super().__init__(modality)
        low, high = sigma
        if not 0 <= chance <= 1 or not 0 < low <= high:
            raise BadOption(
                f"chance={chance} and sigma={sigma}: use 0 to 1, and two deviations above 0 in "
                "order."
            )
        self.transform = RandGaussianSmooth((low, high), (low, high), (low, high), prob=chance)

    def __call__(
        self, x: Float[Tensor, "batch channels *space"], keys: Shaped[np.ndarray, " batch"]
    ) -> Float[Tensor, "batch channels *space"]:
        """The images, each with a blur of its own."""
        return per_case(self.transform, x, keys, stream=3)
