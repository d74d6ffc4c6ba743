"""Where things are: one component a file, a test beside each, a source in every docstring."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMPONENTS = ("encoders", "necks", "fusions", "heads")
#: Names that say nothing about what is inside.
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}


def component_files(package: Path) -> Iterator[Path]:
    for folder in COMPONENTS:
        yield from (p for p in sorted((package / folder).glob("*.py")) if p.stem != "__init__")


def without_a_test(root: Path) -> list[str]:
    package = root / "fusionzoo"
    inner = (path.relative_to(package) for path in component_files(package))
    return [
        path.as_posix()
        for path in inner
        if not (root / "tests" / path.with_name(f"test_{path.name}")).is_file()
    ]


def without_a_source(root: Path) -> list[str]:
    """Component files whose docstring names no source, in a line of its own that isn't empty."""
    found = []
    for path in component_files(root / "fusionzoo"):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        sources = [
            line.removeprefix("Source:") for line in doc.splitlines()[1:] if line[:7] == "Source:"
        ]
        if not any(source.strip() for source in sources):
            found.append(path.relative_to(root / "fusionzoo").as_posix())
    return found


def outside_of_packages(root: Path) -> list[str]:
    """Folders with modules that no tool would find, for want of an `__init__.py`."""
    folders = {path.parent for path in (root / "fusionzoo").rglob("*.py")}
    return sorted(
        folder.relative_to(root).as_posix()
        for folder in folders
        if not (folder / "__init__.py").is_file()
    )


def with_an_empty_name(root: Path) -> list[str]:
    trees = (root / "fusionzoo", root / "tests", root / "plugins", root / "benchmarks")
    paths = (path for tree in trees for path in sorted(tree.rglob("*.py")))
    return [
        path.relative_to(root).as_posix()
        for path in paths
        if EMPTY_NAMES & {part.strip("_") for part in path.relative_to(root).with_suffix("").parts}
    ]


def test_every_component_has_a_test_of_its_own():
    assert len(list(component_files(ROOT / "fusionzoo"))) > 3
    assert without_a_test(ROOT) == []


def test_every_component_says_where_it_comes_from():
    assert without_a_source(ROOT) == []


def test_every_file_has_a_name_that_says_something():
    assert with_an_empty_name(ROOT) == []


def test_every_folder_with_modules_is_a_package():
    assert outside_of_packages(ROOT) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        '"""FiLM: scale and shift."""\n',
        '"""FiLM: scale and shift.\n\nSource:\n"""\n',
        '"""Source: in the first line, where the summary belongs."""\n',
    ],
)
def test_the_checks_can_fail(tmp_path, text):
    (tmp_path / "fusionzoo" / "fusions").mkdir(parents=True)
    (tmp_path / "fusionzoo" / "fusions" / "film.py").write_text(text)
    (tmp_path / "fusionzoo" / "fusions" / "__init__.py").touch()
    (tmp_path / "fusionzoo" / "utils.py").touch()
    assert without_a_test(tmp_path) == ["fusions/film.py"]
    assert without_a_source(tmp_path) == ["fusions/film.py"]
    assert with_an_empty_name(tmp_path) == ["fusionzoo/utils.py"]
    assert outside_of_packages(tmp_path) == ["fusionzoo"]


def test_a_complete_component_passes(tmp_path):
    (tmp_path / "fusionzoo" / "fusions").mkdir(parents=True)
    (tmp_path / "tests" / "fusions").mkdir(parents=True)
    (tmp_path / "fusionzoo" / "fusions" / "film.py").write_text(
        '"""FiLM: scale and shift.\n\nSource: Perez et al., AAAI 2018.\n"""\n'
    )
    (tmp_path / "tests" / "fusions" / "test_film.py").touch()
    assert without_a_test(tmp_path) == without_a_source(tmp_path) == []
    assert with_an_empty_name(tmp_path) == []
