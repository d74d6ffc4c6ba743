"""monai_bias_field: a smooth brightness over the image, as coils of an MR scanner leave it.

Source: MONAI (Apache-2.0), `monai.transforms.RandBiasField`, after Sudre et al., 2017.
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


@component(source="MONAI RandBiasField; Sudre 2017")
class MonaiBiasField(AbstractAugmentation):
    """y = x exp(p), with a polynomial p of the position whose coefficients are drawn once a case.

    Args:
        modality: An image or a volume.
        chance: That a case is changed.
        degree: Of the polynomial.
        strength: Largest coefficient.

    Inputs:  `batch channels *space`, and a key per case
    Returns: the same shape
    Raises:  BadOption: a chance that is none, or a degree below 1
    Example:
        >>> image = Modality("derm", "image", 3, (8, 8))
        >>> MonaiBiasField(image)(torch.ones(2, 3, 8, 8), np.arange(2, dtype=np.uint64)).shape
        torch.Size([2, 3, 8, 8])
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"image", "volume"})

    def __init__(
        self, modality: Modality, *, chance: float = 0.5, degree: int = 3, strength: float = 0.1
    ):
        from monai.transforms import RandBiasField

        super().__init__(modality)
        if not 0 <= chance <= 1 or degree < 1:
            raise BadOption(f"chance={chance} and degree={degree}: use 0 to 1, and 1 or more.")
        self.transform = RandBiasField(degree=degree, coeff_range=(0.0, strength), prob=chance)

    def __call__(
        self, x: Float[Tensor, "batch channels *space"], keys: Shaped[np.ndarray, " batch"]
    ) -> Float[Tensor, "batch channels *space"]:
        """The images, each under a field of its own."""
        return per_case(self.transform, x, keys, stream=2)
