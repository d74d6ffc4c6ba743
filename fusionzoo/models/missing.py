"""What a combo does with cases that lack a modality, and cases that it can't take at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fusionzoo import registry
from fusionzoo.errors import DataError
from fusionzoo.grammar import Combo

#: Cases that one problem names.
_NAMED = 5
#: What each policy does, in words.
POLICIES: Mapping[str, str] = {
    "zero": "features of an absent modality are zeros",
    "mask": "the fusion leaves an absent modality out",
    "refuse": "the fusion needs every modality of every case",
    "alone": "there is one modality, which every case needs",
}


def missing_policy(combo: Combo) -> str:
    """`zero`, `mask` or `refuse`, as the first fusion declares it; `alone` without a fusion."""
    if combo.fusion is None:
        return "alone"
    return str(registry.load("fusion", combo.fusion.calls[0].name).missing)


def check_present(
    combo: Combo, present: Mapping[str, np.ndarray], cases: Sequence[str], source: str
) -> None:
    """Refuse cases that lack what the combo needs.

    Args:
        combo: What reads them.
        present: Per modality that it reads, which cases have it.
        cases: Names of the cases.
        source: What the error calls the data.

    Raises:
        DataError: A fusion that needs every modality, or the only one there is, is absent from some
            cases, or some cases have none at all; they are named.
    """
    streams = {
        "+".join(stream): np.any([present[name] for name in stream], axis=0)
        for binding in combo.bindings
        for stream in binding.inputs
    }
    policy = missing_policy(combo)
    problems = []
    if policy in ("refuse", "alone"):
        for name, there in streams.items():
            if not np.all(there):
                lacking = _lacking(cases, there, f"no {name!r}")
                problems.append(f"{lacking}, and {_why(combo, policy)}")
    elif not np.all(some := np.any(list(streams.values()), axis=0)):
        lacking = _lacking(cases, some, f"none of {', '.join(streams)}")
        problems.append(f"{lacking}: there is nothing to predict from. Leave them out.")
    if problems:
        raise DataError(problems, source)


def _lacking(cases: Sequence[str], there: Any, what: str) -> str:
    names = [case for case, has in zip(cases, there, strict=True) if not has]
    more = ", ..." * (len(names) > _NAMED)
    many = f"{len(names)} cases have" if len(names) > 1 else "1 case has"
    return f"{many} {what} ({', '.join(names[:_NAMED])}{more})"


def _why(combo: Combo, policy: str) -> str:
    if policy == "alone":
        return (
            "the spec reads nothing else. Leave them out of the manifest, or add a modality and a "
            "fusion."
        )
    assert combo.fusion is not None
    return (
        f"fusion {combo.fusion.calls[0].name!r} needs every modality of every case. Leave them out "
        "of the manifest, or use a fusion that takes them (concat, late)."
    )
