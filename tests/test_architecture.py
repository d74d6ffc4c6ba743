"""Later parts may import earlier ones, never the reverse; docs/design.md draws the picture."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parents[1] / "fusionzoo"

#: Lowest first. Parts of one row never import each other.
ORDER = (
    ("errors",),
    ("schema", "storage"),
    ("spec",),
    ("grammar",),
    ("registry",),
    ("plugin_files",),
    ("interface",),
    ("ops",),
    ("losses",),
    ("encoders", "necks", "fusions", "heads"),
    ("models", "data"),
    ("training",),
    ("conformance",),
    ("evaluation",),
    ("explain",),
    ("records", "systems", "recipes", "scaffold"),
    ("api",),
    ("reopen",),
    ("card", "estimator", "export", "stress"),
    ("bench",),
    ("leaderboard",),
    ("__init__",),
    ("cli",),
    ("__main__",),
)
RANK = {part: rank for rank, row in enumerate(ORDER) for part in row}
#: Folders whose files are components: what two of them need moves down, not sideways.
SIBLINGS = ("encoders", "necks", "fusions", "heads", "data.datasets")
#: The one jump from a name to a module, and parts above everything that is looked up.
MAY_IMPORT_BY_NAME = {"registry", "__init__", "cli"}


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def folder_of_siblings(module: str) -> str | None:
    inner = module.partition(".")[2]
    return next((folder for folder in SIBLINGS if inner.startswith(f"{folder}.")), None)


def modules(package: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def nodes(path: Path, kind: Any) -> Iterator[Any]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, kind))


def imported(module: str, path: Path, known: set[str]) -> Iterator[str]:
    """Modules of the package that a file names in an import, wherever in the file it stands."""
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    for node in nodes(path, ast.Import | ast.ImportFrom):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(filter(None, (above, node.module)))
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                yield inner if inner in known else source


def jumps_by_name(path: Path) -> bool:
    """Whether a file imports what may be a part of the package without an import statement."""
    for call in nodes(path, ast.Call):
        if ast.unparse(call.func).rpartition(".")[2] in ("import_module", "__import__"):
            name = call.args[0] if call.args else None
            text = name.value if isinstance(name, ast.Constant) else None
            if not isinstance(text, str) or text.startswith((".", "fusionzoo")):
                return True
    return False


def violations(package: Path) -> list[str]:
    known = {module for module, _ in modules(package)}
    found = []
    for module, path in modules(package):
        part = part_of(module)
        if part not in RANK:
            found.append(f"{module} has no place in the order")
            continue
        ours = {name for name in imported(module, path, known) if name.split(".")[0] == "fusionzoo"}
        for other in sorted(ours):
            theirs = part_of(other)
            if theirs not in RANK:
                continue  # reported where that module is met
            sideways = theirs != part and RANK[theirs] == RANK[part]
            siblings = folder_of_siblings(module) and folder_of_siblings(other) and other != module
            if RANK[theirs] > RANK[part] or sideways or siblings:
                found.append(f"{module} imports {other}")
        if part not in MAY_IMPORT_BY_NAME and jumps_by_name(path):
            found.append(f"{module} imports by name")
    return found


def test_imports_go_one_way():
    assert len(list(modules(PACKAGE))) > 10
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        (
            "spec.py",
            "from fusionzoo.models import model",
            "fusionzoo.spec imports fusionzoo.models",
        ),
        ("ops/conv.py", "import fusionzoo.cli", "fusionzoo.ops.conv imports fusionzoo.cli"),
        ("ops/conv.py", "from fusionzoo import api", "fusionzoo.ops.conv imports fusionzoo.api"),
        ("ops/conv.py", "from ..heads import a", "fusionzoo.ops.conv imports fusionzoo.heads.a"),
        (
            "ops/conv.py",
            "def f():\n from .. import api",
            "fusionzoo.ops.conv imports fusionzoo.api",
        ),
        ("data/x.py", "import fusionzoo.models", "fusionzoo.data.x imports fusionzoo.models"),
        ("models/x.py", "import fusionzoo.data", "fusionzoo.models.x imports fusionzoo.data"),
        ("heads/b.py", "from .a import A", "fusionzoo.heads.b imports fusionzoo.heads.a"),
        (
            "necks/b.py",
            "from fusionzoo.heads.a import A",
            "fusionzoo.necks.b imports fusionzoo.heads.a",
        ),
        ("storage.py", "from fusionzoo import version", "fusionzoo.storage imports fusionzoo"),
        ("odds.py", "", "fusionzoo.odds has no place in the order"),
        ("ops/conv.py", "importlib.import_module(name)", "fusionzoo.ops.conv imports by name"),
        ("ops/conv.py", "import_module('.api')", "fusionzoo.ops.conv imports by name"),
    ],
)
def test_the_check_can_fail(tmp_path, file, text, expected):
    package = tmp_path / "fusionzoo"
    for name in ("__init__.py", "api.py", "heads/a.py", "models/__init__.py", "data/__init__.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).touch()
    assert violations(package) == []
    (package / file).parent.mkdir(exist_ok=True)
    (package / file).write_text(text)
    assert violations(package) == [expected]


def test_the_check_lets_earlier_parts_pass(tmp_path):
    package = tmp_path / "fusionzoo"
    (package / "models").mkdir(parents=True)
    (package / "models" / "adapt.py").touch()
    (package / "models" / "model.py").write_text(
        "import torch\nfrom fusionzoo.spec import Need\nfrom .adapt import Step\n"
        "kan = importlib.import_module('kan.KANLayer')\n"
    )
    assert violations(package) == []
