import pytest

from fusionzoo.cli._loggers import logger_names, open_loggers
from fusionzoo.errors import BadOption
from fusionzoo.training.loggers.logger import AbstractLogger, Observers
from fusionzoo.training.observer import Observer
from tests.training.loggers.told import SETTINGS, tell


class Noted(AbstractLogger):
    def __init__(self, folder):
        super().__init__(folder, "run", {})
        self.told, self.closed = [], False

    def scalars(self, stage, epoch, values):
        self.told.append((stage, epoch, sorted(values)))

    def close(self):
        self.closed = True


class Heard(Observer):
    def __init__(self):
        self.calls = []

    def stage_started(self, stage, epochs, steps, done):
        self.calls.append("started")

    def step(self, stage):
        self.calls.append("step")

    def epoch(self, stage, report):
        self.calls.append("epoch")

    def stage_finished(self, stage, best):
        self.calls.append("finished")

    def note(self, text):
        self.calls.append(text)


def test_what_is_not_finite_is_left_out(tmp_path):
    logger = Noted(tmp_path)
    tell(logger, "ct", 2)
    finite = ["lr", "seconds", "train_loss", "val_accuracy", "val_loss"]
    assert logger.told == [("ct", 1, finite), ("ct", 2, sorted([*finite, "val_auroc"]))]


def test_all_observers_hear_everything():
    both = Heard(), Heard()
    observers = Observers(both)
    tell(observers, "ct", 2)
    observers.note("careful")
    for one in both:
        assert one.calls == ["started", "step", "epoch", "step", "epoch", "finished", "careful"]


def test_a_logger_is_closed_after_a_crash(tmp_path):
    logger = Noted(tmp_path)
    with pytest.raises(RuntimeError), logger:
        raise RuntimeError
    assert logger.closed


def test_loggers_are_found_by_their_files(tmp_path):
    assert logger_names() == ("mlflow", "tensorboard", "wandb")
    with (
        pytest.raises(BadOption, match=r"no logger 'tensorbord'. Closest: tensorboard"),
        open_loggers(["tensorbord"], tmp_path, "run", SETTINGS),
    ):
        pass
