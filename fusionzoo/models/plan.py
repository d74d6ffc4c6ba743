"""What assembly resolved of a combo: every option, every shape, every conversion; free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fusionzoo.grammar import Combo, spec_hash


@dataclass(frozen=True)
class Stage:
    """One row of a plan: a part or a conversion, what it gives and what it costs."""

    feature: str
    part: str
    gives: str
    parameters: int
    conversion: bool = False


@dataclass(frozen=True)
class Plan:
    """A combo resolved for one data set: every option, every shape, every conversion.

    Args:
        combo: The spec with the data set's suggestions written out, canonical.
        stages: Parts and conversions in the order of the flow.
        options: Per component call, all of its options, defaults included.
        weights: Per component call, the file that it was filled from.
    """

    combo: Combo
    stages: tuple[Stage, ...]
    options: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, str] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Name of the combo: the same resolved meaning has the same hash."""
        return spec_hash(self.combo)

    @property
    def conversions(self) -> tuple[str, ...]:
        """The conversions that assembly put in, one line each."""
        return tuple(f"{s.feature}: {s.part} -> {s.gives}" for s in self.stages if s.conversion)
