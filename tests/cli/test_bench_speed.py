"""`fusionzoo bench speed` at the command line."""

import pytest

from fusionzoo.cli import main


def run(capsys, *arguments):
    try:
        main(["bench", "speed", *arguments])
        code = 0
    except SystemExit as done:
        code = done.code
    out, err = capsys.readouterr()
    return code, out, err


def test_a_system_is_measured_written_and_shown_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fusionzoo.bench.speed.measure.peak_mib", lambda *which, **how: 123.4)
    path = tmp_path / "speed.json"
    told = ["daft", "--size", "small", "--rounds", "1", "--out", str(path)]
    code, table, err = run(capsys, *told)
    assert (code, err) == (0, "daft ...\n")
    assert "| daft | 0.1 M |" in table
    assert "123" in table
    assert run(capsys, "--show", str(path)) == (0, table, "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing"], "No system to be measured is called 'nothing'"),
        (["--show", "absent.json"], "can't be read as a record of the speed suite"),
        (["--device", "tpu"], "'tpu' is not one of"),
    ],
)
def test_mistakes_are_told_without_a_traceback(arguments, told, capsys):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert told in err
