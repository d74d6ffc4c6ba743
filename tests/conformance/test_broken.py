"""The kit finds what is broken: each broken component fails the one check that it should."""

import pytest

from fusionzoo.conformance import check
from fusionzoo.conformance.checks import CHECKS
from tests.conformance.broken_parts import BROKEN, SOUND

#: Checks that a component has to be imported, named or moved for, tried elsewhere.
ELSEWHERE = {"name", "import", "GPU", "batches"}


@pytest.mark.parametrize("cls", SOUND, ids=lambda cls: cls.__name__)
def test_a_sound_component_passes_everything(cls):
    report = check(cls)
    report.require(at_least=8)
    assert report.applicable - report.ran <= 3


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_component_fails_the_check_that_it_should(cls, request):
    name, words = BROKEN[cls]
    compiled = name in ("compile", "export")
    if compiled:
        request.getfixturevalue("unchecked")
    report = check(cls, slow=compiled)
    assert [result.check for result in report.failures] == [name], str(report)
    assert words in report.failures[0].detail


def test_every_check_has_a_component_that_fails_it():
    tried = {name for name, _ in BROKEN.values()}
    assert {one.name for one in CHECKS} - tried == ELSEWHERE


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sys.stdout.write('hello')", "prints 'hello'"),
        ("pathlib.Path('left_behind.txt').write_text('x')", "writes left_behind.txt"),
        ("pathlib.Path('notes.txt').read_text()", "reads notes.txt"),
        ("random.random()", "draws from random's generator"),
        ("torch.manual_seed(0)", "draws from torch's generator"),
        ("torch.set_default_dtype(torch.float64)", "changes torch's default type"),
        ("subprocess.run(['true'])", "starts a process"),
        ("socket.getaddrinfo('127.0.0.1', 9)", "uses the network (socket.getaddrinfo)"),
    ],
)
def test_what_happens_at_import_is_found(tmp_path, monkeypatch, line, words):
    (tmp_path / "notes.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    report = check(_written(tmp_path, line))
    restore_default_dtype()
    assert [result.check for result in report.failures] == ["import"], str(report)
    assert words in report.failures[0].detail


def test_a_quiet_file_passes(tmp_path):
    assert check(_written(tmp_path, "None")).ok


def restore_default_dtype():
    import torch

    torch.set_default_dtype(torch.float32)


def _written(folder, line):
    """A file with a sound encoder that does something when it is executed for a second time."""
    path = folder / f"encoder_{abs(hash(line))}.py"
    path.write_text(
        f'''"""An encoder in a file.

Source: this test.
"""

import builtins
import pathlib
import random
import socket
import subprocess
import sys

import torch
from torch import nn

from fusionzoo.interface import AbstractEncoder, component
from fusionzoo.spec import FeatureSpec, Modality

if {path.stem!r} in vars(builtins):
    {line}
vars(builtins)[{path.stem!r}] = True


@component(source="this test")
class InAFile(AbstractEncoder):
    """y = W x + b.

    Args:
        modality: A table.

    Returns: a vector
    Example:
        >>> 2 * 2
        4
    """

    accepts = frozenset({{"table"}})

    def __init__(self, modality: Modality):
        super().__init__()
        self.linear = nn.Linear(modality.channels, 4)
        self.stages = (FeatureSpec.vector(4),)

    def stage(self, level, x):
        return self.linear(x)
'''
    )
    return path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Bad-Name", "Spec strings can't say 'Bad-Name'"),
        ("mlp", "The name 'mlp' is taken: fusionzoo has a encoder of that name"),
    ],
)
def test_a_name_that_cannot_be(name, words):
    report = check(SOUND[0], name=name)
    assert [result.check for result in report.failures] == ["name"], str(report)
    assert words in report.failures[0].detail
