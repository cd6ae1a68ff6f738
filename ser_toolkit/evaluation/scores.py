"""Figures of a run: every system pooled, by fold, seed, session, speaker and corpus, and differences of systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.metrics import summarise_confusion
from ser_toolkit.evaluation.predictions import predicted_column
from ser_toolkit.evaluation.results import Results, System
from ser_toolkit.evaluation.rows import Figure, Scored, breakdown, spread
from ser_toolkit.evaluation.sums import FloatArray
from ser_toolkit.evaluation.uncertainty import CLUSTERS, Interval, Statistic, cluster_interval, paired_interval
from ser_toolkit.terms import DIMENSIONS, PLAIN, Json, natural_key


class Scorer:
    """Computes the figures of one run directory.

    Args:
        results: what was loaded.
        level: nominal coverage of intervals.
    """

    def __init__(self, results: Results, level: float = 0.95) -> None:
        self.results = results
        self.level = level
        self.votes = results.votes_in_classes
        self.cluster_by = results.record.protocol.cluster_by
        if self.cluster_by not in CLUSTERS:
            raise ResultError(f"cluster_by is {self.cluster_by!r}; expected one of {', '.join(CLUSTERS)}.")
        everything = pd.concat([system.table[["id", self.cluster_by]] for system in results.systems])
        self.unknown = int(everything.loc[everything[self.cluster_by].isna(), "id"].nunique())
        self.clusters = sorted(set(everything[self.cluster_by].dropna()), key=natural_key)

    def scores(self) -> Json:
        """All figures, ready for JSON."""
        return {
            "cluster_by": self.cluster_by,
            "level": self.level,
            "systems": [self.system(system) for system in self.results.systems],
            "differences": [found for a, b in self._comparisons() if (found := self.difference(a, b))],
        }

    def system(self, system: System) -> Json:
        """Pooled figures with intervals, and every breakdown, of one system."""
        table = system.table
        rows = Scored.of(table, self.results.classes, self.votes)
        figures = rows.figures()
        fold_order = [fold for fold in self.results.folds if fold in set(table["fold"])]
        folds = breakdown(rows, figures, "fold", fold_order)
        speakers = breakdown(rows, figures, "speaker")
        found: Json = {
            "key": system.key,
            "variant": system.variant,
            "baseline": system.baseline,
            "name": system.name,
            "utterances": int(table["id"].nunique()),
            "labelled": int(table.loc[table["label"].notna(), "id"].nunique()),
            "rated": rows.rated(),
            "speakers": int(table["speaker"].nunique()),
            "folds": fold_order,
            "seeds": sorted(int(seed) for seed in table["seed"].unique()),
            "draws": int(table["draw"].nunique()),
            "metrics": {figure.key: self.interval(figure, rows).to_json() for figure in figures},
            "over_folds": {f.key: spread(folds, f) for f in figures},
            "over_seeds": self._over_seeds(rows, figures),
            "over_speakers": {f.key: spread(speakers, f) for f in figures},
            "classes": self._classes(rows) if any(not figure.target for figure in figures) else None,
            "by_fold": folds,
            "by_session": breakdown(rows, figures, "session"),
            "by_speaker": speakers,
        }
        corpora = self._by_corpus(table, figures)
        return found if corpora is None else found | {"by_corpus": corpora}

    def difference(self, a: System, b: System) -> Json | None:
        """Difference a - b on the utterances that both scored, seed by seed where both have it; None without any."""
        left, right = self._same_utterances(a, b)
        if left.runs == 0:
            return None
        names = {figure.key for figure in right.figures()}
        metrics: Json = {}
        for figure in (figure for figure in left.figures() if figure.key in names):
            metrics[figure.key] = self.interval(figure, left, right).to_json()
            for side, rows in (("of", left), ("against", right)):
                metrics[figure.key][side] = self.interval(figure, rows).to_json()["estimate"]
        return {
            "of": a.key,
            "against": b.key,
            "utterances": int(left.table["id"].nunique()),
            "all_of": int(a.table["id"].nunique()),
            "all_against": int(b.table["id"].nunique()),
            "metrics": metrics,
        }

    def _comparisons(self) -> list[tuple[System, System]]:
        """Each model against the plain one and its own baselines; the majority class comes last."""
        models = [system for system in self.results.systems if system.baseline is None]
        plain = self.results.find(PLAIN)
        pairs = [(model, plain) for model in models if plain is not None and model is not plain]
        for model in models:
            own = [s for s in self.results.systems if s.baseline is not None and s.variant == model.variant]
            pairs += [(model, other) for other in own]
        return sorted(pairs, key=lambda pair: pair[1].baseline == "majority")

    def interval(self, figure: Figure, rows: Scored, against: Scored | None = None) -> Interval:
        """Pooled figure or paired difference; no interval where an utterance's cluster is unknown."""
        by, groups = (None, ["all"]) if self.unknown else (self.cluster_by, self.clusters)
        sums = rows.sums(figure.target, groups, by)
        if against is None:
            found = cluster_interval(sums, figure.statistic, self.level)
        else:
            found = paired_interval(sums, against.sums(figure.target, groups, by), figure.statistic, self.level)
        if not self.unknown:
            return found
        reason = f"{self.cluster_by.replace('_', ' ')} is unknown for {self.unknown} utterances"
        return replace(found, clusters=len(self.clusters), reason=reason)

    def _over_seeds(self, rows: Scored, figures: list[Figure]) -> Json | None:
        """Mean and spread of the pooled figure over seeds (draws of a seed averaged); None for one seed."""
        seeds = rows.table.groupby(rows.run)["seed"].first()
        if seeds.nunique() < 2:
            return None
        found: Json = {}
        for figure in figures:
            values = figure.statistic.value(rows.sums(figure.target, ["all"], None)[:, 0])
            per_seed = pd.Series(np.asarray(values)).groupby(seeds.to_numpy()).mean()
            found[figure.key] = spread([{"seed": str(s), figure.key: v} for s, v in per_seed.items()], figure)
        return found

    def _classes(self, rows: Scored) -> Json:
        """Per class figures and confusion, summed over runs; support counts an utterance once."""
        confusion = rows.sums("", ["all"], None)[:, 0].sum(0)
        summary = summarise_confusion(confusion)
        once = rows.table.drop_duplicates("id")["label"].value_counts()
        return {
            "runs": rows.runs,
            "confusion": summary["confusion"],
            "recall": summary["recall"],
            "precision": summary["precision"],
            "f1": summary["f1"],
            "support": [int(once.get(name, 0)) for name in self.results.classes],
        }

    def _by_corpus(self, table: pd.DataFrame, figures: Sequence[Figure]) -> Json | None:
        """Figures of a system by corpus, with intervals over the clusters of that corpus.

        Args:
            table: predictions of the system.
            figures: those of the whole table.

        Returns:
            ``corpora``: a list of ``corpus``, ``utterances`` and ``metrics``; ``mean``: the ``metrics`` of their
            unweighted mean. None for a single corpus.
        """
        names = sorted(set(table["corpus"].dropna()), key=natural_key)
        if len(names) < 2:
            return None
        tables = [table[table["corpus"] == name].reset_index(drop=True) for name in names]
        parts = [Scored.of(part, self.results.classes, self.votes) for part in tables]
        found = [
            {
                "corpus": name,
                "utterances": int(part.table["id"].nunique()),
                "metrics": {figure.key: self.interval(figure, part).to_json() for figure in figures},
            }
            for name, part in zip(names, parts, strict=True)
        ]
        mean = {figure.key: self._mean_of_corpora(parts, figure).to_json() for figure in figures}
        return {"corpora": found, "mean": {"metrics": mean}}

    def _mean_of_corpora(self, parts: Sequence[Scored], figure: Figure) -> Interval:
        """Unweighted mean over corpora, by the same jackknife: leaving out a cluster changes one of its terms."""
        if self.unknown or len({part.runs for part in parts}) > 1:
            values = [self.interval(figure, part).estimate for part in parts]
            return Interval(float(np.mean(values)), None, None, 0, self.level, "no clusters that all corpora share")
        each = [part.sums(figure.target, self.clusters, self.cluster_by) for part in parts]
        sums = np.stack(each, axis=2)  # (R, G, corpora, ...)
        return cluster_interval(sums, _averaged(figure.statistic), self.level)

    def _same_utterances(self, a: System, b: System) -> tuple[Scored, Scored]:
        """Rows of both systems pair of runs by pair of runs, restricted to what both scored."""
        left, right = (Scored.of(system.table, self.results.classes, self.votes) for system in (a, b))
        sides: tuple[list[pd.DataFrame], list[pd.DataFrame]] = ([], [])
        for one, other in _paired_runs(left, right):
            first, second = left.table[left.run == one], right.table[right.run == other]
            shared = first[["fold", "id"]].merge(second[["fold", "id"]], on=["fold", "id"])
            if len(shared):
                pair = [rows.merge(shared, on=["fold", "id"]) for rows in (first, second)]
                for side, rows in zip(sides, _both_predicted(pair), strict=True):
                    side.append(rows)
        lengths = [len(rows) for rows in sides[0]]
        run = np.repeat(np.arange(len(lengths)), lengths).astype(np.int64)
        tables = [pd.concat(side, ignore_index=True) if side else left.table.iloc[:0] for side in sides]
        both = [Scored(table, run, len(lengths), self.results.classes, self.votes) for table in tables]
        return both[0], both[1]


