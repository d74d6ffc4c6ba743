"""Run the checks that apply to a component, in order, and count them."""

import io
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from fusionzoo.conformance.checks import CHECKS
from fusionzoo.conformance.examination import MODELS, Check, Examination
from fusionzoo.conformance.report import Fault, Inapplicable, NotRun, Report, Result
from fusionzoo.conformance.settings import accepted
from fusionzoo.conformance.subject import Subject, find_subjects
from fusionzoo.errors import BadOption


def check(
    component: Any, *, kind: str | None = None, name: str | None = None, slow: bool = False
) -> Report:
    """Hold one component to everything that the interface promises about its kind.

    Args:
        component: A class; a name with options if wanted (`penet3d(width=0.25)`); `module:Class`;
            the path of a Python file; an open data set; or a `Subject`.
        kind: encoder, neck, fusion, head, dataset or augmentation, where a name is one of several.
        name: What a class that isn't registered is to be called.
        slow: Whether to run `torch.compile` and `torch.export` too, some seconds each.

    Returns:
        One result per check; `report.require(at_least=...)` is for tests.

    Raises:
        UnknownComponent: Nothing has that name.
        BadOption: It means more than one component, or an option that it doesn't have.
        PluginError: It can't be imported.

    Example:
        >>> report = check("concat")
        >>> report.ok, report.ran > 12
        (True, True)
    """
    found = [component] if isinstance(component, Subject) else find_subjects(component, kind, name)
    if len(found) > 1:
        kinds = ", ".join(f"{subject.kind} {subject.name}" for subject in found)
        raise BadOption(f"{component!r} means {len(found)} components: {kinds}. Say which kind.")
    (subject,) = found
    examined = _examined(subject)
    results: list[Result] = []
    for one in CHECKS:
        if subject.kind in one.kinds:
            results.append(_result(one, examined, results, slow))
    settings = tuple(setting.label for setting in examined.fitting)
    return Report(subject.kind, subject.name, subject.origin, settings, tuple(results))


def _examined(subject: Subject) -> Examination:
    """The component built for everything that it can be built for."""
    if subject.kind not in MODELS:
        return Examination(subject)
    try:
        with _muted():
            fitting, refused = accepted(subject)
    except BadOption:
        raise
    except Exception as error:
        told = f"Building it raises {type(error).__name__}: {error}. {_place(error)}"
        return Examination(subject, crashed=told)
    return Examination(subject, fitting, refused)


def _result(one: Check, examined: Examination, before: list[Result], slow: bool) -> Result:
    failed = {result.check for result in before if result.status != "passed"}
    causes = [name for name in one.after if name in failed]
    if causes:
        return Result(one.name, one.promise, "not run", f"'{causes[0]}' comes first")
    if one.slow and not slow:
        return Result(one.name, one.promise, "not run", "it takes seconds; ask for slow checks")
    try:
        with _muted():
            one.run(examined)
    except Fault as fault:
        return Result(one.name, one.promise, "failed", str(fault))
    except NotRun as reason:
        return Result(one.name, one.promise, "not run", str(reason))
    except Inapplicable as reason:
        return Result(one.name, one.promise, "does not apply", str(reason))
    except Exception as error:
        told = f"It raises {type(error).__name__}: {error}\n{_place(error)}"
        return Result(one.name, one.promise, "failed", told)
    return Result(one.name, one.promise, "passed")


@contextmanager
def _muted() -> Iterator[None]:
    """Without warnings and prints of the component, which would hide the report."""
    with (
        warnings.catch_warnings(),
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def _place(error: Exception) -> str:
    """Where an unexpected error came from."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"({frame.filename}:{frame.lineno}, in {frame.name})"
