"""FiLM: a table scales and shifts the channels of an image's feature map.

Source: Perez et al., FiLM, AAAI 2018, Eqs. (1)-(2); in 3D as the ablation of DAFT (2022).
Differs from the paper: no biases and one bottleneck, as in DAFT's released code.
"""

from typing import ClassVar

from fusionzoo.interface import component
from fusionzoo.ops.modulation import AbstractModulation


@component(source="Perez 2018 (FiLM), Eq. 1-2; Wolf 2022 (DAFT), released code")
class FiLM(AbstractModulation):
    """map_c <- alpha_c map_c + beta_c, with (alpha, beta) = V relu(U table).

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
        >>> film = FiLM({"ct": FeatureSpec.vector(16), "table": table}, level=0)
        >>> film.attach({"ct": [image], "table": [table]}, [])
        >>> film.outputs["fused"].channels
        16
    """

    sees_map: ClassVar[bool] = False
