"""Progress of a run in the terminal: bars where there is one, a few lines where there is none."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fusionzoo.training.observer import HELD_OUT, EpochReport, Observer

TITLES = {"fused": "fusion"}


class TerminalProgress(Observer):
    """One bar a stage; without a terminal, about ten lines a stage."""

    def __init__(self, console: Console):
        self.console = console
        self.bars = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[scores]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._epochs: dict[str, int] = {}

    def __enter__(self) -> TerminalProgress:
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bars.stop()

    def stage_started(self, stage: str, epochs: int, steps: int, done: int) -> None:
        self._epochs[stage] = epochs
        own = stage.removeprefix(HELD_OUT)
        title = TITLES.get(own, f"{own} alone")
        title += " without held-out cases" if own != stage else ""
        self._tasks[stage] = self.bars.add_task(
            title, total=epochs * steps, completed=done * steps, scores=""
        )
        if not self.console.is_terminal:
            after = f", from epoch {done + 1}" if done else ""
            self.console.print(f"{title}: {epochs} epochs of {steps} steps{after}", highlight=False)

    def step(self, stage: str) -> None:
        self.bars.advance(self._tasks[stage])

    def epoch(self, stage: str, report: EpochReport) -> None:
        epochs = self._epochs[stage]
        scores = f"epoch {report.epoch}/{epochs}  {_scores(report)}"
        self.bars.update(self._tasks[stage], scores=scores)
        if not self.console.is_terminal and (
            report.epoch % max(1, epochs // 10) == 0 or report.epoch == epochs
        ):
            self.console.print(f"  {scores}  train loss {report.train_loss:.3f}", highlight=False)

    def stage_finished(self, stage: str, best: EpochReport) -> None:
        task = self.bars.tasks[self._tasks[stage]]
        kept = f"kept epoch {best.epoch}  {_scores(best)}"
        self.bars.update(self._tasks[stage], completed=task.total or 0, scores=kept)
        if not self.console.is_terminal:
            self.console.print(f"  {kept}", highlight=False)

    def note(self, text: str) -> None:
        self.console.print(f"[yellow]{text}[/yellow]", highlight=False)


def _scores(report: EpochReport) -> str:
    return (
        f"val AUROC {report.val_auroc:.3f}  ACC {report.val_accuracy:.3f}  "
        f"loss {report.val_loss:.3f}"
    )
