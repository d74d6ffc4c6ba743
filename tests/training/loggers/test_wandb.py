import importlib.util
import subprocess
import sys

import pytest

from fusionzoo.errors import MissingExtra
from fusionzoo.training.loggers.wandb import Logger
from tests.training.loggers.told import SETTINGS

#: In a process of its own: W&B starts services, and its dependencies change how Python finds
#: packages. Its files are LevelDB logs of protobuf records; here each fits one block.
LOGGED = """
import struct
import sys
from pathlib import Path
import wandb
from wandb.proto import wandb_internal_pb2
from fusionzoo.training.loggers.wandb import Logger
from tests.training.loggers.told import RESULTS, SETTINGS, tell

folder = Path(sys.argv[1]) / "one"
with Logger(folder, "one", SETTINGS) as logger:
    tell(logger, "ct", 3)
    logger.results(RESULTS)
wandb.teardown()
(file,) = folder.glob("wandb/offline-run-*/run-one.wandb")
content = file.read_bytes()
assert content[:4] == b":W&B" and len(content) < 32768
place, rows, summary, settings = 7, [], {}, {}
while place < len(content):
    _, length, whole = struct.unpack("<IHB", content[place : place + 7])
    assert whole == 1
    record = wandb_internal_pb2.Record()
    record.ParseFromString(content[place + 7 : place + 7 + length])
    place += 7 + length
    named = lambda items: {i.key or "/".join(i.nested_key): i.value_json for i in items}
    kind = record.WhichOneof("record_type")
    if kind == "history":
        rows.append(named(record.history.item))
    elif kind == "summary":
        summary |= named(record.summary.update)
    elif kind == "run":
        settings = {i.key: i.value_json for i in record.run.config.update}
assert [row["ct/epoch"] for row in rows] == ["1", "2", "3"], rows
assert [float(row["ct/train_loss"]) for row in rows] == [1, 1 / 2, 1 / 3]
assert ["ct/val_auroc" in row for row in rows] == [False, True, True]
assert summary["test/relapse/fused/auroc"] == "0.75", summary
assert settings["spec"] == '"ct=penet3d -> linear"', settings
"""


def test_without_wandb(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match=r"pip install 'fusionzoo\[wandb\]'"):
        Logger(tmp_path, "run", SETTINGS)


@pytest.mark.skipif(not importlib.util.find_spec("wandb"), reason="needs the extra wandb")
def test_offline_files_hold_every_epoch(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    command = [sys.executable, "-c", LOGGED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
