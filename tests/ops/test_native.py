"""C kernels: built once, found again, and refused with the compiler's own words."""

import shutil
import subprocess

import pytest

from fusionzoo.ops import cache, native
from fusionzoo.ops.native import NotBuiltError, library

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler here"
)


@pytest.fixture
def source(monkeypatch, tmp_path):
    """A C file, and an empty cache folder beside it."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(cache, "folder", lambda: folder)
    path = tmp_path / "answer.c"
    path.write_text(
        "#ifndef ANSWER\n#define ANSWER 42\n#endif\nint answer(void) { return ANSWER; }"
    )
    return path


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """Makes a script the compiler."""

    def made(script: str) -> str:
        path = tmp_path / "some-cc"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("CC", str(path))
        return str(path)

    return made


@needs_compiler
def test_is_built_once_for_each_source_and_definition(source, monkeypatch):
    assert library(source).answer() == 42
    assert library(source, "-DANSWER=7").answer() == 7
    built = {*cache.folder().glob("answer-*.so")}
    assert len(built) == 2
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "run", lambda *a, **k: pytest.fail("compiled again"))
        assert library(source, "-DANSWER=7").answer() == 7
    source.write_text("int answer(void) { return 1; }")
    assert library(source).answer() == 1
    assert {*cache.folder().iterdir()} > built


@needs_compiler
def test_is_built_anew_when_a_header_beside_it_changes(source):
    header = source.with_name("number.h")
    header.write_text("#define NUMBER 1")
    source.write_text('#include "number.h"\nint answer(void) { return NUMBER; }')
    assert library(source).answer() == 1
    header.write_text("#define NUMBER 2")
    assert library(source).answer() == 2


@needs_compiler
def test_flags_that_a_compiler_refuses_are_left_out(source, compiler):
    real = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    compiler(f'case "$*" in *-fopenmp*) exit 1;; esac\nexec {real} "$@"')
    assert library(source).answer() == 42


def test_no_compiler(source, monkeypatch):
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    with pytest.raises(
        NotBuiltError,
        match=r"^no C compiler was found \(cc, gcc, clang, or the one that CC names\)$",
    ):
        library(source)


def test_a_compiler_that_fails_is_quoted(source, compiler):
    path = compiler("echo 'out of cheese' >&2\nexit 1")
    with pytest.raises(NotBuiltError) as caught:
        library(source)
    assert str(caught.value) == f"{path} can't compile the kernel (out of cheese)"
    assert list(cache.folder().iterdir()) == []


def test_a_compiler_that_cannot_be_run(source, compiler):
    path = compiler("")
    (source.parent / "some-cc").write_text("#!/no/such/shell\n")
    with pytest.raises(NotBuiltError, match=rf"^{path} can't compile the kernel \(.*No such file"):
        library(source)


def test_what_is_no_library_is_named(source, compiler):
    compiler('while [ "$1" != -o ]; do shift; done; echo rubbish > "$2"')
    with pytest.raises(NotBuiltError, match=r"^the kernel '.*answer-.*\.so' can't be loaded \("):
        library(source)
