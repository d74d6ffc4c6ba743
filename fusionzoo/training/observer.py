"""What training tells while it runs; a progress bar or a logger overrides what it wants to hear."""

from dataclasses import dataclass

#: What the names of stages begin with that train a second model, for cases it doesn't see.
HELD_OUT = "held-out "


@dataclass(frozen=True)
class EpochReport:
    """One epoch of one stage.

    Args:
        epoch: Counted from 1.
        train_loss: Mean over the steps, auxiliary losses included.
        val_loss: Cross-entropy on validation data, mean over tasks.
        val_auroc: AUROC on validation data, mean over tasks (one-vs-rest for more than two
            classes); NaN where it is undefined.
        val_accuracy: Accuracy on validation data, mean over tasks; NaN where no case has a label.
        lr: Learning rate at the epoch's end.
        seconds: Wall time of the epoch, validation included.
        best: Whether this epoch is the best so far.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_auroc: float
    val_accuracy: float
    lr: float
    seconds: float
    best: bool


class Observer:
    """Hears of stages, steps and epochs; does nothing."""

    def stage_started(self, stage: str, epochs: int, steps: int, done: int) -> None:
        """A stage of `epochs` epochs of `steps` steps begins; `done` epochs are done already."""

    def step(self, stage: str) -> None:
        """One optimiser step is done."""

    def epoch(self, stage: str, report: EpochReport) -> None:
        """One epoch is done."""

    def stage_finished(self, stage: str, best: EpochReport) -> None:
        """A stage is done; `best` is the epoch that was kept."""

    def note(self, text: str) -> None:
        """Something the user should know."""
