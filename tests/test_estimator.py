"""The estimator among scikit-learn's own tools: its checks, cross-validation, calibration."""

import random

import numpy as np
import pandas as pd
import pytest
import torch
from jaxtyping import config
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.utils.estimator_checks import parametrize_with_checks

import fusionzoo
from fusionzoo.errors import BadOption, DataError, FusionZooError, UnknownComponent
from fusionzoo.estimator import FusionClassifier
from tests import small_manifest

TABLE = {"fuse_epochs": 12, "batch_size": 16}
IMAGES = {"ct": {"column": "ct_path", "kind": "volume", "size": 16, "window": [-1000, 400]}}
SPEC = "ct=penet3d(depth=14, width=0.25), table=mlp -> concat -> linear"
QUICK = {"epochs": 1, "fuse_epochs": 1, "views": 0, "batch_size": 8}


@pytest.fixture
def as_users_run_it():
    """Without checks of annotations, which refuse odd arguments first and draw random numbers."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@parametrize_with_checks([FusionClassifier(training=TABLE, random_state=0)])
def test_what_scikit_learn_expects_of_an_estimator(as_users_run_it, estimator, check):
    check(estimator)


def patients(num=40, seed=0):
    """Two cases a patient: a column that tells the class, one that doesn't, a category, gaps."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(num) % 2, 2)
    frame = pd.DataFrame(
        {
            "patient": np.repeat([f"p{k}" for k in range(num)], 2),
            "marker": rng.normal(3.0 * y, 1.0),
            "noise": rng.normal(0, 1, 2 * num),
            "sex": rng.choice(["F", "M"], 2 * num),
        }
    )
    frame.loc[::9, "noise"] = np.nan
    frame.loc[1::11, "sex"] = None
    return frame, np.where(y, "sick", "well")


def columns(**changes):
    given = {"categorical": ["sex"], "group": "patient", "missing": "median+flag"}
    return FusionClassifier(**{**given, "training": TABLE, "random_state": 0, **changes})


def test_columns_with_roles():
    X, y = patients()
    model = columns().fit(X, y)
    assert model.classes_.tolist() == ["sick", "well"]
    probs = model.predict_proba(X)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert model.score(X, y) > 0.85
    assert model.encoders_["table"].names == (
        *("marker", "noise", "marker:missing", "noise:missing"),
        *("sex=F", "sex=M"),
    )
    assert [len(reports) for reports in model.history_.values()] == [12]
    again = clone(model).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(again, probs)
    shuffled = model.predict_proba(X[["sex", "noise", "patient", "marker"]][X.columns])
    np.testing.assert_array_equal(shuffled, probs)


def test_parameters_are_what_was_given():
    given = {"spec": "table=kan -> linear", "numeric": ["a"], "validation": 0.2}
    model = FusionClassifier(**given)
    assert {k: v for k, v in model.get_params().items() if k in given} == given
    assert clone(model).set_params(validation=0.3).get_params()["validation"] == 0.3
    assert fusionzoo.FusionClassifier is FusionClassifier


def test_fitting_leaves_the_random_generators_where_they_were(as_users_run_it):
    X, y = patients()
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    columns().fit(X, y)
    drawn = random.random(), np.random.random(), float(torch.rand(1))
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    assert drawn == (random.random(), np.random.random(), float(torch.rand(1)))


@pytest.mark.parametrize("by_column", [True, False])
def test_no_patient_is_trained_and_validated_on(monkeypatch, by_column):
    X, y = patients()
    parts = []
    held_back = FusionClassifier._held_back

    def noting(self, codes, groups, seed):
        split = held_back(self, codes, groups, seed)
        parts.append((set(groups[split.train]), set(groups[split.val]), codes[split.val]))
        return split

    monkeypatch.setattr(FusionClassifier, "_held_back", noting)
    if by_column:
        columns().fit(X, y)
    else:
        columns(group=None, numeric=["marker", "noise"]).fit(X, y, groups=X["patient"])
    ((train, val, classes),) = parts
    assert not train & val
    assert len(train | val) == 40
    assert 4 <= len(val) <= 8
    assert set(classes) == {0, 1}


