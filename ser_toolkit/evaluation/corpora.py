"""Figures by corpus, where a run tests several, and their mean that counts every corpus alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ser_toolkit.evaluation.metrics import FloatArray
from ser_toolkit.evaluation.reporting.tables import Cell, Table, figure_keys, figure_name, interval_cell
from ser_toolkit.evaluation.results import System
from ser_toolkit.evaluation.rows import Figure, Json, Scored
from ser_toolkit.evaluation.uncertainty import Interval, Statistic, cluster_interval
from ser_toolkit.terms import natural_key

if TYPE_CHECKING:
    from ser_toolkit.evaluation.scores import Scorer

NOTE = (
    "UA of a corpus is over the classes that it has. The mean counts every corpus alike, whatever its size; its "
    "interval leaves out one {one} of any corpus at a time."
)


def by_corpus(scorer: Scorer, system: System, figures: Sequence[Figure]) -> Json | None:
    """Figures of a system by corpus, with intervals over the clusters of that corpus.

    Args:
        scorer: says what intervals leave out.
        system: the model or a baseline.
        figures: what can be scored.

    Returns:
        ``corpora``: a list of ``corpus``, ``utterances`` and ``metrics``; ``mean``: the ``metrics`` of their unweighted
        mean, only for figures that are defined in every corpus. None for a single corpus.
    """
    table = system.table
    names = sorted(set(table["corpus"].dropna()), key=natural_key)
    if len(names) < 2:
        return None
    tables = [table[table["corpus"] == name].reset_index(drop=True) for name in names]
    parts = [Scored.of(part, scorer.results.classes, scorer.votes) for part in tables]
    found = [
        {
            "corpus": name,
            "utterances": int(part.table["id"].nunique()),
            "metrics": {figure.key: scorer.interval(figure, part).to_json() for figure in figures},
        }
        for name, part in zip(names, parts, strict=True)
    ]
    mean = {figure.key: _mean(scorer, parts, figure).to_json() for figure in figures}
    return {"corpora": found, "mean": {"metrics": mean}}


def _mean(scorer: Scorer, parts: Sequence[Scored], figure: Figure) -> Interval:
    """The unweighted mean over corpora, by the same jackknife: leaving out a cluster changes one of its terms."""
    if scorer.unknown or len({part.runs for part in parts}) > 1:
        values = [scorer.interval(figure, part).estimate for part in parts]
        return Interval(float(np.mean(values)), None, None, 0, scorer.level, "no clusters that all corpora share")
    each = [part.sums(figure.target, scorer.clusters, scorer.cluster_by) for part in parts]
    sums = np.stack(each, axis=2)  # (R, G, corpora, ...)
    return cluster_interval(sums, _averaged(figure.statistic), scorer.level)


def _averaged(statistic: Statistic) -> Statistic:
    def value(sums: npt.ArrayLike) -> FloatArray:
        return np.asarray(statistic.value(sums).mean(axis=-1))

    return replace(statistic, value=value)


def table(scores: Json) -> Table | None:
    """One row a system and corpus, and one for the mean; None for a single corpus."""
    keys = figure_keys(scores, leave_out=["weighted_f1"])
    rows = []
    for system in scores["systems"]:
        found = system.get("by_corpus")
        for entry in [*found["corpora"], {"corpus": "mean", **found["mean"]}] if found else []:
            rows.append(
                [
                    Cell(system["variant"]),
                    Cell(system["name"]),
                    Cell(entry["corpus"], strong=entry["corpus"] == "mean"),
                    Cell(str(entry.get("utterances", ""))),
                    *(interval_cell(key, entry["metrics"].get(key)) for key in keys),
                ]
            )
    if not rows:
        return None
    columns = ["Variant", "System", "Corpus", "Utterances", *map(figure_name, keys)]
    note = NOTE.format(one=str(scores["cluster_by"]).replace("_", " "))
    return Table(columns, rows, words=3, title="By corpus", note=note)
