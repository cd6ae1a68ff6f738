"""Rows of predictions as sums per run and group: pooling, breaking down and leaving a speaker out are one arithmetic.

A *run* here is one seed and one draw, pooled over folds; figures are computed a run and then averaged over runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.distributions import VOTE_STATISTICS, VOTES, distribution_sums, vote_shares
from ser_toolkit.evaluation.predictions import class_indices, predicted_column, probability_columns
from ser_toolkit.evaluation.sums import FloatArray, class_sums, dimension_sums
from ser_toolkit.evaluation.uncertainty import CCC, CLASS_STATISTICS, Statistic
from ser_toolkit.terms import DIMENSIONS, Json, natural_key


@dataclass(frozen=True)
class Figure:
    """A statistic of one target: the classes, or what ``target`` names, one dimension or the votes."""

    statistic: Statistic
    target: str = ""

    @property
    def key(self) -> str:
        """Name in files: ``uar`` or ``ccc_valence``."""
        return f"{self.statistic.key}_{self.target}" if self.target else self.statistic.key

    @property
    def name(self) -> str:
        """Name for people: ``UA`` or ``CCC valence``."""
        return self.statistic.name if self.target == VOTES else f"{self.statistic.name} {self.target}".strip()


@dataclass(frozen=True)
class Scored:
    """Rows of one system, with the run that each belongs to.

    Args:
        table: predictions.
        run: (N,) index of the run.
        runs: number of runs.
        classes: class order.
        votes: whether its votes are in these classes, so that distributions can be scored against them.
    """

    table: pd.DataFrame
    run: npt.NDArray[np.int64]
    runs: int
    classes: tuple[str, ...]
    votes: bool = False
    _computed: dict[tuple[str, str | None, tuple[str, ...]], FloatArray] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, table: pd.DataFrame, classes: tuple[str, ...], votes: bool = False) -> Scored:
        """Runs are the seeds and draws of a table."""
        run = table.groupby(["seed", "draw"], sort=True).ngroup().to_numpy().astype(np.int64)
        return cls(table, run, int(run.max(initial=-1)) + 1, classes, votes)

    def sums(self, target: str, groups: Sequence[str], by: str | None) -> FloatArray:
        """(R, G, ...) sums of the classes (``target`` empty), a dimension or the votes, over ``groups`` of ``by``.

        Rows without a truth, or whose group is not in ``groups``, do not count; ``by`` None is one group of all.
        """
        key = (target, by, tuple(groups))
        if key not in self._computed:  # all class figures share one set of sums
            self._computed[key] = self._sums(target, groups, by)
        return self._computed[key]

    def _sums(self, target: str, groups: Sequence[str], by: str | None) -> FloatArray:
        codes = np.zeros(len(self.table), dtype=np.int64) if by is None else class_indices(self.table[by], groups)
        truth, predicted, known = self.distributions() if target == VOTES else self._pairs(target)
        known = known & (codes >= 0)
        cell = (self.run * len(groups) + codes)[known]
        cells = self.runs * len(groups)
        if target == VOTES:
            sums = distribution_sums(truth[known], predicted[known], cell, cells)
        elif target:
            sums = dimension_sums(truth[known], predicted[known], cell, cells)
        else:
            shape = (cells, len(self.classes))
            sums = class_sums(truth[known].astype(int), predicted[known].astype(int), cell, shape)
        return sums.reshape(self.runs, len(groups), *sums.shape[1:])

    def _pairs(self, target: str) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
        if not target:
            truth = class_indices(self.table["label"], self.classes).astype(float)
            return truth, class_indices(self.table["predicted"], self.classes).astype(float), truth >= 0
        truth = self.table[target].to_numpy(dtype=float)
        predicted = self.table[predicted_column(target)].to_numpy(dtype=float)
        known = ~np.isnan(truth) & ~self._without_model(predicted)
        bad = known & ~np.isfinite(predicted)
        if bad.any():
            row = self.table["id"].iloc[int(np.flatnonzero(bad)[0])]
            raise ResultError(f"{int(bad.sum())} predictions of {target} are not numbers, first that of {row}.")
        return truth, predicted, known

    def rated(self) -> Json:
        """Number of utterances that the CCC of each dimension counts."""
        found = {}
        for name in (figure.target for figure in self.figures() if figure.target in DIMENSIONS):
            known = self._pairs(name)[2]
            found[name] = int(self.table.loc[known, "id"].nunique())
        return found

    def _without_model(self, predicted: FloatArray) -> npt.NDArray[np.bool_]:
        """Rows of folds in which nothing at all is predicted: the dimension had no ratings in their training."""
        missing = np.isnan(predicted)
        if not missing.any():
            return missing
        folds = [self.table[name].to_numpy() for name in ("fold", "seed", "draw")]
        return pd.Series(missing).groupby(folds).transform("all").to_numpy(dtype=bool)

    def distributions(self) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
        """(N, C) shares of votes and probabilities, and which utterances have both."""
        shares = vote_shares(self.table["votes"], self.classes)
        given = self.table[probability_columns(self.classes)].to_numpy(dtype=float)
        given = given / given.sum(axis=1, keepdims=True)  # of float32: they sum to 1 in its digits
        return shares, given, ~np.isnan(shares).any(axis=1) & ~np.isnan(given).any(axis=1)

    def figures(self) -> list[Figure]:
        """Figures for which there are truths and predictions."""
        classified = bool(self.classes) and self.table["predicted"].notna().any()
        found = [Figure(s) for s in CLASS_STATISTICS] if classified and self.table["label"].notna().any() else []
        for name in DIMENSIONS:
            if (self.table[name].notna() & self.table[predicted_column(name)].notna()).any():
                found.append(Figure(CCC, name))
        if self.votes and classified and self.table["votes"].notna().any() and self.distributions()[2].any():
            found += [Figure(statistic, VOTES) for statistic in VOTE_STATISTICS]
        return found


def breakdown(rows: Scored, figures: list[Figure], by: str, order: Sequence[str] | None = None) -> list[Json]:
    """One entry a fold, session or speaker: its utterances and figures (averaged over runs, None where undefined)."""
    names = list(order) if order is not None else sorted(set(rows.table[by].dropna()), key=natural_key)
    if not names:
        return []
    counts = rows.table.drop_duplicates(["id", by])[by].value_counts()
    entries: list[Json] = [{by: name, "utterances": int(counts.get(name, 0))} for name in names]
    for figure in figures:
        values = figure.statistic.value(rows.sums(figure.target, names, by))
        for column, entry in enumerate(entries):
            known = values[:, column][~np.isnan(values[:, column])]
            entry[figure.key] = float(known.mean()) if known.size else None
    return entries


def spread(entries: list[Json], figure: Figure) -> Json:
    """Mean, standard deviation (n - 1), worst and best of a breakdown, over the entries where it is defined."""
    key, less_is_better = figure.key, figure.statistic.less_is_better
    known = [(entry[key], str(next(iter(entry.values())))) for entry in entries if entry[key] is not None]
    if not known:
        return {"n": 0, "mean": None, "sd": None, "worst": None, "worst_name": None, "best": None, "best_name": None}
    values = np.array([value for value, _ in known])
    worst, best = min(known, key=lambda item: item[0]), max(known, key=lambda item: item[0])
    worst, best = (best, worst) if less_is_better else (worst, best)
    return {
        "n": len(known),
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)) if len(known) > 1 else None,
        "worst": float(worst[0]),
        "worst_name": worst[1],
        "best": float(best[0]),
        "best_name": best[1],
    }
