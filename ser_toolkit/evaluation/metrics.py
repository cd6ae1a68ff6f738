"""Metrics of classes and dimensions in numpy: UA, WA, F1 and CCC, from confusion matrices and sums by cluster.

Every figure is a function of something additive (a confusion matrix, or six sums), so that a result pooled over
folds, one speaker's result and a resampled result are the same few lines. Functions of ``confusion`` take
``(..., C, C)`` arrays with the truth in rows and the prediction in columns, and return ``(...)``.

torchmetrics and scikit-learn compute most of these from predictions; here they are functions of what can be added up,
because the intervals leave out one speaker after the other, and they need no torch. ``ser_toolkit.torchmetrics`` wraps
them as metric classes.

UA and WA are the field's names: UA, unweighted accuracy, is the unweighted average recall (UAR); WA, weighted
accuracy, is plain accuracy, in which frequent classes weigh more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.sums import FloatArray, IntArray, paired_sums
from ser_toolkit.terms import Json


def _divide(numerator: FloatArray, denominator: FloatArray, undefined: float = np.nan) -> FloatArray:
    """Elementwise quotient, ``undefined`` where the denominator is 0."""
    safe = np.where(denominator == 0, 1.0, denominator)
    return np.where(denominator == 0, undefined, numerator / safe)


def _mean_where(values: FloatArray, counted: npt.NDArray[np.bool_]) -> FloatArray:
    """Mean of (..., C) over the classes that count; NaN where none does."""
    return _divide(np.where(counted, values, 0.0).sum(-1), counted.sum(-1).astype(float))


def confusion_matrix(truth: npt.ArrayLike, predicted: npt.ArrayLike, num_classes: int) -> IntArray:
    """Count utterances per true class (rows) and predicted class (columns).

    Args:
        truth: (N,) class indices from 0 to ``num_classes`` - 1.
        predicted: (N,) class indices in the same order.
        num_classes: C.

    Returns:
        (C, C) counts.

    Raises:
        ResultError: no utterances, different lengths, or an index that is no class.

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], 2).tolist()
    [[1, 1], [0, 1]]
    """
    true, guess = _indices(truth, "truth", num_classes), _indices(predicted, "predicted", num_classes)
    _require_pairs(len(true), len(guess))
    return np.bincount(true * num_classes + guess, minlength=num_classes**2).reshape(num_classes, num_classes)


def _indices(values: npt.ArrayLike, what: str, num_classes: int) -> IntArray:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise ResultError(f"{what} is {array.dtype} of shape {array.shape}; expected (N,) class indices (integers).")
    outside = np.unique(array[(array < 0) | (array >= num_classes)])
    if outside.size:
        raise ResultError(
            f"{what} holds {outside[:5].tolist()}, which are no classes (expected 0 to {num_classes - 1}). "
            "Leave out utterances without a label before scoring."
        )
    return array.astype(np.int64)


def _require_pairs(truth: int, predicted: int) -> None:
    if truth != predicted:
        raise ResultError(f"truth has {truth} values and predicted {predicted}; both must list the same utterances.")
    if truth == 0:
        raise ResultError("There is nothing to score: truth and predicted are empty.")


def recall(confusion: npt.ArrayLike) -> FloatArray:
    """Recall per class, NaN where the class is absent from the truth: (..., C, C) -> (..., C) in [0, 1]."""
    counts = np.asarray(confusion, dtype=float)
    return _divide(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1))


def precision(confusion: npt.ArrayLike) -> FloatArray:
    """Precision per class, NaN where the class is never predicted: (..., C, C) -> (..., C) in [0, 1]."""
    counts = np.asarray(confusion, dtype=float)
    return _divide(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-2))


def f1(confusion: npt.ArrayLike) -> FloatArray:
    """F1 per class, 2 TP / (2 TP + FP + FN), NaN where neither truth nor prediction has the class."""
    counts = np.asarray(confusion, dtype=float)
    return _divide(2 * np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1) + counts.sum(-2))


def uar(confusion: npt.ArrayLike) -> FloatArray:
    r"""UA, unweighted average recall: mean recall over the classes present in the truth, in [0, 1].

    .. math:: \text{UAR} = \frac{1}{|P|} \sum_{c \in P} \frac{TP_c}{TP_c + FN_c}, \quad P = \{c : TP_c + FN_c > 0\}

    A class that the truth lacks has no recall and does not count. This is ``balanced_accuracy_score`` of
    scikit-learn. ``audmetric.unweighted_average_recall`` and ``recall_score(average="macro")`` count a class that is
    absent from the truth but predicted with recall 0: for truth [0, 0, 1, 1] and prediction [0, 2, 1, 1] they give
    0.50 where this gives 0.75. Pooled over the folds of a corpus the two agree, in a single fold they may not.

    Source: Schuller, Steidl and Batliner, "The INTERSPEECH 2009 Emotion Challenge", Interspeech 2009, section 3.

    >>> float(uar(confusion_matrix([0, 0, 1, 1], [0, 2, 1, 1], 3)))
    0.75
    """
    counts = np.asarray(confusion, dtype=float)
    return _mean_where(recall(counts), counts.sum(-1) > 0)


def accuracy(confusion: npt.ArrayLike) -> FloatArray:
    """WA, weighted accuracy: the share of utterances whose class is right, in [0, 1]."""
    counts = np.asarray(confusion, dtype=float)
    return _divide(np.trace(counts, axis1=-2, axis2=-1), counts.sum((-2, -1)))


def macro_f1(confusion: npt.ArrayLike) -> FloatArray:
    """Mean F1 over the classes present in truth or prediction (scikit-learn's ``average="macro"``), in [0, 1]."""
    counts = np.asarray(confusion, dtype=float)
    return _mean_where(f1(counts), counts.sum(-1) + counts.sum(-2) > 0)


def weighted_f1(confusion: npt.ArrayLike) -> FloatArray:
    """Mean F1 weighted by each class's share of the truth (scikit-learn's ``average="weighted"``), in [0, 1]."""
    counts = np.asarray(confusion, dtype=float)
    support = counts.sum(-1)
    return _divide((np.where(support > 0, f1(counts), 0.0) * support).sum(-1), support.sum(-1))


def classification_metrics(truth: npt.ArrayLike, predicted: npt.ArrayLike, num_classes: int) -> Json:
    """All class metrics of a set of utterances, ready for JSON.

    Args:
        truth: (N,) class indices; utterances without a label are left out by the caller.
        predicted: (N,) class indices.
        num_classes: C.

    Returns:
        ``uar`` (UA), ``accuracy`` (WA), ``macro_f1`` and ``weighted_f1`` in [0, 1]; ``utterances`` (N);
        ``recall``, ``precision``, ``f1`` and ``support`` as lists of C values in class order, None where a value is
        undefined (no such class in the truth, or never predicted); ``confusion`` (C, C), truth in rows.

    Raises:
        ResultError: see :func:`confusion_matrix`.
    """
    return summarise_confusion(confusion_matrix(truth, predicted, num_classes))


def summarise_confusion(confusion: npt.ArrayLike) -> Json:
    """All class metrics of one (C, C) confusion matrix; see :func:`classification_metrics` for the keys."""
    counts = np.asarray(confusion)
    return {
        "uar": float(uar(counts)),
        "accuracy": float(accuracy(counts)),
        "macro_f1": float(macro_f1(counts)),
        "weighted_f1": float(weighted_f1(counts)),
        "utterances": int(counts.sum()),
        "recall": _json_list(recall(counts)),
        "precision": _json_list(precision(counts)),
        "f1": _json_list(f1(counts)),
        "support": [int(count) for count in counts.sum(-1)],
        "confusion": counts.astype(int).tolist(),
    }


def _json_list(values: FloatArray) -> Sequence[float | None]:
    """JSON has no NaN: undefined is null."""
    return [None if np.isnan(value) else float(value) for value in values]


def ccc_of_sums(sums: npt.ArrayLike) -> FloatArray:
    """CCC from the sums n, x, y, xx, yy, xy of :func:`paired_sums`: (..., 6) -> (...); NaN where undefined."""
    n, x, y, xx, yy, xy = np.moveaxis(np.asarray(sums, dtype=float), -1, 0)
    safe = np.where(n < 2, np.nan, n)
    mean_x, mean_y = x / safe, y / safe
    # A variance below the rounding error of its own sums is the variance of a constant.
    floor = 8 * np.finfo(float).eps
    variance_x, variance_y = xx / safe - mean_x**2, yy / safe - mean_y**2
    variance_x = np.where(variance_x <= floor * xx / safe, 0.0, variance_x)
    variance_y = np.where(variance_y <= floor * yy / safe, 0.0, variance_y)
    covariance = np.where((variance_x == 0) | (variance_y == 0), 0.0, xy / safe - mean_x * mean_y)
    return _divide(2 * covariance, variance_x + variance_y + (mean_x - mean_y) ** 2)


def concordance_cc(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    r"""Concordance correlation coefficient of one dimension over a whole set, in [-1, 1].

    .. math:: \rho_c = \frac{2 \sigma_{xy}}{\sigma_x^2 + \sigma_y^2 + (\mu_x - \mu_y)^2}

    with population moments (divided by N). It is 0 when one side is constant and NaN when it is undefined: fewer
    than two rated utterances, or both sides the same constant. It is never to be averaged over batches.

    Source: Lin, "A concordance correlation coefficient to evaluate reproducibility", Biometrics 45(1), 1989.

    Args:
        truth: (N,) ratings; NaN marks an utterance without a rating, which is left out.
        predicted: (N,) predictions, finite wherever the truth is.

    Raises:
        ResultError: nothing to score, different lengths, or a prediction that is not a number.

    >>> round(concordance_cc([0.0, 1.0, 2.0], [0.0, 1.0, 4.0]), 4)
    0.6667
    """
    x, y = np.asarray(truth, dtype=float), np.asarray(predicted, dtype=float)
    _require_pairs(len(x), len(y))
    rated = ~np.isnan(x)
    if not np.isfinite(y[rated]).all():
        bad = int((~np.isfinite(y[rated])).sum())
        raise ResultError(f"{bad} of {int(rated.sum())} predictions are not finite numbers; check the training loss.")
    # CCC does not change when both sides are shifted alike; values near 0 lose no digits in the sums.
    centre = x[rated].mean() if rated.any() else 0.0
    return float(ccc_of_sums(paired_sums(x[rated] - centre, y[rated] - centre)))
