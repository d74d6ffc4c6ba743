"""A plugin that was begun with a template passes its own tests at once."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fusionzoo.errors import BadOption
from fusionzoo.scaffold import KINDS, new_plugin

ROOT = Path(__file__).parents[2]
#: A part of each kind; the names are free.
PARTS = {kind: (f"zoo-of-{kind}s", f"begun_{kind}") for kind in KINDS}


def test_every_kind_that_plugins_may_add_can_be_begun():
    assert set(KINDS) >= {"encoder", "neck", "fusion", "head", "dataset", "recipe", "system"}


def test_the_files(tmp_path):
    folder = new_plugin("my-zoo", kind="fusion", name="gated", out=tmp_path)
    assert folder == tmp_path / "my-zoo"
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files == {
        "README.md",
        "pyproject.toml",
        "src/my_zoo/__init__.py",
        "src/my_zoo/gated.py",
        "tests/test_gated.py",
    }
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {"fusionzoo.fusions": {"gated": "my_zoo.gated:Gated"}}
    assert project["name"] == "my-zoo"
    assert project["dependencies"][0].startswith("fusionzoo>=")
    for path in folder.rglob("*.*"):
        assert "{{" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize(
    ("package", "kind", "name", "message"),
    [
        ("My Zoo", "fusion", "gated", "A package can't be called 'My Zoo'"),
        ("../zoo", "fusion", "gated", "A package can't be called '../zoo'"),
        ("zoo-", "fusion", "gated", "A package can't be called 'zoo-'"),
        ("json", "fusion", "gated", "The module 'json' is taken."),
        ("fusionzoo", "fusion", "gated", "The module 'fusionzoo' is taken."),
        ("einops", "fusion", "gated", "A package 'einops' is installed already, version "),
        ("tests", "fusion", "gated", "A module 'tests' is installed already."),
        ("my-zoo", "fusion", "Gated!", "A fusion can't be called 'Gated!'"),
        ("my-zoo", "fusion", "msca", "The name 'msca' is taken: fusionzoo has a fusion of that"),
        ("my-zoo", "system", "A b", "A system can't be called 'A b'"),
        ("my-zoo", "trainer", "x", "There is no template for a 'trainer'. Kinds: "),
    ],
)
def test_names_that_cannot_be(tmp_path, package, kind, name, message):
    with pytest.raises(BadOption) as caught:
        new_plugin(package, kind=kind, name=name, out=tmp_path)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_all_mistakes_at_once_and_nothing_is_touched(tmp_path):
    (tmp_path / "Zoo").mkdir()
    with pytest.raises(BadOption) as caught:
        new_plugin("Zoo", kind="fusion", name="msca", out=tmp_path)
    assert len(str(caught.value).splitlines()) == 3
    assert "exists already. Choose another name, or another --out." in str(caught.value)
    assert list((tmp_path / "Zoo").iterdir()) == []


def test_a_disk_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(path, text):
        if path.name == "README.md":
            raise OSError("full")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    monkeypatch.setattr("fusionzoo.scaffold.new.write_atomic", full)
    with pytest.raises(OSError, match="full"):
        new_plugin("my-zoo", kind="fusion", name="gated", out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def begin_all(out: Path) -> list[Path]:
    return [
        new_plugin(package, kind=kind, name=name, out=out)
        for kind, (package, name) in PARTS.items()
    ]


def pretend_to_install(folder: Path) -> Path:
    """What pip would leave beside the sources: name, version and entry points."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    source = folder / "src"
    info = source / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = (
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
        for group, points in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text("\n".join(groups))
    return source


def pytest_in(folder: Path, python: str, sources: list[Path]) -> str:
    """Run the tests below a folder, warnings as errors; gives pytest's last line."""
    path = os.pathsep.join(map(str, [*sources, ROOT]))
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


def test_the_tests_of_every_template_pass(tmp_path):
    sources = [pretend_to_install(folder) for folder in begin_all(tmp_path)]
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    last = pytest_in(tmp_path, sys.executable, sources)
    passed = int(last.split(" passed")[0])
    assert passed >= 3 * len(KINDS) - 4, last


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_is_installed_into_a_fresh_environment(tmp_path, kind):
    package, name = PARTS[kind]
    environment = tmp_path / "environment"
    subprocess.run(
        [sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", environment],
        check=True,
    )
    site = next((environment / "lib").glob("python*/site-packages"))
    here = next(p for p in map(Path, sys.path) if p.name == "site-packages")
    (site / "ours.pth").write_text(f"{here}\n{ROOT}\n")
    folder = new_plugin(package, kind=kind, name=name, out=tmp_path)
    python = str(environment / "bin" / "python")
    install = ["-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "-q"]
    subprocess.run([python, *install, str(folder)], check=True)
    listed = subprocess.run(
        [python, "-c", "from fusionzoo.cli import main; main(['plugins'])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert re.search(rf"{package} 0\.1\.0 +ok ", listed), listed
    assert "passed" in pytest_in(folder, python, [])
