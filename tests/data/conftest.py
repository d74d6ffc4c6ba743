"""Data sets of one's own, written anew for each test."""

from pathlib import Path

import pytest

from tests import small_manifest


@pytest.fixture
def small_yaml(tmp_path: Path) -> Path:
    """The `dataset.yaml` of 24 patients: volumes, a table with empty cells, a binary target."""
    return small_manifest.write(tmp_path / "small")
