"""Data sets by name and by path."""

from pathlib import Path

import pytest

from fusionzoo.data.datasets.manifest import Manifest
from fusionzoo.data.open import dataset_text, is_path, open_dataset
from fusionzoo.errors import BadOption, SpecError, UnknownComponent
from tests.data.toy_dataset import balanced


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("lidc", False),
        ("lidc(size='5-20mm')", False),
        ("manifest(path='a/b.yaml')", False),
        ("dataset.yaml", True),
        ("DATASET.YML", True),
        ("cases.csv", True),
        ("cases.parquet", True),
        ("folder/cases", True),
        ("~/mine/dataset.yaml", True),
    ],
)
def test_what_is_a_path(text, path):
    assert is_path(text) is path


def test_an_open_data_set_stays_as_it_is():
    toy = balanced(4)
    assert open_dataset(toy) is toy
    assert dataset_text(toy) == "toy"


def test_a_manifest_is_opened_by_its_path(small_yaml, monkeypatch):
    opened = open_dataset(str(small_yaml))
    assert isinstance(opened, Manifest)
    assert opened.spec.name == "small"
    monkeypatch.chdir(small_yaml.parent)
    assert dataset_text("dataset.yaml") == str(small_yaml.resolve())


def test_a_path_may_begin_at_home(small_yaml, monkeypatch):
    monkeypatch.setenv("HOME", str(small_yaml.parent))
    assert open_dataset("~/dataset.yaml").spec.name == "small"
    assert Path(dataset_text("~/dataset.yaml")) == small_yaml.resolve()


def test_options_go_over_those_of_the_text(small_yaml):
    text = f"manifest(path={str(small_yaml)!r}, check=full)"
    assert len(open_dataset(text, check="headers").cases) == 28
    assert dataset_text(text) == f"manifest(check=full, path={str(small_yaml)!r})"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("lidcc", UnknownComponent, "No dataset is called 'lidcc'. Closest: lidc, lidc_views. "),
        ("lidc(siez=1)", BadOption, "Dataset 'lidc' has no option 'siez'. Closest: size. "),
        ("lidc+manifest", BadOption, "A run uses one data set; 'lidc+manifest' names 2."),
        ("lidc(", SpecError, "Expected "),
    ],
)
def test_what_can_not_be_opened(text, error, message):
    with pytest.raises(error) as caught:
        open_dataset(text)
    assert str(caught.value).startswith(message)
