import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from fusionzoo.records.environment import (
    collect_environment,
    package_versions,
    source_commit,
    usable_cores,
)


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("1")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return package


def test_a_clean_checkout(checkout):
    assert source_commit(checkout) == (git(checkout, "rev-parse", "HEAD"), False)


def test_files_outside_of_the_package_do_not_count(checkout):
    (checkout.parent / "runs").write_text("output")
    assert source_commit(checkout)[1] is False


@pytest.mark.parametrize("name", ["a.py", "new.py"])
def test_a_changed_or_new_file_is_dirty(checkout, name):
    (checkout / name).write_text("2")
    assert source_commit(checkout)[1] is True


def test_what_git_does_not_track_has_no_commit(checkout, tmp_path_factory):
    installed = checkout.parent / "venv"
    installed.mkdir()
    (installed / "b.py").touch()
    assert source_commit(installed) == (None, None)
    assert source_commit(tmp_path_factory.mktemp("plain")) == (None, None)


def test_no_git_is_no_failure(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert source_commit(checkout) == (None, None)


def test_versions_are_those_installed():
    found = package_versions(["numpy", "no-such-package"])
    assert found == {"numpy": metadata.version("numpy")}


def test_an_imported_package_says_its_own_version(monkeypatch):
    import numpy

    monkeypatch.setattr(numpy, "__version__", "9.9+cu1")
    assert package_versions(["numpy"]) == {"numpy": "9.9+cu1"}


def test_the_environment():
    found = collect_environment(gpu="A GPU", kernels={"scan": "triton"})
    assert found.python == platform.python_version()
    assert found.hardware.gpu == "A GPU"
    assert found.hardware.cpu
    assert found.hardware.cores == usable_cores() >= 1
    assert found.kernels == {"scan": "triton"}
    assert collect_environment().hardware.gpu is None


def test_records_and_evaluation_stay_free_of_torch():
    code = (
        "import sys, fusionzoo.records.store, fusionzoo.evaluation.report, "
        "fusionzoo.evaluation.plots, fusionzoo.evaluation.power\n"
        "from fusionzoo.records.environment import collect_environment\n"
        "collect_environment()\n"
        "print(sorted({'torch', 'matplotlib', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
