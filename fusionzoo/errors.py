"""Everything a user can get wrong: what was asked, what was found, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class FusionZooError(ValueError):
    """A mistake that the user can mend; the command line prints its text and exits with 2."""


class SpecError(FusionZooError):
    """A spec string that can't be read; `text` and `column` (0-based) say where."""

    def __init__(self, message: str, text: str, column: int):
        self.message = message
        self.text = text
        self.column = column
        super().__init__(f"{message}\n  {text}\n  {' ' * column}^")


class UnknownComponent(FusionZooError):
    """A name that no registry knows."""


class BadOption(FusionZooError):
    """An option that a component doesn't take, or a value that it can't use."""


class LayoutMismatch(FusionZooError):
    """Two parts whose shapes don't fit and that no conversion joins."""


class MissingExtra(FusionZooError):
    """A feature whose optional package is not installed."""


class PluginError(FusionZooError):
    """A plugin that can't be used: it failed to import, or its name is taken."""


class WeightsError(FusionZooError):
    """A weights file that can't be read or doesn't fit the model."""


class RunError(FusionZooError):
    """A run folder that can't be written, read or resumed."""


class MixedRuns(FusionZooError):
    """Runs that don't belong on one board: their protocol, data or split differ."""


class DataError(FusionZooError):
    """Everything that is wrong with a data set, collected before anything is raised."""

    def __init__(self, problems: Sequence[str], source: str = "the data"):
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{count} problem{'s' if count != 1 else ''} in {source}:"
        super().__init__("\n".join([head, *(f"  - {problem}" for problem in self.problems)]))


def nearest(name: str, known: Iterable[str]) -> str:
    """'Closest: a, b. ' for a mistyped name, or nothing where no known name is near."""
    close = get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"Closest: {', '.join(close)}. " if close else ""
