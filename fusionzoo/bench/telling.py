"""How a cell tells what it is doing: in its lease, for whoever looks, and in its log."""

import contextlib
import os

from fusionzoo.records.lease import Lease
from fusionzoo.training.observer import EpochReport, Observer


class CellTelling(Observer):
    """Tells of stages and epochs.

    Args:
        lease: The run's lease.
    """

    def __init__(self, lease: Lease):
        self.lease = lease
        self._steps: dict[str, tuple[int, int]] = {}
        self._log(f"--- process {os.getpid()} trains {lease.run_id}")

    def stage_started(self, stage: str, epochs: int, steps: int, done: int) -> None:
        """Into the log."""
        self._steps[stage] = (done * steps, epochs * steps)
        after = f", from epoch {done + 1}" if done else ""
        self._log(f"{stage}: {epochs} epochs of {steps} steps{after}")

    def step(self, stage: str) -> None:
        """Into the lease."""
        done, total = self._steps[stage]
        self._steps[stage] = (done + 1, total)
        self.lease.tell(stage, (done + 1) / total)

    def epoch(self, stage: str, report: EpochReport) -> None:
        """Into the log."""
        self._log(
            f"{stage}: epoch {report.epoch}, loss {report.train_loss:.4f}, val loss "
            f"{report.val_loss:.4f}, val AUROC {report.val_auroc:.4f}, {report.seconds:.1f} s"
        )

    def stage_finished(self, stage: str, best: EpochReport) -> None:
        """Into both."""
        self._log(f"{stage}: kept epoch {best.epoch}")
        self.lease.tell(f"after {stage}", 1.0)

    def note(self, text: str) -> None:
        """Into the log."""
        self._log(text)

    def _log(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a full disk ends a run where it matters, not here
            os.write(2, f"{text}\n".encode())
