"""What the kit found: one result per check, counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "failed", "not run", "does not apply"]

#: How each status is shown at the beginning of a line.
MARKS: Mapping[str, str] = {
    "passed": "ok",
    "failed": "FAILED",
    "not run": "not run",
    "does not apply": "-",
}


class Fault(Exception):
    """A check's finding: what was promised, and what was found instead."""


class NotRun(Exception):
    """A check that applies and can't be run here, with the reason."""


class Inapplicable(Exception):
    """A check that says nothing about this component, with the reason."""


@dataclass(frozen=True)
class Result:
    """One check's outcome.

    Args:
        check: Name of the check.
        promise: What it holds the component to, in one sentence.
        status: passed, failed, not run (it applies, but not here or not asked for), or does not
            apply.
        detail: What was found, or why it wasn't run.
    """

    check: str
    promise: str
    status: Status
    detail: str = ""


@dataclass(frozen=True)
class Report:
    """All checks of one component.

    Args:
        kind: Kind of the component.
        name: What spec strings call it.
        origin: Where it comes from.
        settings: What it was built for: sizes and modalities, in words.
        results: One per check.
    """

    kind: str
    name: str
    origin: str
    settings: tuple[str, ...]
    results: tuple[Result, ...]

    @property
    def applicable(self) -> int:
        """Checks that apply to this component."""
        return sum(result.status != "does not apply" for result in self.results)

    @property
    def ran(self) -> int:
        """Checks that were run."""
        return sum(result.status in ("passed", "failed") for result in self.results)

    @property
    def failures(self) -> tuple[Result, ...]:
        """The checks that failed."""
        return tuple(result for result in self.results if result.status == "failed")

    @property
    def ok(self) -> bool:
        """Whether none failed."""
        return not self.failures

    @property
    def summary(self) -> str:
        """The count, in one sentence."""
        failed = len(self.failures)
        return (
            f"{self.kind} {self.name} ({self.origin}): {self.ran} of {self.applicable} checks ran, "
            f"{failed} failed."
        )

    def __str__(self) -> str:
        width = max(len(result.check) for result in self.results)
        lines = [self.summary]
        for result in self.results:
            detail = result.detail.replace("\n", "\n" + " " * (width + 12))
            told = detail if result.status != "passed" else result.promise
            lines.append(f"  {MARKS[result.status]:<8} {result.check:<{width}}  {told}".rstrip())
        if self.settings:
            lines.append("built for: " + "; ".join(self.settings))
        return "\n".join(lines)

    def require(self, at_least: int = 1) -> None:
        """For a test: fail where a check failed, or where fewer ran than expected.

        Args:
            at_least: Checks that must have run, so that a kit that runs nothing doesn't pass.

        Raises:
            AssertionError: The report, as text.
        """
        if not self.ok:
            raise AssertionError(str(self))
        if self.ran < at_least:
            raise AssertionError(f"{self}\nOnly {self.ran} checks ran; {at_least} were expected.")
