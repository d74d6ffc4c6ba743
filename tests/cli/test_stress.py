import json
import shutil

import pytest

from fusionzoo.errors import RunError
from fusionzoo.evaluation.robustness import read_robustness


def test_the_command(call, finished_run, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / finished_run.name)
    before = (run / "record.json").read_bytes()
    code, out, errors = call("stress", run, "--replicates", 100, "--draws", 1)
    assert code == 0, errors
    for words in ("drop ct", "cells table", "noise ct", "shift ct", "0.75", "stress.png"):
        assert words in out
    assert read_robustness(run).curves
    assert (run / "stress.png").read_bytes()[:4] == b"\x89PNG"
    assert (run / "record.json").read_bytes() == before
    data = json.loads((run / "stress.json").read_text())
    (run / "stress.json").write_text(json.dumps(data | {"schema": 99}))
    with pytest.raises(RunError, match="has schema 99; this fusionzoo reads schema 1"):
        read_robustness(run)
    (run / "stress.json").write_text("{")
    with pytest.raises(RunError, match=r"Can't read .*'fusionzoo stress' writes it"):
        read_robustness(run)
    code, _, errors = call("stress", run, "--only", "nois")
    assert (code, "Closest: noise" in errors) == (2, True)
