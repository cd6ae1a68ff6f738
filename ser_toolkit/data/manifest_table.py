"""The table behind a manifest: its columns, its canonical form, and what makes its rows consistent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pandas as pd

from ser_toolkit.corpora.base import Utterance
from ser_toolkit.data.audio.decode import END_TOLERANCE
from ser_toolkit.errors import ManifestError, nearest
from ser_toolkit.terms import DIMENSIONS, listed

#: All columns, in order: the fields of an utterance, its duration in seconds, and the hash of what it sounds like.
COLUMNS: tuple[str, ...] = (*(f.name for f in fields(Utterance)), "duration", "audio_hash")
FLOAT_COLUMNS = ("start", "end", *DIMENSIONS, "duration")
_SEXES = ("female", "male")


def canonical(table: pd.DataFrame) -> pd.DataFrame:
    """All columns in order; text as objects with None, numbers as float64 with NaN; index 0..N-1.

    pandas 3 would make text a type of its own with NaN for "unknown", which is true in an ``if``.

    Raises:
        ManifestError: a column is unknown, or holds something else than text or numbers.
    """
    for name in table.columns:
        if name not in COLUMNS:
            raise ManifestError(f"column {name!r} is unknown in a manifest. {nearest(str(name), COLUMNS)}")
    made = {}
    for name in COLUMNS:
        given = table[name] if name in table.columns else pd.Series([None] * len(table), dtype=object)
        made[name] = _numbers(given, name) if name in FLOAT_COLUMNS else _text(given, name)
    return pd.DataFrame(made)


def _numbers(column: pd.Series, name: str) -> pd.Series:
    try:
        return pd.Series(pd.to_numeric(column).to_numpy(dtype=float, na_value=np.nan, copy=True), dtype=float)
    except (TypeError, ValueError) as error:
        raise ManifestError(f"column {name}: expected numbers ({error}).") from error


def _text(column: pd.Series, name: str) -> pd.Series:
    values = column.to_numpy(dtype=object, copy=True)
    values[pd.isna(values)] = None
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind not in ("string", "empty"):
        raise ManifestError(f"column {name}: expected text, found {kind}. Convert it with astype(str) first.")
    return pd.Series(values, dtype=object)


def check_table(
    table: pd.DataFrame, classes: Sequence[str], dimension_range: tuple[float, float] | None = None
) -> None:
    """Check the rows of a canonical table.

    Args:
        table: see ``Manifest.table``.
        classes: the only labels there may be; none in a corpus of ratings.
        dimension_range: lowest and highest rating, or None when it is not known.

    Raises:
        ManifestError: the first rule that is broken.
    """
    if table.empty:
        raise ManifestError("the manifest has no utterances.")
    rated = table[list(DIMENSIONS)].notna().any(axis=None)
    if (not classes and not rated) or len(set(classes)) != len(classes):
        raise ManifestError(f"classes {list(classes)}: expected at least one (or ratings), each once.")
    for name in ("id", "path"):
        _require(table, table[name].map(lambda text: isinstance(text, str) and text != "").to_numpy(bool), f"no {name}")
    _require(table, ~table["id"].duplicated(keep=False).to_numpy(), "the id is not unique")
    _check_times(table)
    _require(
        table,
        (table["label"].isna() | table["label"].isin(classes)).to_numpy(),
        f"the label is none of {', '.join(classes)}",
        "label",
    )
    _require(table, (table["sex"].isna() | table["sex"].isin(_SEXES)).to_numpy(), "sex is not female or male", "sex")
    _check_dimensions(table, dimension_range)
    _check_votes(table, classes)


def _check_times(table: pd.DataFrame) -> None:
    start, end, duration = (table[name].to_numpy() for name in ("start", "end", "duration"))
    _require(table, ~(start < 0), "start is negative", "start")
    _require(table, ~(end <= np.nan_to_num(start)), "end is not after start", "end")
    _require(table, ~(duration <= 0), "the utterance begins behind the end of its file", "start")
    promised = end - np.nan_to_num(start)
    _require(table, ~(promised > duration + END_TOLERANCE), "end is behind the end of the file", "end")


def _check_dimensions(table: pd.DataFrame, dimension_range: tuple[float, float] | None) -> None:
    if dimension_range is None:
        return
    low, high = dimension_range
    for name in DIMENSIONS:
        value = table[name].to_numpy()
        _require(table, ~((value < low) | (value > high)), f"{name} is not within {low:g} to {high:g}", name)


def _check_votes(table: pd.DataFrame, classes: Sequence[str]) -> None:
    """Votes may go to emotions outside a smaller class set, but not all of them: that is another spelling."""
    votes = table["votes"]
    usable: dict[str, bool] = {}
    seen: set[str] = set()
    for text in votes.dropna().unique():
        usable[text] = _is_votes(text, seen)
    good = (votes.isna() | votes.map(usable).eq(True)).to_numpy()
    _require(table, good, "votes are not numbers >= 0 per class", "votes")
    if seen and not seen & set(classes):
        raise ManifestError(
            f"votes go to {', '.join(sorted(seen)[:6])}, none of which is a class ({', '.join(classes)}). "
            "Give votes and classes the same names."
        )


def _is_votes(text: str, seen: set[str]) -> bool:
    """Whether a JSON text is votes; adds the emotions that were voted for to ``seen``."""
    try:
        found = json.loads(text)
    except ValueError:
        return False
    if not isinstance(found, dict):
        return False
    seen.update(found)
    return all(isinstance(count, int | float) and np.isfinite(count) and count >= 0 for count in found.values())


def _require(table: pd.DataFrame, good: np.ndarray, what: str, column: str | None = None) -> None:
    if good.all():
        return
    bad = table[~good]
    shown = bad["id"].astype(str) if column is None else bad["id"].astype(str) + " (" + bad[column].astype(str) + ")"
    raise ManifestError(f"{what}: utterance {listed(shown, 3)}.")
