"""How small a difference in AUROC a test set can show at all."""

from __future__ import annotations

import math
from statistics import NormalDist

from fusionzoo.errors import BadOption


def hanley_mcneil_se(auroc: float, num_positive: int, num_negative: int) -> float:
    """Standard error of an AUROC from its value and the class counts alone.

        Q1 = A / (2 - A),  Q2 = 2 A^2 / (1 + A)
        SE^2 = (A (1 - A) + (n1 - 1)(Q1 - A^2) + (n0 - 1)(Q2 - A^2)) / (n1 n0)

    Source: Hanley and McNeil, Radiology 143, 1982.

    Args:
        auroc: The AUROC, between 0 and 1.
        num_positive: Positive cases, n1.
        num_negative: Negative cases, n0.

    Raises:
        BadOption: An AUROC outside of 0 to 1, or an empty class.

    Example:
        >>> round(hanley_mcneil_se(0.786, 15, 28), 3)
        0.078
    """
    if not 0 <= auroc <= 1:
        raise BadOption(f"An AUROC lies between 0 and 1; {auroc} was given.")
    if num_positive < 1 or num_negative < 1:
        raise BadOption(
            f"Both classes need cases; {num_positive} positive and {num_negative} negative were "
            "given."
        )
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    spread = (
        auroc * (1 - auroc)
        + (num_positive - 1) * (q1 - auroc**2)
        + (num_negative - 1) * (q2 - auroc**2)
    )
    return math.sqrt(max(spread, 0.0) / (num_positive * num_negative))


def detectable_difference(
    auroc: float,
    num_positive: int,
    num_negative: int,
    *,
    correlation: float = 0.5,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float:
    """The smallest gain over `auroc` that a paired two-sided test finds; NaN where none can.

    Solves d = z_alpha/2 SE0 + z_power SE(d), where SE(d)^2 = se(A)^2 + se(A + d)^2 - 2 r se(A) se(A
    + d), SE0 = SE(0) and se is `hanley_mcneil_se`.

    Args:
        auroc: AUROC of the weaker model.
        num_positive: Positive patients.
        num_negative: Negative patients.
        correlation: Correlation r of the two AUROCs; from `AurocComparison.correlation` where there
            are predictions.
        power: Chance to find the difference.
        alpha: Chance to find one where there is none.

    Raises:
        BadOption: A value outside of its range.
    """
    for name, value, least in (
        ("correlation", correlation, -1),
        ("power", power, 0),
        ("alpha", alpha, 0),
    ):
        if not least < value < 1:
            raise BadOption(f"{name} lies between {least} and 1; {value} was given.")
    z_alpha, z_power = NormalDist().inv_cdf(1 - alpha / 2), NormalDist().inv_cdf(power)
    weaker = hanley_mcneil_se(auroc, num_positive, num_negative)

    def se(gain: float) -> float:
        stronger = hanley_mcneil_se(min(auroc + gain, 1.0), num_positive, num_negative)
        return math.sqrt(max(weaker**2 + stronger**2 - 2 * correlation * weaker * stronger, 0.0))

    def shortfall(gain: float) -> float:
        return z_alpha * se(0.0) + z_power * se(gain) - gain

    low, high = 0.0, 1.0 - auroc
    if shortfall(high) > 0:
        return math.nan
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if shortfall(middle) > 0 else (low, middle)
    return high
