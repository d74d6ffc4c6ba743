"""The table of docs/datasets/lidc_views.md: what it is measured on, and that the page shows it."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from fusionzoo.data.datasets.lidc_views import LidcViews

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "datasets" / "lidc_views.md"


@pytest.fixture(scope="module")
def script():
    path = ROOT / "benchmarks" / "data" / "view_baselines.py"
    spec = importlib.util.spec_from_file_location("view_baselines", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_one_task_of_the_page_on_one_fold(script):
    found = script.measure(LidcViews(), ["sphericity"], folds=1)
    printed = next(
        line for line in PAGE.read_text(encoding="utf-8").splitlines() if "| sphericity |" in line
    )
    means = [float(cell) for cell in printed.split("|")[2:-1]]
    for name, mean in zip(script.COLUMNS, means, strict=True):
        (value,) = found["sphericity"][name]
        assert value == pytest.approx(mean, abs=0.06)
    assert script.table(found).startswith("| task | coronal | axial | both |")


def test_features_don_t_know_where_a_case_stands(script):
    images = np.random.default_rng(0).random((5, 32, 32))
    np.testing.assert_allclose(script.features(images)[3], script.features(images[3:4])[0])
    assert np.isfinite(script.features(np.zeros((1, 32, 32)))).all()
