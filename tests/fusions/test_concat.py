"""Vectors side by side, in the order of the modalities."""

import torch

from fusionzoo.fusions.concat import Concat
from fusionzoo.interface import Context
from fusionzoo.spec import FeatureSpec


def test_joins_any_number_of_vectors() -> None:
    for widths in ([3], [3, 4], [3, 4, 5]):
        given = {f"m{i}": FeatureSpec.vector(width) for i, width in enumerate(widths)}
        vectors = {name: torch.randn(2, spec.channels) for name, spec in given.items()}
        fusion = Concat(given)
        fused = fusion.join(vectors, Context({})).features["fused"]
        assert fusion.outputs == {"fused": FeatureSpec.vector(sum(widths))}
        torch.testing.assert_close(fused, torch.cat(list(vectors.values()), dim=1))
        assert all(need.layouts == ("vector",) for need in Concat.needs(given).values())
