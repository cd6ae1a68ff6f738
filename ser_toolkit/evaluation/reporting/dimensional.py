"""Valence, arousal and dominance in a report: their tables beside those of the classes, and points for a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ser_toolkit.evaluation.predictions import predicted_column
from ser_toolkit.evaluation.reporting import wording
from ser_toolkit.evaluation.reporting.tables import (
    Cell,
    Table,
    difference_table,
    figure_keys,
    figure_name,
    group_table,
    interval_cell,
    system_cells,
)
from ser_toolkit.evaluation.sums import FloatArray
from ser_toolkit.terms import DIMENSIONS, Json

TITLE = "Results: valence, arousal, dominance"
#: Points of a picture, at most: more hide each other.
MOST_POINTS = 1500


def is_dimensional(key: str) -> bool:
    """Whether a figure is one of the dimensions: ``ccc_valence``."""
    return key.startswith("ccc")


def of_dimensions(scores: Json) -> list[str]:
    """CCC of each dimension, as far as any system predicts them."""
    return [key for key in figure_keys(scores) if is_dimensional(key)]


def headline(scores: Json) -> Table | None:
    """CCC by system and dimension, with intervals, and of one rater with the mean of the others; None without any."""
    keys = of_dimensions(scores)
    if not keys:
        return None
    systems = [system for system in scores["systems"] if any(key in system["metrics"] for key in keys)]
    rows = [
        [
            *system_cells(system, scores)[:2],
            Cell(_counted(system)),
            *(interval_cell(key, system["metrics"].get(key)) for key in keys),
        ]
        for system in systems
    ]
    human = scores.get("human", {}).get("dimensions", {})
    found = [human.get(key.removeprefix("ccc_")) for key in keys]
    if any(found):
        most = max(one["utterances"] for one in found if one)
        cells = [interval_cell(key, one and one["ccc"]) for key, one in zip(keys, found, strict=True)]
        rows.append([Cell("–"), Cell("one rater"), Cell(str(most)), *cells])
    columns = ["Variant", "System", "Utterances", *map(figure_name, keys)]
    return Table(columns, rows, words=2, title=TITLE, note=_note(scores))


def _counted(system: Json) -> str:
    """How many utterances have ratings, of how many that were tested."""
    total = system["utterances"]
    counts = sorted({*system["rated"].values()})
    if not counts or counts == [total]:
        return str(total)
    return f"{' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} of {total}"


def _note(scores: Json) -> str:
    """Explanation of the raters' row; in a report without classes, their agreement, too."""
    human = scores.get("human", {})
    if "dimensions" not in human:
        return ""
    explanation = "One rater: single ratings against the mean of the other raters of the utterance."
    return explanation if "rows" in human else " ".join([explanation, *wording.dimensions(human)])


def differences(scores: Json) -> Table | None:
    """Paired differences in CCC; None where no two systems predict dimensions."""
    keys = [key for key in of_dimensions(scores) if any(key in one["metrics"] for one in scores["differences"])]
    title = "Differences in CCC on the same utterances"
    return replace(difference_table(scores, keys, title), stacked=True) if keys else None


def by_group(scores: Json, kind: str) -> Table | None:
    """CCC by ``fold``, ``session`` or ``speaker``, model by model; None without any."""
    return group_table(scores, kind, of_dimensions(scores), f"CCC by {kind}")


def points(table: pd.DataFrame, bounds: Sequence[float] | None) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Ratings and predictions of each dimension on the corpus's own scale, for a picture.

    Args:
        table: predictions of one model; seeds and draws of an utterance are averaged.
        bounds: lowest and highest rating; None leaves [0, 1].

    Returns:
        (N,) ratings and (N,) predictions by dimension, at most ``MOST_POINTS`` that lie evenly in the order of ids.
    """
    low, high = bounds or (0.0, 1.0)
    found = {}
    for name in DIMENSIONS:
        pair = (
            table[["id", name, predicted_column(name)]].dropna().groupby("id", sort=True).mean().to_numpy(dtype=float)
        )
        if len(pair):
            chosen = np.unique(np.linspace(0, len(pair) - 1, min(len(pair), MOST_POINTS)).round().astype(int))
            scaled = low + (high - low) * pair[chosen]
            found[name] = (scaled[:, 0], scaled[:, 1])
    return found
