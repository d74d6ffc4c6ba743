import json

import click.testing

from fusionzoo.cli import _root
from tests import small_manifest


def test_init_then_check(call, tmp_path):
    path = small_manifest.write(tmp_path / "my")
    path.unlink()
    code, out, errors = call("data", "init", path.parent / "manifest.csv")
    assert code == 0, errors
    assert "id: case_id" in out
    assert "Wrote " in out
    assert "Review them, then:\n  fusionzoo data check" in out
    assert path.read_text() in out
    assert call("data", "check", path)[0] == 0
    code, _, errors = call("data", "init", path.parent / "manifest.csv")
    assert code == 2
    assert "dataset.yaml is there already" in errors
    assert "--force" in errors
    flags = ["--target", "sex", "--image", "scan=ct_path:volume", "--group", "-", "--force"]
    code, out, _ = call("data", "init", path.parent / "manifest.csv", *flags)
    assert "  scan:" in out
    assert "column: sex\n" in out
    assert "# group: none" in out


def test_what_no_flag_says_can_be_asked_for(tmp_path):
    path = small_manifest.write(tmp_path / "my").parent / "manifest.csv"
    answers = "\n\nfold\nrelapse\n0\n"
    runner = click.testing.CliRunner()
    out = tmp_path / "asked.yaml"
    told = runner.invoke(_root, ["data", "init", str(path), "--ask", "--out", str(out)], answers)
    assert told.exit_code == 0, told.output
    assert "Column of the case id [case_id]:" in told.output
    assert "Column of the patient ('-' for none) [patient]:" in told.output
    text = out.read_text()
    assert "split: {column: fold}\n" in text
    assert "classes: [1, 0]\n" in text


def test_mistakes(call, tmp_path):
    path = small_manifest.write(tmp_path / "my").parent / "manifest.csv"
    out = ("--out", tmp_path / "x.yaml")
    code, _, errors = call("data", "init", path, "--image", "ct_path", *out)
    assert (code, "--image takes NAME=COLUMN" in errors) == (2, True)
    code, _, errors = call("data", "init", path, "--image", "ct=ct_path:movie", *out)
    assert "KIND of volume, rgb, gray; given 'ct=ct_path:movie'" in errors
    code, _, errors = call("data", "init", tmp_path / "no.csv", *out)
    assert (code, "E01: there is no file" in errors) == (2, True)
    assert not (tmp_path / "x.yaml").exists()


def test_import(call, tmp_path):
    path = small_manifest.write(tmp_path / "my")
    rows = small_manifest.read(path)
    cases = [{"image": row["ct_path"], "label": int(row["relapse"])} for row in rows]
    lists = path.parent / "list.json"
    lists.write_text(json.dumps({"training": cases}))
    out = tmp_path / "out"
    code, told, errors = call("data", "import", lists, "--from", "monai", "--out", out)
    assert code == 0, errors
    assert "Labelled cases are in train only: no split is given." in told
    assert "Wrote 28 cases to" in told
    assert (out / "manifest.csv").is_file()
    code, _, errors = call("data", "import", lists, "--from", "monai", "--out", out)
    assert (code, "manifest.csv is there already" in errors) == (2, True)
    code, _, errors = call("data", "import", lists, "--from", "monia", "--out", out)
    assert "Data can't be imported from 'monia'. Closest: monai" in errors
