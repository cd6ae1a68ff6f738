"""Valence, arousal and dominance on another corpus: CCC of what the models predict with the corpus's ratings.

Both are scaled from the range of their own corpus to [0, 1], so that a scale of 1 to 5 meets one of 1 to 7. That the
middle of one scale means the same as that of the other is an assumption; a shift between them lowers CCC.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from ser_toolkit.evaluation.reporting.tables import Cell, Table, figure_name, interval_cell
from ser_toolkit.evaluation.rows import Figure, Scored
from ser_toolkit.evaluation.transfer.classes import clusters_of
from ser_toolkit.evaluation.uncertainty import (
    CCC,
    CLUSTERS,
    METHOD,
    cluster_interval,
    with_clusters,
)
from ser_toolkit.terms import DIMENSIONS, Json, natural_key


def score_dimensions(table: pd.DataFrame, level: float = 0.95) -> Json | None:
    """CCC by dimension with intervals over speakers (and dialogues, where speakers are unknown).

    Args:
        table: predictions (see ``evaluation/predictions.py``).
        level: nominal coverage of the intervals.

    Returns:
        ``metrics`` by figure, ``utterances`` that count by dimension, ``cluster_by`` and ``intervals``; None where the
        models predict no dimension that the corpus has ratings of.
    """
    by = clusters_of(table)
    rows = Scored.of(with_clusters(table.reset_index(drop=True), by), ())
    figures = [figure for figure in rows.figures() if figure.target in DIMENSIONS]
    if not figures:
        return None
    once = table.drop_duplicates("id")
    return {
        "metrics": {figure.key: _interval(rows, figure, by, level) for figure in figures},
        "utterances": {figure.target: int(once[figure.target].notna().sum()) for figure in figures},
        "cluster_by": by,
        "intervals": METHOD,
    }


def _interval(rows: Scored, figure: Figure, by: str, level: float) -> Json:
    """Over speakers, and dialogues of unknown ones; none where neither is known."""
    unknown = int(rows.table.loc[rows.table[by].isna(), "id"].nunique())
    if unknown:
        found = cluster_interval(rows.sums(figure.target, ["all"], None), CCC, level)
        reason = f"speaker and dialogue are unknown for {unknown} utterances"
        return replace(found, clusters=0, reason=reason).to_json()
    groups = sorted(set(rows.table[by]), key=natural_key)
    return cluster_interval(rows.sums(figure.target, groups, by), CCC, level).to_json()


def headline(scores: Json) -> Table:
    """CCC of each dimension with its interval."""
    rows = [
        [Cell(figure_name(key)), Cell(str(scores["utterances"][key.removeprefix("ccc_")])), interval_cell(key, entry)]
        for key, entry in scores["metrics"].items()
    ]
    return Table(["Dimension", "Utterances", "CCC"], rows)


def definitions(scores: Json) -> list[str]:
    """Definitions of the figures, as sentences."""
    first = next(iter(scores["metrics"].values()))
    found = (
        "CCC: concordance correlation coefficient (population variance), 0 is chance; predictions and ratings are "
        "scaled from the range of their own corpus to [0, 1]."
    )
    if first["low"] is None:
        return [found, f"No intervals of CCC: {first['reason']}."]
    clusters = f"{first['clusters']} {CLUSTERS[scores['cluster_by']]}"
    return [found, f"In brackets: {100 * first['level']:.0f} % interval over {clusters} ({scores['intervals']})."]
