r"""p-value of a paired difference, and its adjustment where several differences are tested.

The p-value belongs to the interval of ``evaluation/uncertainty.py``: the same jackknife standard error, the same
Student's t with G - 1 degrees of freedom, on the same logit scale, on which a difference of 0 is 0. So a 95 % interval
is clear of 0 exactly when p < 0.05.
"""

from __future__ import annotations

from collections.abc import Sequence

from scipy.special import logit, stdtr, stdtrit

from ser_toolkit.evaluation.uncertainty import Interval


def p_value(difference: Interval, reach: float = 1.0) -> float | None:
    r"""Two-sided p of a paired difference against no difference.

    On the logit scale the interval is :math:`z \pm t_{G-1} \widehat{se}`, from which the standard error is taken back.

    Args:
        difference: a paired difference and its interval.
        reach: the difference lies in (-reach, reach): 1 for shares, 2 for CCC.

    Returns:
        Between 0 and 1; 1 where all clusters agree on no difference at all; None where there is no interval, or where
        all clusters agree exactly on another difference.

    >>> round(p_value(Interval(0.1, 0.0, 0.199, clusters=11)), 2)
    0.05
    """
    low, high = difference.low, difference.high
    if low is None or high is None:
        return None
    if low == high:
        return 1.0 if difference.estimate == 0 else None
    ends = [(value + reach) / (2 * reach) for value in (low, difference.estimate, high)]
    if not all(0 < end < 1 for end in ends):
        return None
    lowest, centre, highest = (float(logit(end)) for end in ends)
    freedom = difference.clusters - 1
    error = (highest - lowest) / 2 / float(stdtrit(freedom, 0.5 + difference.level / 2))
    return float(2 * stdtr(freedom, -abs(centre) / error))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust for the number of comparisons: the chance of any false alarm among them stays below the level.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6(2),
    1979: the i-th smallest of m is multiplied by m - i + 1, and no adjusted value is below one of a smaller p.

    Args:
        p_values: one a comparison; None where there is none (it still counts as a comparison).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    # statsmodels has it too: a large package for these lines
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(p_values) - rank)))
        adjusted[place] = largest
    return adjusted
