"""example: its equation, and what the interface asks of every fusion."""

import numpy as np
import torch
from fusionzoo_example.example import Example

from fusionzoo import registry
from fusionzoo.conformance import check
from fusionzoo.interface import Context
from fusionzoo.spec import FeatureSpec

GIVEN = {"ct": FeatureSpec.vector(4), "table": FeatureSpec.vector(3)}


def test_it_keeps_what_the_interface_promises():
    check(Example, name="example").require(at_least=17)


def test_it_is_installed_under_its_name():
    assert registry.load("fusion", "example") is Example


def test_the_equation():
    fusion = Example(GIVEN, channels=5).double()
    features = {n: torch.randn(2, s.channels, dtype=torch.float64) for n, s in GIVEN.items()}
    found = fusion.join(features, Context({})).features["fused"].detach().numpy()
    arrays = [x.numpy() for x in features.values()]
    weight, bias = (p.detach().numpy() for p in fusion.gate.parameters())
    gates = np.exp(np.concatenate(arrays, axis=1) @ weight.T + bias)
    gates /= gates.sum(axis=1, keepdims=True)
    expected = np.zeros((2, 5))
    for m, (linear, x) in enumerate(zip(fusion.values, arrays, strict=True)):
        weight, bias = (p.detach().numpy() for p in linear.parameters())
        expected += gates[:, m : m + 1] * np.tanh(x @ weight.T + bias)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
