"""Nothing happens at import, and constructors only build."""

import importlib.util

from fusionzoo import registry
from fusionzoo.conformance.examination import EVERY, Check, Examination
from fusionzoo.conformance.quiet import random_states, seeded, watch
from fusionzoo.conformance.report import Fault, Inapplicable


def check_import(examined: Examination) -> None:
    """Executing the module once more does nothing to the process."""
    module = examined.subject.module
    spec = module and (
        importlib.util.spec_from_file_location(module.__name__, module.__file__)
        if module.__spec__ is None
        else module.__spec__
    )
    if spec is None or spec.loader is None:
        raise Inapplicable("it isn't defined in a file")
    again = importlib.util.module_from_spec(spec)
    before = random_states()
    known = dict(registry._notebook)
    try:
        with watch() as deeds:
            spec.loader.exec_module(again)
    finally:
        registry._notebook.clear()
        registry._notebook.update(known)
    after = random_states()
    deeds += [f"draws from {name}" for name in before if before[name] != after.get(name)]
    if deeds:
        raise Fault(f"Importing {module.__name__} {_listed(deeds)}.")


def check_construction(examined: Examination) -> None:
    """Building it does nothing to the process, and seeds no generator."""
    ends = []
    for seed in (1, 2):
        with seeded(seed):
            before = random_states()
            with watch() as deeds:
                examined.first.make()
            after = random_states()
        if deeds:
            raise Fault(f"Building it {_listed(deeds)}.")
        ends.append((before, after))
    (before_1, after_1), (before_2, after_2) = ends
    fixed = [
        name
        for name in before_1
        if before_1[name] != before_2[name] and after_1[name] == after_2[name]
    ]
    if fixed:
        raise Fault(
            f"Building it seeds {' and '.join(fixed)}: whatever the state before, it is the same "
            "afterwards, so every weight drawn later is too."
        )


def _listed(deeds: list[str]) -> str:
    more = f", and {len(deeds) - 4} more" if len(deeds) > 4 else ""
    return "; ".join(deeds[:4]) + more


CHECKS = (
    Check(
        "import",
        "Importing it prints nothing, opens no files or connections, and draws no random numbers.",
        check_import,
        EVERY,
    ),
    Check(
        "construction",
        "Building it prints nothing, opens no files or connections, and seeds no generator.",
        check_construction,
        after=("sizes",),
    ),
)
