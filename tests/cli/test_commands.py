"""The command line as a person meets it: what it prints, and that no mistake gives a traceback."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from fusionzoo.bench.size import Size
from fusionzoo.cli import main
from fusionzoo.grammar import parse
from fusionzoo.models.matrix import small_options
from fusionzoo.systems import load_system
from tests import small_manifest
from tests.conftest import SPEC


@pytest.fixture
def call(capsys):
    """Run a command in this process; gives exit code, output and errors."""

    def run(*arguments):
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code or 0
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def refused(answer, *words):
    """One clear message and exit code 2, without a traceback."""
    code, _, errors = answer
    assert code == 2, errors
    assert "Traceback" not in errors
    for word in words:
        assert word in errors
    return errors


def test_list(call):
    code, out, _ = call("list")
    assert code == 0
    for name in ("penet3d", "e3d_msca", "msca", "linear", "lidc", "mmcaf-net"):
        assert f"  {name} " in out
    code, out, _ = call("list", "fusions")
    assert out.startswith("fusions (")
    assert "penet3d" not in out
    refused(call("list", "fusons"), "'fusons'", "Closest: fusions")


def test_show_says_shapes_conversions_and_costs(call):
    code, out, _ = call("show", "ct=penet3d, table=kan -> msca -> linear")
    assert code == 0
    assert "width=0.25" in out
    assert "you wrote: ct=penet3d, table=kan -> msca -> linear" in out
    assert "(summary)" in out
    assert "(project to 24)" in out
    assert "GFLOPs a case" in out
    assert "malignancy: 1 logit" in out
    code, out, _ = call("show", "mmcaf-net")
    assert code == 0
    assert "e3d_msca(dropout=0.3)" in out
    code, out, _ = call("show", "penet3d")
    assert "ct=penet3d" in out


def test_data_show(call, small_data):
    code, out, _ = call("data", "show", "lidc")
    assert code == 0
    assert "1185 cases of 635 patients" in out
    assert "train (855)" in out
    assert "CC BY 3.0" in out
    code, out, _ = call("data", "show", small_data)
    assert "28 cases of 24 patients" in out
    refused(call("data", "show", "lidcc"), "No dataset is called 'lidcc'", "Closest: lidc")


def test_run_evaluate_and_predict(call, small_data, tmp_path):
    out_folder = tmp_path / "runs"
    quick = [
        "--epochs",
        1,
        "--batch-size",
        8,
        "--set",
        "fuse_epochs=2",
        "--set",
        "views=1",
        "--device",
        "cpu",
    ]
    code, out, errors = call(
        "run", "--spec", SPEC, "--dataset", small_data, "--out", out_folder, *quick
    )
    assert code == 0, errors
    for words in (
        "AUROC",
        "fused",
        "ct alone",
        "table alone",
        "Specificity",
        "95% intervals",
        "record.json",
        "roc.png",
    ):
        assert words in out
    (run,) = (path.parent for path in out_folder.glob("*/record.json"))
    code, out, _ = call("evaluate", run)
    assert code == 0
    assert "fused against ct alone: AUROC" in out
    code, out, _ = call("evaluate", run, "--json", "--threshold", "0.5")
    assert json.loads(out)["threshold_rule"] == "0.5"
    code, out, _ = call("evaluate", run, "--per-patient", "max")
    assert "5 cases of 5 patients" in out or "cases of" in out
    code, out, _ = call("predict", run, small_data.parent / "manifest.csv")
    assert out.splitlines()[0] == "case,task,p_0,p_1,predicted,missing"
    assert len(out.splitlines()) == 29
    target = tmp_path / "answers" / "new.csv"
    code, out, _ = call("predict", run, small_data, "--out", target)
    assert "28 rows in" in out
    assert target.read_text().startswith("case,task")


@pytest.fixture
def small_systems(monkeypatch):
    """Systems with the smallest form of their parts, and settings as they are."""
    smallest = Size("smallest", "", small_options(), {})

    def small(name):
        found = load_system(name)
        return replace(found, spec=str(smallest.apply(parse(found.spec))))

    monkeypatch.setattr("fusionzoo.systems.load_system", small)


def test_a_system_brings_its_settings_and_flags_override_them(
    call, small_data, small_systems, tmp_path
):
    quick = ["--epochs", 1, "--batch-size", 8, "--set", "fuse_epochs=1", "--set", "views=0"]
    quick += ["--device", "cpu", "--dataset", small_data, "--out", tmp_path]
    code, out, errors = call("run", "--system", "mmcaf-net:official", *quick)
    assert code == 0, errors
    assert "mmcaf-net, preset 'official'" in out
    assert "ct encoder" in out
    (record,) = tmp_path.glob("*/record.json")
    settings = json.loads(record.read_text())["training"]["settings"]
    assert (settings["optimizer"], settings["dampening"], settings["epochs"]) == ("sgd", 0.9, 1)
    assert (settings["frozen"], settings["loss"]) == ("train", "focal")
    refused(call("run", "--system", "mmcaf-net:offical", *quick), "no preset 'offical'", "official")


def test_flags_fill_a_combo_from_the_data_set(call):
    code, _, errors = call("run", "--encoder", "penet3d", "--fusion", "msca", "--threshold", "0.4")
    assert "threshold_rule='0.4'" in errors
    code, _, errors = call("run", "--encoder", "penet3d", "--fusion", "msca", "--epochs", "0")
    assert "epochs must be at least 1, not 0" in errors
    assert code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--encoder", "penet3d", "--fusion", "msac"],
            ["No fusion is called 'msac'", "Closest: msca"],
        ),
        (
            ["--encoder", "penet3d(deph=50)", "--fusion", "msca"],
            ["no option 'deph'", "Closest: depth"],
        ),
        (["--encoder", "penet3d(width=abc)"], ["takes a number, not 'abc'"]),
        (["--spec", "ct=penet3d -> msca"], ["No head is called 'msca'"]),
        (
            ["--spec", "ct=mlp -> linear"],
            ["Encoder 'mlp' reads table", "'ct' is a volume", "penet3d"],
        ),
        (
            ["--spec", "ct=penet3d, table=kan+e3d_msca -> msca -> linear"],
            ["Neck 'e3d_msca' needs a pyramid"],
        ),
        (
            ["--spec", "ct=penet3d, tabel=kan -> msca -> linear"],
            ["no modality 'tabel'", "Closest: table"],
        ),
        (["--spec", "ct=penet3d("], ["Expected", "^"]),
        (["--spec", "ct=penet3d -> linear", "--fusion", "msca"], ["--spec and --fusion both say"]),
        (
            ["--encoder", "ct=penet3d", "--encoder", "table=kan"],
            ["2 modalities (ct, table) need a fusion"],
        ),
        ([], ["Nothing says what to build"]),
        (
            ["--spec", "ct=penet3d -> linear", "--dataset", "nowhere/dataset.yaml"],
            ["nowhere/dataset.yaml"],
        ),
        (["--spec", "ct=penet3d -> linear", "--dataset", "lidc(size=3)"], ["size"]),
        (["--spec", "ct=penet3d -> linear", "--fold", "9"], ["9"]),
        (["--spec", "ct=penet3d -> linear", "--set", "epochs"], ["--set takes name=value"]),
        (["--spec", "ct=penet3d -> linear", "--set", "epoch=3"], ["no setting 'epoch'", "epochs"]),
        (["--spec", "ct=penet3d -> linear", "--lr", "-1"], ["lr must be above 0"]),
        (
            ["--spec", "ct=penet3d(weights='no.pth') -> linear", "--epochs", "1"],
            ["No weights file", "no.pth"],
        ),
        (["--spec", "ct=penet3d -> linear", "--device", "tpu"], ["There is no device 'tpu'"]),
        (["--spec", "ct=penet3d -> linear", "--resume", "--fresh"], ["Give one of them"]),
        (["--sepc", "x"], ["--sepc"]),
    ],
)
def test_mistakes_are_told_without_a_traceback(call, tmp_path, arguments, words):
    refused(call("run", *arguments, "--out", tmp_path), *words)
    assert list(tmp_path.glob("*/*.ckpt")) == []


def test_all_problems_of_the_data_come_at_once(call, tmp_path):
    path = small_manifest.write(tmp_path / "data")
    small_manifest.change(path, age={5: "4O"}, sex={6: "X"}, patient={2: "p23"})
    (path.parent / "scans" / "p03v0.npy").write_bytes(b"\x93NUMPY")
    errors = refused(
        call("run", "--spec", SPEC, "--dataset", path, "--out", tmp_path),
        "4O",
        "'X'",
        "p23",
        "p03v0.npy",
    )
    assert "4 problems" in errors


def test_a_split_with_one_class_is_refused(call, tmp_path):
    path = small_manifest.write(tmp_path / "data")
    rows = small_manifest.read(path)
    for row in rows:
        if row["split"] == "test":
            row["relapse"] = "0"
    small_manifest.store(path, rows)
    refused(call("run", "--spec", SPEC, "--dataset", path, "--out", tmp_path), "test")


def test_an_output_folder_that_cannot_be_written(call, small_data, tmp_path):
    (tmp_path / "runs").write_text("")
    refused(
        call("run", "--spec", SPEC, "--dataset", small_data, "--out", tmp_path / "runs"),
        "Can't write",
    )


def test_a_run_that_is_not_there(call, tmp_path):
    refused(call("evaluate", tmp_path / "none"), "does not exist")
    refused(call("predict", tmp_path / "none", "lidc"), "does not exist")


def test_an_unknown_command(call):
    refused(call("rnu"), "There is no command 'rnu'", "run")


def test_plugins(call):
    code, out, _ = call("plugins")
    assert code == 0
    assert "No plugins are installed." in out or "  " in out


def test_the_installed_command_prints_no_traceback():
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "fusionzoo",
            "show",
            "ct=nothing -> linear",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "No encoder is called 'nothing'" in done.stderr
    assert "Traceback" not in done.stderr
