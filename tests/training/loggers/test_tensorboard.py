import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fusionzoo.errors import MissingExtra
from fusionzoo.training.loggers.tensorboard import Logger
from tests.training.loggers.told import RESULTS, SETTINGS, tell


def events(folder):
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def scalars(folder, name):
    return [(event.step, pytest.approx(event.value)) for event in events(folder).Scalars(name)]


def test_every_stage_has_its_curves(tmp_path):
    with Logger(tmp_path, "run", SETTINGS) as logger:
        tell(logger, "ct", 3)
        tell(logger, "fused", 2)
        logger.results(RESULTS)
    folder = tmp_path / "tensorboard"
    assert sorted(path.name for path in folder.iterdir()) == ["ct", "fused", "results"]
    assert scalars(folder / "ct", "train_loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert scalars(folder / "ct", "val_auroc") == [(2, 0.7), (3, 0.8)]
    assert scalars(folder / "fused", "val_loss") == [(1, 2.0), (2, 1.0)]
    assert scalars(folder / "results", "relapse/fused/auroc") == [(0, 0.75)]
    assert "settings/text_summary" in events(folder / "results").Tags()["tensors"]


def test_a_resumed_stage_hides_what_was_logged_after_its_checkpoint(tmp_path):
    with Logger(tmp_path, "run", SETTINGS) as logger:
        tell(logger, "ct", 3)
    with Logger(tmp_path, "run", SETTINGS) as logger:
        tell(logger, "ct", 4, done=2)
    assert [step for step, _ in scalars(tmp_path / "tensorboard" / "ct", "lr")] == [1, 2, 3, 4]


def test_without_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtra, match=r"pip install 'fusionzoo\[tensorboard\]'"):
        Logger(tmp_path, "run", SETTINGS)
