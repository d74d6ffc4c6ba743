"""Shares of modalities: exact on linear models and products, and always adding up."""

import itertools
import math

import pytest
import torch

from fusionzoo.errors import BadOption
from fusionzoo.explain.modality import Shares, modality_shares
from fusionzoo.explain.score import Score
from fusionzoo.models.assemble import assemble
from fusionzoo.spec import DataSpec, Modality
from tests.explain.analytic import BINARY, batch_of, linear_model, product_model

YES = Score(BINARY, 1)
WEIGHTS = [1.0, -2.0, 0.5, 3.0, 0.0]


def test_of_a_linear_model_they_are_distances_from_the_mean():
    torch.manual_seed(0)
    model = linear_model(WEIGHTS, bias=-1.0)
    case = batch_of({"a": torch.randn(1, 3), "b": torch.randn(1, 2)})
    others = batch_of({"a": torch.randn(7, 3), "b": torch.randn(7, 2)})
    found = modality_shares(model, case, YES, others)
    for name, weights in (("a", WEIGHTS[:3]), ("b", WEIGHTS[3:])):
        away = case.inputs[name][0] - others.inputs[name].mean(dim=0)
        assert found.values[name] == pytest.approx(float(torch.tensor(weights) @ away), abs=1e-5)
    assert found.score - found.baseline == pytest.approx(sum(found.values.values()), abs=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_of_a_product_of_equals_all_have_the_same(count):
    model = product_model(count)
    names = [f"t{i}" for i in range(count)]
    case = batch_of(dict.fromkeys(names, torch.full((1, 1), 2.0)))
    found = modality_shares(model, case, YES, batch_of(dict.fromkeys(names, torch.zeros(1, 1))))
    assert list(found.values.values()) == pytest.approx([2.0**count / count] * count)
    assert found.baseline == 0


def test_against_all_orders_of_arrival():
    torch.manual_seed(0)
    model = product_model(3)
    names = ["t0", "t1", "t2"]
    case = {name: torch.randn(1, 1) for name in names}
    other = {name: torch.randn(1, 1) for name in names}

    def worth(kept):
        return math.prod(float((case if n in kept else other)[n]) for n in names)

    expected = dict.fromkeys(names, 0.0)
    for order in itertools.permutations(names):
        for i, name in enumerate(order):
            gained = worth(set(order[: i + 1])) - worth(set(order[:i]))
            expected[name] += gained / math.factorial(3)
    found = modality_shares(model, batch_of(case), YES, batch_of(other))
    assert found.values == pytest.approx(expected, abs=1e-5)


def test_absent_as_the_fusion_takes_it():
    model = linear_model(WEIGHTS, bias=0.25)
    case = batch_of({"a": torch.ones(1, 3), "b": torch.ones(1, 2)})
    found = modality_shares(model, case, YES, absence="missing")
    assert found.values == pytest.approx({"a": -0.5, "b": 3.0})
    assert found.baseline == pytest.approx(0.25)


def test_a_modality_that_the_case_lacks_adds_nothing():
    model = linear_model(WEIGHTS, bias=0.0)
    case = batch_of({"a": torch.ones(1, 3), "b": torch.zeros(1, 2)})
    case.present["b"][:] = False
    found = modality_shares(model, case, YES, absence="missing")
    assert found.values["b"] == 0


def test_parts_of_the_whole():
    assert Shares({"a": 3.0, "b": -1.0}, 2.0, 0.0).parts == {"a": 0.75, "b": 0.25}
    assert Shares({"a": 0.0, "b": 0.0}, 1.0, 1.0).parts == {"a": 0.5, "b": 0.5}


def test_refusals():
    case = batch_of({"a": torch.ones(1, 3), "b": torch.ones(1, 2)})
    with pytest.raises(BadOption, match="need background cases, and none were given"):
        modality_shares(linear_model(WEIGHTS, 0.0), case, YES)
    many = product_model(11)
    inputs = {f"t{i}": torch.ones(1, 1) for i in range(11)}
    with pytest.raises(BadOption, match="shares of 11 modalities need 2048 sets"):
        modality_shares(many, batch_of(inputs), YES, batch_of(inputs))
    data = DataSpec("d", (Modality("a", "table", 3),), (BINARY,))
    alone = assemble("a=mlp -> linear", data).eval()
    with pytest.raises(BadOption, match="a model without a fusion needs every modality"):
        modality_shares(alone, batch_of({"a": torch.ones(1, 3)}), YES, absence="missing")
