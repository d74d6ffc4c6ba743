"""Parts with options drawn at random are built, or refused in words, without any data."""

import random
from typing import Any

import pytest

from fusionzoo import registry
from fusionzoo.errors import FusionZooError
from fusionzoo.grammar import Call
from fusionzoo.models.assemble import plan
from fusionzoo.models.matrix import small_options
from fusionzoo.spec import DataSpec, Modality, TaskSpec

SMALL = small_options()
DATA = DataSpec(
    "fuzz",
    (
        Modality("image", "image", 3, (32, 32)),
        Modality("second", "image", 3, (32, 32)),
        Modality("volume", "volume", 1, (8, 32, 32)),
        Modality("table", "table", 5),
    ),
    (TaskSpec("dx", ("no", "yes")), TaskSpec("grade", ("a", "b", "c"))),
)
VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 4, 7, 8, 64, 0.0, 0.5, 1.0, -0.5, 1.5, 1e-9, True, False, None),
    *("", "relu", "sum", "mean", "nonsense", (), (1,), (0, 0), (2, 2, 2), (1, 1, 1, 1), (4, 8, 16)),
)


def shipped(kind: str) -> list[str]:
    return [entry.name for entry in registry.entries(kind) if entry.origin == "fusionzoo"]


PARTS = {kind: shipped(kind) for kind in ("encoder", "neck", "fusion", "head")}

READERS = {
    m.name: [n for n in PARTS["encoder"] if m.kind in registry.load("encoder", n).accepts]
    for m in DATA.modalities
}


def call(kind: str, name: str, rng: random.Random) -> str:
    """A part in its small form with up to two options drawn at random."""
    options = dict(SMALL.get(name, {}))
    known = [option for option in registry.options(kind, name) if option != "name"]
    for option in rng.sample(known, min(len(known), rng.choice((0, 0, 0, 1, 1, 2)))):
        options[option] = rng.choice(VALUES)
    return str(Call(name, tuple(options.items())))


def combination(rng: random.Random) -> str:
    modalities = rng.sample([m.name for m in DATA.modalities], rng.randint(1, 3))
    branches = []
    for modality in modalities:
        readers = PARTS["encoder"] if rng.random() < 0.1 else READERS[modality]
        chain = [call("encoder", rng.choice(readers), rng)]
        chain += [call("neck", rng.choice(PARTS["neck"]), rng)] if rng.random() < 0.15 else []
        branches.append(f"{modality}={'+'.join(chain)}")
    fusions = [call("fusion", rng.choice(PARTS["fusion"]), rng)]
    fusions = fusions if len(modalities) > 1 or rng.random() < 0.1 else []
    head = call("head", rng.choice(PARTS["head"]), rng)
    return " -> ".join([", ".join(branches), *fusions, head])


def try_many(count: int, seed: int) -> int:
    """How many of the combinations could be built."""
    rng, built = random.Random(seed), 0
    for _ in range(count):
        spec = combination(rng)
        refusal = None
        try:
            plan(spec, DATA)
        except FusionZooError as error:
            refusal = str(error)
        except Exception as error:
            raise AssertionError(f"{spec}: {type(error).__name__}: {error}") from error
        assert refusal != "", spec
        built += refusal is None
    return built


def test_some_combinations():
    assert try_many(30, seed=0) > 3


@pytest.mark.slow
def test_many_combinations():
    assert try_many(1000, seed=1) > 60
