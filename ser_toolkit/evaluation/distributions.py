r"""Figures of a model's distribution against the listeners' votes: divergences, and multi-label F1.

Figures of an utterance with shares of votes q and probabilities p over C classes, averaged over utterances:

.. math:: KL(q \| p) = \sum_c q_c \ln \frac{q_c}{p_c}, \quad
   JS(q, p) = \tfrac{1}{2} KL(q \| m) + \tfrac{1}{2} KL(p \| m), \quad m = \tfrac{1}{2} (q + p)

both in nats, 0 where p equals q; JS is at most ln 2 = 0.693. A class without votes adds nothing to KL (0 ln 0 = 0). One
that was voted for but has probability 0 would make it infinite, for one utterance the whole mean: probabilities are
first raised to ``LEAST``, the resolution of the float32 in which they are stored, and divided by their new sum.

*Multi-label*: a class is present where its share, or its probability, lies above 1/C (strictly, as in the all-inclusive
rule); macro-F1 is the mean over all C classes of F1 over all utterances, micro-F1 counts all classes together. A class
that neither side ever shows has F1 0 and counts, as in scikit-learn (``zero_division=0``) on indicator matrices.

Sources: Kullback and Leibler, "On information and sufficiency", Annals of Mathematical Statistics 22(1), 1951; Lin,
"Divergence measures based on the Shannon entropy", IEEE Trans. Information Theory 37(1), 1991; H.-C. Chou et al.,
"Embracing Ambiguity And Subjectivity Using The All-Inclusive Aggregation Rule For Evaluating Multi-Label Speech Emotion
Recognition Systems", IEEE SLT 2024 (threshold 1/C on both sides); Wu et al., "EMO-SUPERB", 2024 (macro-F1 at 1/C).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import rel_entr

from ser_toolkit.evaluation.sums import FloatArray, IntArray, cluster_sums
from ser_toolkit.evaluation.uncertainty import Statistic
from ser_toolkit.terms import TIE

#: Name of the target of these figures, beside the classes and the dimensions.
VOTES = "votes"
#: No probability counts as less: what float32 resolves beside 1.
LEAST = float(np.finfo(np.float32).eps)


def vote_shares(votes: pd.Series, classes: Sequence[str]) -> FloatArray:
    """Shares of the votes for the classes, NaN without any: (N,) JSON texts -> (N, C). Other emotions do not count.

    >>> vote_shares(pd.Series(['{"sad": 3, "calm": 4, "angry": 1}', None]), ["angry", "sad"]).tolist()
    [[0.25, 0.75], [nan, nan]]
    """
    codes, distinct = votes.factorize()  # equal votes are parsed once; -1 means there are none
    counts = np.zeros((len(distinct) + 1, len(classes)))
    for row, text in enumerate(distinct):
        given = json.loads(text)
        counts[row] = [given.get(name, 0.0) for name in classes]
    total = counts.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, counts / np.where(total > 0, total, 1), np.nan)
    return np.asarray(shares[codes], dtype=float)  # the last row, which -1 points to, has none


def kl_divergence(human: FloatArray, model: FloatArray) -> FloatArray:
    """KL(human || model) in nats, at most -ln ``LEAST``: twice (N, C) -> (N,)."""
    raised = np.maximum(model, LEAST)
    return np.asarray(rel_entr(human, raised / raised.sum(axis=1, keepdims=True)).sum(axis=1))


def js_divergence(human: FloatArray, model: FloatArray) -> FloatArray:
    """Jensen-Shannon divergence in nats, at most ln 2: twice (N, C) -> (N,)."""
    middle = (human + model) / 2
    return np.asarray((rel_entr(human, middle) + rel_entr(model, middle)).sum(axis=1) / 2)


def present(shares: FloatArray) -> npt.NDArray[np.bool_]:
    """Which classes have more than 1/C: (N, C) -> (N, C)."""
    return np.asarray(shares > 1 / shares.shape[1] + TIE)


def distribution_sums(human: FloatArray, model: FloatArray, cluster: IntArray, groups: int) -> FloatArray:
    """Sums by cluster from which all figures here are computed.

    Args:
        human: (N, C) shares of votes.
        model: (N, C) probabilities, rows that sum to 1.
        cluster: (N,) cluster of each utterance.
        groups: G.

    Returns:
        (G, 3 + 3 C) utterances, sum of KL, sum of JS; then by class true positives, false positives, false negatives.
    """
    voted, predicted = present(human), present(model)
    parts = [np.ones((len(human), 1)), kl_divergence(human, model)[:, None], js_divergence(human, model)[:, None]]
    return cluster_sums(np.hstack([*parts, voted & predicted, predicted & ~voted, voted & ~predicted]), cluster, groups)


def _mean(place: int, sums: npt.ArrayLike) -> FloatArray:
    values = np.asarray(sums, dtype=float)
    return values[..., place] / np.where(values[..., 0] > 0, values[..., 0], np.nan)


def mean_kl(sums: npt.ArrayLike) -> FloatArray:
    """Mean KL(human || model) over utterances, in nats: (..., 3 + 3 C) -> (...)."""
    return _mean(1, sums)


def mean_js(sums: npt.ArrayLike) -> FloatArray:
    """Mean Jensen-Shannon divergence over utterances, in nats: (..., 3 + 3 C) -> (...)."""
    return _mean(2, sums)


def _counts(sums: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Utterances (...), and 2 TP and 2 TP + FP + FN by class (..., C)."""
    values = np.asarray(sums, dtype=float)
    hits, false, missed = np.split(values[..., 3:], 3, axis=-1)
    return values[..., 0], 2 * hits, 2 * hits + false + missed


def multilabel_macro_f1(sums: npt.ArrayLike) -> FloatArray:
    """Mean F1 over all classes, 0 for one that neither side shows: (..., 3 + 3 C) -> (...)."""
    count, hits, either = _counts(sums)
    return np.where(count > 0, (hits / np.where(either > 0, either, 1)).mean(-1), np.nan)


def multilabel_micro_f1(sums: npt.ArrayLike) -> FloatArray:
    """F1 of all decisions together, 0 where nothing is shown: (..., 3 + 3 C) -> (...)."""
    count, hits, either = _counts(sums)
    shown = either.sum(-1)
    return np.where(count > 0, hits.sum(-1) / np.where(shown > 0, shown, 1), np.nan)


#: Functions of ``distribution_sums``. No mean of KL reaches 16 = -ln(LEAST) + 0.06.
VOTE_STATISTICS = (
    Statistic("kl", "KL", mean_kl, high=16.0, less_is_better=True),
    Statistic("js", "JS", mean_js, high=float(np.log(2)), less_is_better=True),
    Statistic("macro_f1", "multi-label macro-F1", multilabel_macro_f1),
    Statistic("micro_f1", "multi-label micro-F1", multilabel_micro_f1),
)
#: Their names in files: ``kl_votes``, ``js_votes``, ``macro_f1_votes``, ``micro_f1_votes``.
VOTE_FIGURES = tuple(f"{statistic.key}_{VOTES}" for statistic in VOTE_STATISTICS)
