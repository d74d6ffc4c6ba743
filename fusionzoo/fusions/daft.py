"""DAFT: a table and the image's own average scale and shift the channels of its feature map.

Source: Wolf et al., DAFT, NeuroImage 260, 2022, doi:10.1016/j.neuroimage.2022.119505.
Differs from the paper: location 0, the input of a block, is between the stages of any encoder; the
bottleneck is 7 wide, as in MMCAF-Net's copy; at location 3 the norm keeps its own scale and shift,
which the release leaves out there since DAFT's do the same.
"""

from typing import ClassVar

from fusionzoo.interface import component
from fusionzoo.ops.modulation import AbstractModulation


@component(source="Wolf 2022 (DAFT)")
class DAFT(AbstractModulation):
    """map_c <- alpha_c map_c + beta_c, with (alpha, beta) = V relu(U [mean(map), table]).

    Acts after one stage of the image's encoder, or inside of the next one; the image's vector in
    the end is the output. The table takes part with what its own encoder gives at that stage
    (`identity` gives the raw columns).

    Args:
        given: The final vectors of an image and of a table, in any order.
        level: Stage of the image's encoder after which the map is modulated; -2 is the one before
            the last, so that the last stage reads the result.
        location: 0 between that stage and the next; inside of the next one, 1 for what its skip
            reads, 2 for what its main path reads, 3 for what its first norm gives and 4 for what
            its first ReLU gives. From 1 on, of encoders that offer these points (resnet3d).
        bottleneck: Width between U and V.
        scale: Whether alpha is learned; 1 otherwise.
        shift: Whether beta is learned; 0 otherwise.
        activation: What alpha goes through.

    Inputs:  between stages `batch channels *space` and `batch columns`; in the end a vector each
    Returns: one output `fused`, the image's vector; losses: none
    Raises:  LayoutMismatch: not one encoder with maps and one with vectors;
             BadOption: a level or location that there isn't, neither scale nor shift,
             or a location inside of what comes after the last stage
    Example:
        >>> from fusionzoo.spec import FeatureSpec
        >>> table, image = FeatureSpec.vector(7), FeatureSpec.map(16, (4, 4), (8, 8))
        >>> daft = DAFT({"ct": FeatureSpec.vector(16), "table": table}, level=0)
        >>> daft.attach({"ct": [image], "table": [table]}, [])
        >>> daft.outputs["fused"].channels
        16
    """

    sees_map: ClassVar[bool] = True
