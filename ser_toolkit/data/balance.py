"""Balanced sampling: how often each utterance of the training part is drawn, so that groups count alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ser_toolkit.errors import RecipeError, nearest

#: Columns that may be balanced, from the largest to the smallest in the customary order.
GROUPS = ("corpus", "language", "label", "speaker", "sex", "session", "dialogue", "style")


def check_balance(balance: Sequence[str]) -> None:
    """Refuse a column that cannot be balanced.

    Raises:
        RecipeError: a name is unknown or comes twice.
    """
    for name in balance:
        if name not in GROUPS:
            raise RecipeError(f"data.balance names {name!r}. {nearest(name, GROUPS)} For example data.balance=[label].")
    if len(set(balance)) < len(balance):
        raise RecipeError(f"data.balance is {list(balance)}: each name counts once. For example [corpus,label].")


def balanced_weights(table: pd.DataFrame, balance: Sequence[str]) -> np.ndarray:
    """The share of draws that each utterance gets: (N,), sums to 1.

    Groups are divided one after the other: [corpus, label, speaker] gives every corpus the same share, inside a corpus
    every class, inside a class every speaker, and inside a speaker every utterance.

    Args:
        table: the training part, with ``label`` as it is trained on.
        balance: columns; utterances without a value are a group of their own.

    Raises:
        RecipeError: nothing is known of a column.
    """
    share, group = np.ones(len(table)), np.zeros(len(table), np.int64)
    for name in balance:
        if table[name].isna().all():
            single = " This is a single corpus: leave corpus out." if name == "corpus" else ""
            raise RecipeError(f"data.balance names {name}, of which nothing is known in this training part.{single}")
        code = pd.factorize(table[name], use_na_sentinel=False)[0]
        finer = np.unique(np.stack([group, code]), axis=1, return_inverse=True)
        children = np.bincount(finer[0][0])  # distinct values in each group so far
        share /= children[group]
        group = finer[1].reshape(-1)
    return share / np.bincount(group)[group]


def draw(shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many draws as there are utterances: (N,) rows, shuffled; row i comes N * share times, rounded up or down.

    Systematic resampling: one random number decides all roundings, in a random order of the rows, so that an epoch
    differs from the expected counts by less than one draw an utterance.

    Source:
        G. Kitagawa, "Monte Carlo filter and smoother for non-Gaussian nonlinear state space models", J. Computational
        and Graphical Statistics 5(1), 1996, appendix.
    """
    order = rng.permutation(len(shares))
    edges = np.cumsum(shares[order])
    edges = np.floor(edges / edges[-1] * len(shares) + rng.random())
    times = np.diff(edges, prepend=0.0).astype(int)
    return rng.permutation(np.repeat(order, times))