def test_cross_validation_by_patient():
    X, y = patients()
    found = cross_validate(
        columns(), X, y, cv=GroupKFold(3), groups=X["patient"], scoring="roc_auc"
    )
    assert (found["test_score"] > 0.9).all()


def test_calibration():
    X, y = patients()
    model = CalibratedClassifierCV(columns(), cv=2, method="sigmoid").fit(X, y)
    probs = model.predict_proba(X)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert model.score(X, y) > 0.85


def test_permutation_importance():
    X, y = patients()
    model = columns().fit(X, y)
    found = permutation_importance(model, X, y, n_repeats=2, random_state=0)
    importance = dict(zip(X.columns, found.importances_mean, strict=True))
    assert importance["marker"] > 0.2
    assert importance["patient"] == 0
    assert abs(importance["noise"]) < importance["marker"] / 2


def test_images_and_columns(tmp_path):
    path = small_manifest.write(tmp_path / "data")
    X = pd.read_csv(path.parent / "manifest.csv", dtype={"stage": str})
    y = X.pop("relapse")
    model = FusionClassifier(
        SPEC,
        numeric=["age", "weight"],
        categorical={"sex": ["F", "M"], "stage": ["1a", "1b", "2", "is"]},
        images=IMAGES,
        group="patient",
        root=path.parent,
        training=QUICK,
        random_state=0,
    ).fit(X, y)
    probs = model.predict_proba(X)
    assert probs.shape == (28, 2)
    absent = X.assign(ct_path=X["ct_path"].where(X.index != 3))
    changed = np.flatnonzero((model.predict_proba(absent) != probs).any(axis=1))
    assert changed.tolist() == [3]
    with pytest.raises(DataError, match="'X'"):
        model.predict(X.assign(sex="X"))
    wrong = X.assign(ct_path=X["ct_path"].replace("scans/p02v0.npy", "scans/p02v9.npy"))
    with pytest.raises(DataError, match=r"E04 row 3, column 'ct_path', value 'scans/p02v9\.npy'"):
        model.predict(wrong)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"categorical": ["sexx"]}, DataError, r"there is no column 'sexx'. Closest: sex"),
        ({"group": "person"}, DataError, r"there is no column 'person'"),
        ({"images": {"ct": {"column": "noise"}}}, DataError, r"images.ct.kind: the key is missing"),
        ({"missing": "mean"}, DataError, r"'mean' is not known. Closest: median"),
        ({"spec": "ct=penet3d -> linear"}, UnknownComponent, r"no modality 'ct'"),
        ({"training": {"epoch": 3}}, BadOption, r"no setting 'epoch'. Closest: epochs"),
        ({"validation": 0.9}, BadOption, r"up to 0.5, not 0.9"),
        ({"device": "tpu"}, BadOption, r"There is no device 'tpu'. Use one of: auto, cpu"),
        ({"precision": "8"}, BadOption, r"There is no precision '8'"),
    ],
)
def test_settings_that_cannot_be(as_users_run_it, changes, error, words):
    X, y = patients()
    with pytest.raises(error, match=words):
        columns(**changes).fit(X, y)
    assert issubclass(error, FusionZooError)
    assert issubclass(error, ValueError)


def test_data_that_cannot_be():
    X, y = patients()
    with pytest.raises(ValueError, match=r"X must be a pandas DataFrame, not ndarray"):
        columns().fit(X.to_numpy(), y)
    with pytest.raises(ValueError, match="X has 80 rows and y has 79"):
        columns().fit(X, y[:-1])
    with pytest.raises(ValueError, match="X has 80 rows and groups has 3"):
        columns().fit(X, y, groups=[1, 2, 3])
    with pytest.raises(ValueError, match=r"the data have 1 class \('well'\)"):
        columns().fit(X[y == "well"], y[y == "well"])
    lonely = np.where(X["patient"] == "p1", "sick", "well")
    with pytest.raises(ValueError, match=r"Class 'sick' has n_samples=1 \(or one group\)"):
        columns().fit(X, lonely)
    with pytest.raises(ValueError, match="missing"):
        columns().fit(X, y).predict(X.drop(columns="noise"))
