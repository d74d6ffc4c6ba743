"""Every component that is registered, plugins included, keeps the interface's promises."""

from pathlib import Path

import pytest

from fusionzoo import registry
from fusionzoo.conformance import check
from fusionzoo.conformance.examination import MODELS

#: Checks that have to run on a component of each kind; a data set that needs files runs the rest
#: in its own tests.
LEAST = {"encoder": 16, "neck": 16, "fusion": 17, "head": 16, "dataset": 4, "augmentation": 8}
#: Quick ones that are compiled and exported too; `-m slow` does it with all.
COMPILED = [("encoder", "mlp"), ("fusion", "film"), ("head", "linear")]

PARTS = [(entry.kind, entry.name) for kind in LEAST for entry in registry.entries(kind)]


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_component(kind, name):
    check(name, kind=kind).require(at_least=LEAST[kind])


@pytest.mark.parametrize(("kind", "name"), COMPILED)
def test_component_compiled_and_exported(kind, name, unchecked):
    check(name, kind=kind, slow=True).require(at_least=LEAST[kind] + 2)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [part for part in PARTS if part[0] in MODELS])
def test_every_component_compiled_and_exported(kind, name, unchecked):
    report = check(name, kind=kind, slow=True)
    report.require(at_least=LEAST[kind] + 1)


@pytest.mark.parametrize(
    "name", [e.name for e in registry.entries("dataset") if e.origin == "fusionzoo"]
)
def test_data_sets_that_need_files_are_checked_where_the_files_are_made(name):
    report = check(name, kind="dataset")
    if report.ran < report.applicable:
        tests = Path(__file__).parents[1] / "data" / "datasets" / f"test_{name}.py"
        assert "conformance" in tests.read_text(encoding="utf-8"), f"{tests} never checks {name}"


def test_there_are_many():
    assert len(PARTS) > 30
    assert {kind for kind, _ in PARTS} >= set(LEAST) - {"augmentation"}
