"""Branches that runs share: the same numbers as training them again, and never a wrong one."""

import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file

from fusionzoo.data.datasets.manifest import Manifest
from fusionzoo.data.splits import make_split
from fusionzoo.data.tabular import fit_encoders
from fusionzoo.grammar import parse
from fusionzoo.training.branches import BranchStore, source_digest
from fusionzoo.training.config import TrainConfig
from fusionzoo.training.observer import EpochReport, Observer
from fusionzoo.training.stages import Trainer
from tests.conftest import QUICK

REPORT = EpochReport(1, 0.5, 0.4, 0.7, 0.6, 1e-3, 2.5, True)
IMAGE = "ct=penet3d(depth=14, width=0.25)"


class Notes(Observer):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def train(path, spec, branches, observer):
    data = Manifest(path=path)
    split = make_split(data)
    return Trainer(
        parse(spec),
        data,
        split,
        fit_encoders(data, split.train),
        TrainConfig.from_settings(QUICK),
        seed=0,
        fabric=Fabric(accelerator="cpu", devices=1),
        folder=None,
        identity="test",
        observer=observer,
        branches=branches,
    ).train()


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first.keys() | second.keys())


def test_another_fusion_reads_the_branches_and_ends_with_the_same_numbers(small_data, tmp_path):
    store, notes = BranchStore(tmp_path, {"seed": 0}), Notes()
    train(small_data, f"{IMAGE}, table=mlp -> concat -> linear", store, notes)
    assert notes.notes == []
    spec = f"{IMAGE}, table=mlp -> late -> linear"
    shared = train(small_data, spec, store, notes)
    assert notes.notes == [
        f"Stage {name!r} was trained by an earlier run; it is read." for name in ("ct", "table")
    ]
    alone = train(small_data, spec, None, Observer())
    assert list(shared.history) == list(alone.history)
    for name, model in alone.models.items():
        assert equal(model.state_dict(), shared.models[name].state_dict())
    assert shared.reused_seconds > 0
    assert alone.reused_seconds == 0


def test_a_branch_comes_back_as_it_was_kept(tmp_path):
    store = BranchStore(tmp_path, {"seed": 0})
    state = {"weight": torch.randn(2, 3), "count": torch.tensor(4)}
    assert store.find("ct", "ct=penet3d -> linear") is None
    store.keep("ct", "ct=penet3d -> linear", state, [REPORT])
    found, reports = store.find("ct", "ct=penet3d -> linear")
    assert equal(found, state)
    assert reports == [REPORT]


@pytest.mark.parametrize(
    ("facts", "stage", "spec"),
    [
        ({"seed": 1}, "ct", "ct=penet3d -> linear"),
        ({"seed": 0}, "ct encoder", "ct=penet3d -> linear"),
        ({"seed": 0}, "ct", "ct=penet3d(depth=14) -> linear"),
    ],
)
def test_anything_else_is_another_branch(tmp_path, facts, stage, spec):
    kept = BranchStore(tmp_path, {"seed": 0})
    kept.keep("ct", "ct=penet3d -> linear", {"weight": torch.ones(1)}, [REPORT])
    assert BranchStore(tmp_path, facts).find(stage, spec) is None


def test_other_code_is_another_branch(tmp_path, monkeypatch):
    kept = BranchStore(tmp_path, {"seed": 0})
    kept.keep("ct", "spec", {"weight": torch.ones(1)}, [REPORT])
    monkeypatch.setattr("fusionzoo.training.branches.source_digest", lambda: "other")
    assert BranchStore(tmp_path, {"seed": 0}).find("ct", "spec") is None
    assert len(source_digest()) == 64


@pytest.mark.parametrize("damage", ["truncated", "replaced"])
def test_a_damaged_file_counts_as_absent(tmp_path, damage):
    store = BranchStore(tmp_path, {"seed": 0})
    store.keep("ct", "spec", {"weight": torch.ones(1000)}, [REPORT])
    (path,) = tmp_path.glob("*.safetensors")
    assert load_file(path)["weight"].sum() == 1000
    content = path.read_bytes()
    path.write_bytes(content[:200] if damage == "truncated" else b"not what it was")
    assert store.find("ct", "spec") is None
