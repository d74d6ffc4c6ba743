"""The examples in docstrings and in the documentation do what they show."""

import doctest
import importlib
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from fusionzoo.spec import FeatureSpec, Modality, TaskSpec

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
#: What examples in docstrings may use without importing it.
KNOWN = {
    "torch": torch,
    "FeatureSpec": FeatureSpec,
    "Modality": Modality,
    "TaskSpec": TaskSpec,
}


def has_examples(path: Path) -> bool:
    return ">>> " in path.read_text(encoding="utf-8")


def has_blocks(path: Path) -> bool:
    return "_build" not in path.parts and "```pycon" in path.read_text(encoding="utf-8")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def run_page(text: str, name: str) -> doctest.TestResults:
    """Run the `pycon` blocks of a page, one after the other in one namespace."""
    blocks = re.findall(r"^```pycon\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    parser = doctest.DocTestParser()
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(parser.get_doctest("\n".join(blocks), {"__name__": name}, name, None, 0))
    return doctest.TestResults(runner.failures, runner.tries)


@pytest.mark.parametrize(
    "module",
    [module_name(p) for p in sorted((ROOT / "fusionzoo").rglob("*.py")) if has_examples(p)],
)
def test_docstrings(module):
    found = importlib.import_module(module)
    result = doctest.testmod(found, extraglobs=KNOWN, optionflags=FLAGS)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    "page",
    [p.relative_to(ROOT).as_posix() for p in PAGES if has_blocks(p)],
)
def test_pages(page):
    result = run_page((ROOT / page).read_text(encoding="utf-8"), page)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_component_that_is_added_step_by_step_works(monkeypatch):
    page = (ROOT / "docs" / "adding_a_component.md").read_text(encoding="utf-8")
    component, test, *_ = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    module = types.ModuleType("fusionzoo.fusions.gate")
    exec(component, vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    result = doctest.testmod(module, extraglobs=KNOWN, optionflags=FLAGS)
    assert (result.failed, result.attempted) == (0, 2)
    tests: dict[str, Any] = {}
    exec(test, tests)
    called = [tests[name]() for name in tests if name.startswith("test_")]
    assert len(called) == 2


def test_a_wrong_example_is_found():
    page = "# Title\n\n```pycon\n>>> two = 1 + 1\n```\n\ntext\n\n```pycon\n>>> two\n{}\n```\n"
    assert run_page(page.format(2), "right") == (0, 2)
    assert run_page(page.format(3), "wrong") == (1, 2)
