"""Every check, in the order of a report: what is said first, what it costs to run last."""

from fusionzoo.conformance.checks import (
    augmentation,
    compiling,
    dataset,
    description,
    features,
    learning,
    missing,
    moving,
    quietness,
    repeating,
)
from fusionzoo.conformance.examination import Check

CHECKS: tuple[Check, ...] = (
    *description.CHECKS,
    *features.CHECKS,
    *quietness.CHECKS,
    *learning.CHECKS,
    *repeating.CHECKS,
    *missing.CHECKS,
    *moving.CHECKS,
    *compiling.CHECKS,
    *dataset.CHECKS,
    *augmentation.CHECKS,
)

__all__ = ["CHECKS"]