def _averaged(statistic: Statistic) -> Statistic:
    """Mean of a statistic over the last axis before its sums."""

    def value(sums: npt.ArrayLike) -> FloatArray:
        return np.asarray(statistic.value(sums).mean(axis=-1))

    return replace(statistic, value=value)


def _both_predicted(pair: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Rows without ratings of a dimension in folds where one side predicts it and the other does not."""
    found = list(pair)
    for name in DIMENSIONS:
        given = [rows.groupby("fold")[predicted_column(name)].count() > 0 for rows in pair]
        if all(one.any() for one in given) and not given[0].equals(given[1]):
            both = given[0] & given[1]
            found = [rows.assign(**{name: rows[name].where(rows["fold"].map(both).astype(bool))}) for rows in found]
    return found


def _paired_runs(a: Scored, b: Scored) -> list[tuple[int, int]]:
    """Pairs of runs: those of the same seed, a single seed (a baseline's) with all; then those of the same draw."""
    pairs: list[tuple[int, int]] = []
    keys = [list(rows.table.groupby(rows.run)[["seed", "draw"]].first().itertuples(index=False)) for rows in (a, b)]
    seeds = [{key[0] for key in side} for side in keys]
    alone = len(seeds[1]) == 1 or not seeds[0] & seeds[1]  # a baseline, say: it stands beside every seed
    for i, (seed, draw) in enumerate(keys[0]):
        candidates = [j for j, key in enumerate(keys[1]) if key[0] == seed or (alone and seed not in seeds[1])]
        same_draw = [j for j in candidates if keys[1][j][1] == draw]
        pairs += [(i, j) for j in same_draw or candidates]
    return pairs
