"""Sums by cluster (speaker, session, fold) of which every figure is a function: N utterances, G clusters, C classes.

What is added up by cluster can be pooled, broken down and left out one cluster at a time without a second look at the
predictions.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def cluster_sums(values: FloatArray, cluster: IntArray, groups: int) -> FloatArray:
    """Sum by cluster: (A, K), (A,) -> (G, K)."""
    columns = [np.bincount(cluster, weights=column, minlength=groups) for column in values.T]
    return np.stack(columns, axis=-1)


def outer_sums(left: FloatArray, right: FloatArray, cluster: IntArray, groups: int) -> FloatArray:
    """Sum of outer products by cluster: (A, K), (A, L), (A,) -> (G, K, L)."""
    order = np.argsort(cluster, kind="stable")
    bounds = np.searchsorted(cluster[order], np.arange(groups + 1))
    left, right = left[order], right[order]
    slices = [slice(first, last) for first, last in itertools.pairwise(bounds)]
    return np.stack([left[one].T @ right[one] for one in slices])


def class_sums(truth: IntArray, predicted: IntArray, cluster: IntArray, shape: tuple[int, int]) -> FloatArray:
    """One confusion matrix a cluster.

    Args:
        truth: (N,) class indices.
        predicted: (N,) class indices.
        cluster: (N,) cluster of each utterance.
        shape: (G clusters, C classes).

    Returns:
        (G, C, C) counts, truth in rows.
    """
    groups, classes = shape
    flat = (cluster * classes + truth) * classes + predicted
    return np.bincount(flat, minlength=groups * classes**2).reshape(groups, classes, classes).astype(float)


def dimension_sums(truth: FloatArray, predicted: FloatArray, cluster: IntArray, groups: int) -> FloatArray:
    """Sums of :func:`paired_sums` by cluster: (N,) values, (N,) -> (G, 6) n, x, y, xx, yy, xy."""
    return cluster_sums(_moments(truth, predicted), cluster, groups)


def paired_sums(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> FloatArray:
    """Sums from which CCC is computed: (..., N) twice -> (..., 6) sums n, x, y, xx, yy, xy over the last axis."""
    return _moments(truth, predicted).sum(-2)


def _moments(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> FloatArray:
    x, y = np.asarray(truth, dtype=float), np.asarray(predicted, dtype=float)
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)
