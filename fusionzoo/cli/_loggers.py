"""`--logger`: which loggers there are, and how a run tells them."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionzoo.errors import BadOption, nearest

if TYPE_CHECKING:
    from fusionzoo.records.record import RunRecord
    from fusionzoo.training.loggers.logger import AbstractLogger

#: Files of the folder that are no loggers.
_OTHERS = {"__init__", "logger"}


def logger_names() -> tuple[str, ...]:
    """Names of the loggers."""
    folder = Path(__file__).parents[1] / "training" / "loggers"
    return tuple(sorted(path.stem for path in folder.glob("*.py") if path.stem not in _OTHERS))


@contextmanager
def open_loggers(
    names: Sequence[str], folder: Path, run_id: str, settings: dict[str, Any]
) -> Iterator[list[AbstractLogger]]:
    """The loggers that were asked for; closed at the end, whatever happens.

    Raises:
        BadOption: There is no such logger.
        MissingExtra: Its package is not installed.
    """
    known = logger_names()
    for name in names:
        if name not in known:
            raise BadOption(
                f"There is no logger {name!r}. {nearest(name, known)}There are: {', '.join(known)}."
            )
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                importlib.import_module(f"fusionzoo.training.loggers.{name}").Logger(
                    folder, run_id, settings
                )
            )
            for name in dict.fromkeys(names)
        ]


def tell_results(loggers: Sequence[AbstractLogger], record: RunRecord) -> None:
    """Log every metric of the record."""
    values = {
        f"{row.task}/{row.output}/{name}": estimate.value
        for row in record.evaluation.results
        for name, estimate in row.metrics.items()
        if math.isfinite(estimate.value)
    }
    for logger in loggers:
        logger.results(values)
