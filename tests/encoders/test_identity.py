"""The identity gives the table's columns."""

import torch

from fusionzoo.encoders.identity import Identity
from fusionzoo.spec import FeatureSpec, Modality


def test_gives_its_input() -> None:
    encoder = Identity(Modality("table", "table", 7))
    x = torch.randn(3, 7)
    assert encoder(x) is x
    assert encoder.output == FeatureSpec.vector(7)
    assert list(encoder.parameters()) == []
