import numpy as np
import pytest

from fusionzoo import registry
from fusionzoo.errors import DataError
from fusionzoo.fusions.concat import Concat
from fusionzoo.grammar import parse
from fusionzoo.models.missing import POLICIES, check_present, missing_policy

CASES = [f"c{k}" for k in range(8)]
ALL = np.ones(8, dtype=bool)
SOME = np.array([True, False] * 4)


@pytest.fixture
def strict(monkeypatch):
    """A fusion that needs every modality."""
    strict = type("Strict", (Concat,), {"missing": "refuse"})
    monkeypatch.setitem(registry._notebook, ("fusion", "strict"), strict)


def check(spec, **present):
    check_present(parse(spec), present, CASES, "the cases")


def test_the_policy_is_the_first_fusions(strict):
    assert missing_policy(parse("ct=penet3d -> linear")) == "alone"
    assert missing_policy(parse("ct=penet3d, table=mlp -> concat -> linear")) == "zero"
    assert missing_policy(parse("ct=penet3d, table=mlp -> late -> linear")) == "mask"
    assert missing_policy(parse("ct=penet3d, table=mlp -> strict -> linear")) == "refuse"
    assert set(POLICIES) == {"zero", "mask", "refuse", "alone"}


def test_fusions_that_take_cases_without_a_modality(strict):
    for fusion in ("concat", "late"):
        check(f"ct=penet3d, table=mlp -> {fusion} -> linear", ct=SOME, table=ALL)
    check("ct=penet3d, table=mlp -> strict -> linear", ct=ALL, table=ALL)
    check("a+b=timm, table=mlp -> strict -> linear", a=SOME, b=~SOME, table=ALL)


@pytest.mark.parametrize(
    ("spec", "ct", "table", "words"),
    [
        (
            "ct=penet3d, table=mlp -> strict -> linear",
            SOME,
            ALL,
            r"4 cases have no 'ct' \(c1, c3, c5, c7\), and fusion 'strict' needs every modality",
        ),
        (
            "ct=penet3d -> linear",
            np.array([False] + [True] * 7),
            ALL,
            r"1 case has no 'ct' \(c0\), and the spec reads nothing else. Leave them out",
        ),
        (
            "ct=penet3d, table=mlp -> concat -> linear",
            ~ALL,
            ~ALL,
            r"8 cases have none of ct, table \(c0, c1, c2, c3, c4, \.\.\.\): there is nothing",
        ),
    ],
)
def test_cases_that_cannot_be_taken_are_named(strict, spec, ct, table, words):
    with pytest.raises(DataError, match=words):
        check(spec, ct=ct, table=table)
