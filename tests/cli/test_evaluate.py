"""`fusionzoo evaluate` over the folds of one spec."""

import json

import pytest


@pytest.fixture(scope="module")
def folds(small_data, tmp_path_factory):
    """Runs of two folds, the same fold with another seed, and a run without a fold."""
    import fusionzoo

    out = tmp_path_factory.mktemp("runs")

    def run(**asked):
        record = fusionzoo.run(
            "table=mlp(hidden=[4]) -> linear",
            dataset=str(small_data),
            num_folds=2,
            out=out,
            device="cpu",
            training={"fuse_epochs": 2, "batch_size": 8},
            **asked,
        )
        return out / record.run_id

    return {
        "zero": run(fold=0),
        "one": run(fold=1),
        "seed": run(fold=1, seed=1),
        "none": run(threshold_rule="0.5", binary="macro"),
    }


def test_mean_and_deviation_over_folds(call, folds):
    code, out, errors = call("evaluate", folds["one"], folds["zero"], "--threshold", "0.5")
    assert code == 0, errors
    assert "small: folds 0, 1 of 2 stratified folds by patient, seed 0; runs with seed 0" in out
    assert "cases in 2 folds; mean ± sample standard deviation over folds" in out
    code, told, _ = call("evaluate", folds["zero"], folds["one"], "--threshold", "0.5", "--json")
    (row,) = json.loads(told)
    values = [
        json.loads(call("evaluate", folds[name], "--threshold", "0.5", "--json")[1])["results"][0][
            "metrics"
        ]["accuracy"]["value"]
        for name in ("zero", "one")
    ]
    assert list(row["metrics"]["accuracy"]["values"].values()) == values
    mean, sd = sum(values) / 2, abs(values[0] - values[1]) / 2**0.5
    assert row["metrics"]["accuracy"]["mean"] == pytest.approx(mean)
    assert f"ACC          {mean:.3f} ± {sd:.3f}" in out


def test_what_lies_beside_runs_in_a_store_is_left_out(call, folds, tmp_path):
    (tmp_path / "leases").mkdir()
    (tmp_path / "index.sqlite").touch()
    beside = [tmp_path / "index.sqlite", tmp_path / "leases"]
    code, out, errors = call("evaluate", beside[0], folds["one"], folds["zero"], beside[1])
    assert code == 0, errors
    assert "small: folds 0, 1 of 2" in out
    assert errors.startswith(f"Left out, for they are no runs: {beside[0]}, {beside[1]}.")
    code, _, errors = call("evaluate", folds["one"], tmp_path / "absent")
    assert code == 2
    assert f"{tmp_path / 'absent'}" in errors
    assert call("evaluate", *beside)[0] == 2


def test_runs_that_are_no_folds_of_one_table(call, folds):
    code, _, errors = call("evaluate", folds["zero"], folds["seed"], folds["none"], folds["zero"])
    assert code == 2
    assert "These 4 runs are not the folds of one table: " in errors
    assert f"{folds['none']} is no fold" in errors
    assert "they differ in seed (" in errors
    assert f"{folds['zero']} and {folds['zero']} are both fold 0" in errors
    assert "differ in data set" not in errors
    assert "with another --fold each." in errors


def test_a_run_may_be_scored_otherwise_from_the_start(folds):
    told = json.loads((folds["none"] / "record.json").read_text())["evaluation"]
    assert (told["threshold_rule"], told["binary"]) == ("0.5", "macro")
    assert told["results"][0]["threshold"]["value"] == 0.5
    told = json.loads((folds["zero"] / "record.json").read_text())["evaluation"]
    assert (told["threshold_rule"], told["binary"]) == ("youden", "positive")


def test_how_two_class_tasks_are_averaged_is_a_choice(call, folds):
    code, told, _ = call("evaluate", folds["zero"], "--binary", "macro", "--json")
    assert (code, json.loads(told)["binary"]) == (0, "macro")
    code, _, errors = call("evaluate", folds["zero"], "--binary", "micro")
    assert code == 2
    assert "'micro' is not one of 'auto', 'macro', 'positive'" in errors
