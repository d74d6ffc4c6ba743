"""What IIMGF-Net's released code and weights ask of the fusions that rebuild it.

Source: the released code of IIMGF-Net, MICCAI 2025.
"""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from fusionzoo.errors import BadOption, WeightsError
from fusionzoo.spec import FeatureSpec


def refined_mean(
    x: Float[Tensor, "batch channels *space"],
    fused: Float[Tensor, "batch channels *space"],
    *,
    official_layout_bug: bool = False,
) -> Float[Tensor, "batch channels"]:
    """`mean(x + f)` over positions.

    Args:
        x: An encoder's map.
        fused: What was fused into it.
        official_layout_bug: As the released code computes it, f is read as if its channels came
            first: its values, positions column by column and channels fastest, are cut into as
            many pieces of equal length as there are channels, and each piece is averaged. Every
            entry then mixes channels and positions. For maps of two axes.
    """
    if not official_layout_bug:
        return (x + fused).flatten(2).mean(2)
    pieces = fused.permute(0, 3, 2, 1).reshape(*x.shape[:2], -1)
    return x.flatten(2).mean(2) + pieces.mean(2)


def check_layout_bug(given: Mapping[str, FeatureSpec]) -> None:
    """Refuse the layout bug for what it isn't defined for.

    Raises:
        BadOption: Something else than maps of two axes.
    """
    if any(spec.spatial_dims != 2 for spec in given.values()):
        told = ", ".join(f"{name}: {spec}" for name, spec in given.items())
        raise BadOption(
            f"official_layout_bug=True is defined for maps of two axes alone; given {told}. "
            "Leave it out."
        )


def check_order(given: Mapping[str, FeatureSpec]) -> None:
    """Refuse the released weights for modalities in the wrong order, where names tell.

    Raises:
        WeightsError: The dermoscopy image comes first.
    """
    if list(given) == ["derm", "clinic"]:
        raise WeightsError(
            "IIMGF-Net's release reads the clinical image first; the spec has 'derm' first. "
            "Write 'clinic=derm=...'."
        )


def released_part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {k.removeprefix(prefix): x for k, x in state.items() if k.startswith(prefix)}


__all__ = ["check_layout_bug", "check_order", "refined_mean", "released_part"]
