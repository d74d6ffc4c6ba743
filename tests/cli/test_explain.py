"""`fusionzoo explain` as a person meets it."""

import json
import sys

import pytest
from PIL import Image

CASE = "p20v0"


@pytest.fixture
def explain(call, finished_run, tmp_path):
    def run(*arguments):
        return call("explain", finished_run, "--out", tmp_path / "why.png", *arguments)

    return run


def test_all_of_it(explain, tmp_path, finished_run):
    options = ("--method", "both", "--steps", 8, "--background", 4)
    code, out, errors = explain("--case", CASE, *options)
    assert (code, errors) == (0, "")
    assert f"{CASE} (test), relapse: p(" in out
    assert "integrated gradients: ct " in out
    assert "  table: " in out
    assert "Grad-CAM of ct: from maps of " in out
    assert f"written: {tmp_path / 'why.png'}, why.json" in out
    with Image.open(tmp_path / "why.png") as figure:
        assert figure.format == "PNG"
    told = json.loads((tmp_path / "why.json").read_text())
    assert told["case"] == CASE
    assert told["run"] == finished_run.name
    assert set(told["integrated_gradients"]["columns"]["table"]) == {
        "age",
        "weight",
        "sex",
        "stage",
    }


def test_the_probability_is_that_of_the_run(explain, tmp_path, finished_run):
    from fusionzoo.api import open_run

    explain("--case", CASE, "--method", "gradcam", "--class", "1")
    told = json.loads((tmp_path / "why.json").read_text())
    run = open_run(finished_run)
    frame = run.predictions().frame
    (own,) = frame[(frame["case"] == CASE) & (frame["output"] == run.main)]["p1"]
    assert told["probability"] == pytest.approx(own, abs=1e-6)


def test_written_beside_the_run(call, finished_run, tmp_path, monkeypatch):
    import shutil

    copy = tmp_path / finished_run.name
    shutil.copytree(finished_run, copy)
    code, out, _ = call("explain", copy, "--case", CASE, "--method", "gradcam")
    assert code == 0
    assert (copy / "explain" / f"{CASE}-relapse-gradcam.png").is_file()
    assert (copy / "explain" / f"{CASE}-relapse-gradcam.json").is_file()
    assert "integrated gradients" not in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "Say which case to explain: --case NAME. Test cases of this run: p19v0"),
        (("--case", "p20v9"), "has no case 'p20v9'. Closest: p20v0"),
        (("--case", CASE, "--task", "relaps"), "There is no task 'relaps'. Closest: relapse."),
        (("--case", CASE, "--class", "2"), "Task 'relapse' has no class '2'."),
        (("--case", CASE, "--method", "gradcam", "--level", 9), "level=9 is none of them"),
        (("--case", CASE, "--background", 0), "one training case or more, not 0"),
        (("--case", CASE, "--steps", 0), "one step or more, not steps=0"),
        (("--case", CASE, "--method", "gradcam", "--out", "why.jpg"), "doesn't end with .png"),
    ],
)
def test_mistakes(explain, arguments, told):
    code, _, errors = explain(*arguments)
    assert code == 2
    assert told in errors
    assert "Traceback" not in errors


def test_without_captum(explain, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    code, _, errors = explain("--case", CASE)
    assert code == 2
    assert "pip install 'fusionzoo[explain]'" in errors
