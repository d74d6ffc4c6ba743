"""monai_affine: images turned, moved, zoomed and sheared at random, by MONAI.

Source: MONAI (Apache-2.0), `monai.transforms.RandAffine`.
Differs from MONAI: what is drawn comes from the case's key, and one set of numbers turns all axes.
"""

from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from fusionzoo.errors import BadOption
from fusionzoo.interface import AbstractAugmentation, component
from fusionzoo.spec import SPATIAL_DIMS, Modality
from fusionzoo_monai.per_case import per_case


@component(source="MONAI RandAffine")
class MonaiAffine(AbstractAugmentation):
    """One affine map a case, drawn evenly; values from outside repeat the border.

    Args:
        modality: An image or a volume.
        chance: That a case is changed.
        turn: Largest angle about each axis, in degrees.
        move: Largest shift along each axis, in pixels or voxels.
        zoom: To 1 -+ this times the size.
        interpolation: `bilinear` or `nearest`.

    Inputs:  `batch channels *space`, and a key per case
    Returns: the same shape
    Raises:  BadOption: a chance that is none
    Example:
        >>> image = Modality("derm", "image", 3, (8, 8))
        >>> MonaiAffine(image)(torch.ones(2, 3, 8, 8), np.arange(2, dtype=np.uint64)).shape
        torch.Size([2, 3, 8, 8])
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"image", "volume"})

    def __init__(
        self,
        modality: Modality,
        *,
        chance: float = 0.5,
        turn: float = 15.0,
        move: float = 2.0,
        zoom: float = 0.1,
        interpolation: Literal["bilinear", "nearest"] = "bilinear",
    ):
        from monai.transforms import RandAffine

        super().__init__(modality)
        if not 0 <= chance <= 1:
            raise BadOption(f"chance={chance} is none. Use 0 to 1.")
        dims = SPATIAL_DIMS[modality.kind]
        self.transform = RandAffine(
            prob=chance,
            rotate_range=(float(np.deg2rad(turn)),) * (dims if dims == 3 else 1),
            translate_range=(move,) * dims,
            scale_range=(zoom,) * dims,
            mode=interpolation,
            padding_mode="border",
        )

    def __call__(
        self, x: Float[Tensor, "batch channels *space"], keys: Shaped[np.ndarray, " batch"]
    ) -> Float[Tensor, "batch channels *space"]:
        """The images, each by a map of its own."""
        return per_case(self.transform, x, keys, stream=1)
