"""Fixtures for tests of several parts: a small data set of one's own, and a finished run on it."""

import gc
import importlib
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import config

from tests import small_manifest

# What a module under jaxtyping's hook imports first is looked up under the hook's own tag for
# bytecode, finds none, and is compiled again, in every test process. So the large ones come first.
for _name in (
    "lightning_fabric",
    "matplotlib.figure",
    "pandas",
    "rich.console",
    "scipy.optimize",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "timm",
    "torch._dynamo",
    "torchvision",
):
    importlib.import_module(_name)
# It is kept to the end, and needn't be looked through by every collection of garbage.
gc.freeze()

# Property tests draw the same examples every time, and a slow machine fails none of them.
settings.register_profile("fusionzoo", deadline=None, derandomize=True, database=None)
settings.load_profile("fusionzoo")

#: The quickest run there is: one epoch of a small PENet and of the fusion.
QUICK = {"epochs": 1, "fuse_epochs": 2, "views": 1, "batch_size": 8}
SPEC = "ct=penet3d(depth=14, width=0.25), table=mlp -> concat -> linear"


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without checks of annotations, which compilers would trace along: the code as users have it.

    Their wrappers break graphs, take most of the time, and read a symbol for the batch as a number.
    """
    monkeypatch.setattr(config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `dataset.yaml` of a small data set; tests must not change it."""
    return small_manifest.write(tmp_path_factory.mktemp("small") / "data")


@pytest.fixture(scope="session")
def finished_run(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on the small data set; tests must not change it."""
    from fusionzoo.api import run

    out = tmp_path_factory.mktemp("finished")
    record = run(SPEC, dataset=str(small_data), device="cpu", out=out, training=QUICK)
    return out / record.run_id
