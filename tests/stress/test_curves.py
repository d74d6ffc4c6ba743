import shutil

import numpy as np
import pytest

from fusionzoo.api import open_run
from fusionzoo.errors import BadOption, RunError
from fusionzoo.schema import to_json
from fusionzoo.stress import curves
from fusionzoo.stress.curves import stress
from fusionzoo.stress.perturbations import LEVELS
from tests import small_manifest

QUICK = {"replicates": 100, "draws": 2}


@pytest.fixture(scope="module")
def found(finished_run):
    return stress(open_run(finished_run), **QUICK)


def test_every_perturbation_of_every_modality(found, finished_run):
    record = open_run(finished_run).record
    keys = [(c.task, c.kind, c.modality, c.refused) for c in found.curves]
    assert keys == [
        ("relapse", kind, name, "")
        for kind, name in (
            *(("drop", "ct"), ("drop", "table"), ("cells", "table")),
            *(("noise", "ct"), ("shift", "ct")),
        )
    ]
    assert (found.num_cases, found.num_patients, found.output) == (5, 5, "fused")
    assert found.predictions_digest == record.predictions_digest
    assert found.reproduced < 1e-5
    for curve in found.curves:
        levels = [point.level for point in curve.points]
        assert levels == [x for x in LEVELS[curve.kind] if x in levels]
        assert curve.points[0].num_changed == 0
        assert curve.points[-1].num_changed == 5
        assert curve.points[0].changes["auroc"].value == 0
        for point in curve.points:
            value = point.metrics["log_loss"]
            assert value.low <= value.high
            assert np.isfinite(value.value)


def test_the_first_point_is_the_record(found, finished_run):
    row = open_run(finished_run).record.evaluation.row("relapse", "fused")
    for name, estimate in row.metrics.items():
        for curve in found.curves:
            np.testing.assert_allclose(
                curve.points[0].metrics[name].value, estimate.value, atol=1e-6
            )


def test_the_same_seed_gives_the_same_numbers(found, finished_run):
    again = stress(open_run(finished_run), kinds=("noise",), **QUICK)
    (noise,) = (c for c in found.curves if c.kind == "noise")
    assert to_json(again.curves) == to_json((noise,))
    other = stress(open_run(finished_run), kinds=("noise",), seed=1, **QUICK)
    assert to_json(other.curves) != to_json(again.curves)


def test_partial_drops_are_what_the_model_itself_would_say(found, finished_run, monkeypatch):
    """Half of the cases without the CT, run through the model instead of put together."""
    opened = open_run(finished_run)
    whole = curves._draws

    def draws(test, kind, name, level, task, before, probes):
        put_together = whole(test, kind, name, level, task, before, probes)
        if (kind, name, level) == ("drop", "ct", 0.5):
            rows = test.opened.split.test
            mask = test.perturber.dropped(rows, "ct", 0.5, 0)
            (batch,) = test.opened.loader(rows)
            batch.inputs["ct"][mask.nonzero()[0]] = 0
            batch.present["ct"][mask.nonzero()[0]] = False
            logits = opened.model(opened.data)(batch).logits[task]
            probs = 1 / (1 + np.exp(-logits.detach().double().numpy()[:, 0]))
            np.testing.assert_allclose(put_together[0][:, 1], probs, atol=1e-6)
            asked.append(level)
        return put_together

    asked = []
    monkeypatch.setattr(curves, "_draws", draws)
    stress(opened, kinds=("drop",), **QUICK)
    assert asked == [0.5]


def test_what_is_declared_to_be_refused_is_refused(found, finished_run, monkeypatch):
    monkeypatch.setattr(curves, "missing_policy", lambda combo: "refuse")
    partly = stress(open_run(finished_run), kinds=("drop", "cells"), **QUICK)
    refused = {(c.kind, c.modality): c.refused for c in partly.curves}
    assert refused["drop", "ct"] == "the fusion needs every modality of every case"
    assert refused["cells", "table"] == ""
    with pytest.raises(BadOption, match=r"None of drop can be done .*drop of ct: the fusion needs"):
        stress(open_run(finished_run), kinds=("drop",), **QUICK)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kinds": ("nois",)}, "There is no stress test 'nois'. Closest: noise"),
        ({"draws": 0}, "draws=0"),
        ({"draws": 5, "replicates": 3}, "replicates=3"),
    ],
)
def test_options_that_cannot_be(finished_run, options, words):
    with pytest.raises(BadOption, match=words):
        stress(open_run(finished_run), **options)


def test_data_that_have_changed_are_refused(finished_run, small_data, tmp_path):
    moved = shutil.copytree(small_data.parent, tmp_path / "data")
    opened = open_run(finished_run)
    assert stress(opened, dataset=str(moved / "dataset.yaml"), kinds=("cells",), **QUICK).curves
    small_manifest.change(moved / "dataset.yaml", age={4: "11"})
    with pytest.raises(RunError, match=r"has digest .* was trained on 'small' with .*--dataset"):
        stress(opened, dataset=str(moved / "dataset.yaml"), **QUICK)
