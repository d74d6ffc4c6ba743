"""Recipes: what is trained, what is frozen, and that the same seed gives the same model."""

import math

import pytest
import torch
from lightning_fabric import Fabric

from fusionzoo.data.datasets.manifest import Manifest
from fusionzoo.data.splits import make_split
from fusionzoo.data.tabular import fit_encoders
from fusionzoo.errors import BadOption
from fusionzoo.grammar import parse
from fusionzoo.models.assemble import assemble
from fusionzoo.training import stages
from fusionzoo.training.config import TrainConfig
from fusionzoo.training.observer import Observer
from fusionzoo.training.stages import Trainer
from tests.conftest import QUICK

IMAGE = "ct=penet3d(depth=14, width=0.25)"


class Notes(Observer):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def train(path, spec, observer=None, seed=0, **settings):
    data = Manifest(path=path)
    split = make_split(data)
    trainer = Trainer(
        parse(spec),
        data,
        split,
        fit_encoders(data, split.train),
        TrainConfig.from_settings(QUICK, settings),
        seed=seed,
        fabric=Fabric(accelerator="cpu", devices=1),
        folder=None,
        identity="test",
        observer=observer or Observer(),
    )
    return trainer, trainer.train()


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_untrained_weights_are_those_that_were_given(small_data):
    trainer, trained = train(small_data, "table=mlp -> linear", recipe="untrained", seed=3)
    assert (trained.recipe, trained.history, list(trained.models)) == ("untrained", {}, ["table"])
    model, fresh = (
        trained.models["table"],
        assemble("table=mlp -> linear", trainer.dataset.spec, seed=3),
    )
    assert not model.training
    for found, expected in zip(model.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(found, expected)


def test_a_table_and_an_image_are_trained_in_stages(small_data):
    _, trained = train(small_data, f"{IMAGE}, table=mlp -> concat -> linear")
    assert trained.recipe == "staged"
    assert list(trained.models) == ["fused", "ct", "table"]
    assert list(trained.history) == ["ct", "table", "fused"]
    assert [len(reports) for reports in trained.history.values()] == [1, 2, 2]


def test_the_frozen_branch_is_the_one_that_was_trained_alone(small_data):
    _, trained = train(small_data, f"{IMAGE}, table=mlp -> concat -> linear")
    alone = weights(trained.models["ct"].trunks["ct"])
    fused = weights(trained.models["fused"].trunks["ct"])
    assert alone.keys() == fused.keys()
    assert all(torch.equal(alone[name], fused[name]) for name in alone)
    frozen = [p.requires_grad for p in trained.models["fused"].trunks["ct"].parameters()]
    assert not any(frozen)
    table_alone = weights(trained.models["table"].trunks["table"])
    table_fused = weights(trained.models["fused"].trunks["table"])
    assert any(not torch.equal(table_alone[name], table_fused[name]) for name in table_alone)


def test_cached_features_change_no_number(small_data, monkeypatch):
    """Without augmented views, training on the cache equals running the frozen trunk."""
    spec = f"{IMAGE}, table=mlp -> concat -> linear"
    settings = {"views": 0, "augment": "none", "balance": "oversample"}
    _, cached = train(small_data, spec, **settings)
    notes = Notes()
    monkeypatch.setattr(stages, "CACHE_LIMIT", 0)
    _, uncached = train(small_data, spec, notes, **settings)
    assert "computed at every step" in notes.notes[0]
    first, second = weights(cached.models["fused"]), weights(uncached.models["fused"])
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-5)


def test_the_same_seed_trains_the_same_model(small_data):
    spec = f"{IMAGE}, table=kan -> msca -> linear"
    torch.manual_seed(1)
    _, first = train(small_data, spec)
    torch.manual_seed(2)
    _, second = train(small_data, spec)
    _, other = train(small_data, spec, seed=1)
    one, two, three = (weights(t.models["fused"]) for t in (first, second, other))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], three[name]) for name in one)


def test_one_modality_is_trained_jointly(small_data):
    _, trained = train(small_data, f"{IMAGE} -> linear")
    assert trained.recipe == "joint"
    assert list(trained.models) == ["ct"]
    assert trained.main == "ct"


def test_a_fusion_that_exchanges_is_trained_jointly(small_data):
    _, trained = train(small_data, f"{IMAGE}, table=identity -> film -> linear")
    assert trained.recipe == "joint"
    assert list(trained.models) == ["fused"]
    _, trained = train(small_data, f"{IMAGE}, table=identity -> film -> linear", baselines="all")
    assert list(trained.models) == ["fused", "ct", "table"]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (f"{IMAGE} -> linear", "there is nothing to fuse"),
        (f"{IMAGE}, table=identity -> film -> linear", "exchange features or share an encoder"),
    ],
)
def test_stages_that_cannot_be_are_refused(small_data, spec, why):
    with pytest.raises(BadOption, match=why):
        train(small_data, spec, recipe="staged")


def test_a_decision_is_fitted_on_validation_data(small_data):
    _, trained = train(small_data, f"{IMAGE}, table=mlp -> late(average=learned) -> linear")
    fusion = trained.models["fused"].fusion
    fitted = dict(fusion.named_buffers())
    assert fitted
    assert any(not torch.allclose(value, value.mean()) for value in fitted.values())


def test_an_encoder_may_be_trained_before_its_neck(small_data):
    spec = f"{IMAGE}+e3d_msca, table=mlp -> concat -> linear"
    _, trained = train(small_data, spec, encoder_first=True)
    assert list(trained.history) == ["ct encoder", "ct", "table", "fused"]
    assert list(trained.models) == ["fused", "ct", "table"]
    encoder = trained.models["ct"].trunks["ct"].encoder
    assert not any(p.requires_grad for p in encoder.parameters())
    fused = weights(trained.models["fused"].trunks["ct"].encoder)
    assert all(torch.equal(value, fused[name]) for name, value in weights(encoder).items())


@pytest.mark.parametrize(("mode", "still"), [("eval", True), ("train", False)])
def test_frozen_parts_stand_still_or_keep_their_statistics_alive(small_data, mode, still):
    spec = f"{IMAGE}+e3d_msca(dropout=0.3), table=mlp -> concat -> linear"
    _, trained = train(small_data, spec, frozen=mode)
    alone = weights(trained.models["ct"].trunks["ct"])
    fused = weights(trained.models["fused"].trunks["ct"])
    statistics = [name for name in alone if name.endswith("running_mean")]
    assert statistics
    assert all(
        torch.equal(alone[name], fused[name])
        for name in alone
        if "running" not in name and "num_batches" not in name
    )
    assert all(torch.equal(alone[name], fused[name]) for name in statistics) is still


@pytest.mark.parametrize("monitor", ["loss", "auroc", "accuracy"])
def test_the_first_of_the_best_epochs_is_kept(small_data, monitor):
    settings = {"monitor": monitor, "fuse_epochs": 12, "fuse_lr": 0.05, "optimizer": "adam"}
    _, trained = train(small_data, "table=mlp(hidden=[4]) -> linear", **settings)
    (reports,) = trained.history.values()
    sign = -1 if monitor == "loss" else 1
    scores = [sign * getattr(report, f"val_{monitor}") for report in reports]
    better = [score > max(scores[:k], default=-math.inf) for k, score in enumerate(scores)]
    assert [report.best for report in reports] == better
    if monitor == "accuracy":
        assert len(set(scores)) < len(scores), "no two epochs are equal: the test shows nothing"
