r"""Figures of agreement as functions of sums: Krippendorff's alpha, split halves, and F1 of answers that are no class.

*Krippendorff's alpha* is agreement beyond chance, 1 - D_o / D_e, from the coincidences of values c and k (o_ck, their
sums n_c and n):

.. math:: \alpha_{nominal} = 1 - (n - 1) \frac{n - \sum_c o_{cc}}{n^2 - \sum_c n_c^2}

and for interval data with squared differences in place of c != k. *Split-half reliability* is the correlation of the
mean answers of two random halves of the raters over utterances, stepped up to all raters (Spearman-Brown, 2r/(1 + r)):
how well the same number of other people would reproduce the mean.

The package krippendorff gives alpha of a whole table; here it is a function of sums by speaker, from which its interval
is made.

Sources: Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, sections C and D; Spearman, "Correlation
calculated from faulty data", British Journal of Psychology 3, 1910; Brown, "Some experimental results in the
correlation of mental abilities", same volume.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ser_toolkit.evaluation import metrics
from ser_toolkit.evaluation.sums import FloatArray
from ser_toolkit.evaluation.uncertainty import Statistic


def nominal_alpha(sums: npt.ArrayLike) -> FloatArray:
    """Krippendorff's alpha of (..., K, K) coincidences; NaN where all answers are the same."""
    pairs = np.asarray(sums, dtype=float)
    of_value = pairs.sum(-1)
    n = of_value.sum(-1)
    apart, expected = n - np.trace(pairs, axis1=-2, axis2=-1), n**2 - (of_value**2).sum(-1)
    undefined = expected <= 1e-9 * np.maximum(n**2, 1)
    return np.where(undefined, np.nan, 1 - (n - 1) * apart / np.where(undefined, 1, expected))


def interval_alpha(sums: npt.ArrayLike) -> FloatArray:
    """Krippendorff's alpha of the (..., 4) sums n, x, xx and squared differences within utterances."""
    n, x, xx, apart = np.moveaxis(np.asarray(sums, dtype=float), -1, 0)
    expected = 2 * (n * xx - x**2)
    undefined = expected <= 1e-9 * np.maximum(n * xx, 1e-300)
    return np.where(undefined, np.nan, 1 - (n - 1) * apart / np.where(undefined, 1, expected))


def stepped_up(sums: npt.ArrayLike) -> FloatArray:
    """Spearman-Brown of the (..., 4 + 2 K) sums n, aa, bb, ab, a (K), b (K) of two halves; NaN where one is constant.

    With several classes, shares are centred class by class and correlated together. Negative r, for which the formula
    was not made, is stepped up as its opposite, 2r / (1 + |r|), so that chance stays 0 and -1 the end.
    """
    values = np.asarray(sums, dtype=float)
    n, aa, bb, ab = np.moveaxis(values[..., :4], -1, 0)
    a, b = np.split(values[..., 4:], 2, axis=-1)
    n = np.where(n < 2, np.nan, n)
    va, vb = aa / n - ((a / n[..., None]) ** 2).sum(-1), bb / n - ((b / n[..., None]) ** 2).sum(-1)
    undefined = ~((va > 1e-12 * aa / n) & (vb > 1e-12 * bb / n))
    r = (ab / n - (a * b).sum(-1) / n**2) / np.sqrt(np.where(undefined, 1, va * vb))
    return np.where(undefined, np.nan, 2 * r / (1 + np.abs(r)))


def macro_f1(confusion: npt.ArrayLike) -> FloatArray:
    """``metrics.macro_f1`` of a (..., C, C + 1) confusion; answers in the last column are wrong, but no class."""
    counts = np.asarray(confusion, dtype=float)
    hits, either = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1) + counts[..., :-1].sum(-2)
    present = either > 0
    found = np.where(present, 2 * hits / np.where(present, either, 1), 0).sum(-1)
    return found / np.where(present.any(-1), present.sum(-1), np.nan)


#: Functions of a (C, C + 1) confusion: the last column holds answers that are none of the classes.
AGREEMENT = (
    Statistic("uar", "UA", metrics.uar),
    Statistic("accuracy", "WA", metrics.accuracy),
    Statistic("macro_f1", "macro-F1", macro_f1),
)
NOMINAL = Statistic("alpha", "Krippendorff's alpha", nominal_alpha, low=-1.0)
INTERVAL = Statistic("alpha", "Krippendorff's alpha", interval_alpha, low=-1.0)
SPLIT_HALF = Statistic("split_half", "split-half reliability", stepped_up, low=-1.0)
