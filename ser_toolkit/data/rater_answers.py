"""The single raters' answers in a manifest: one JSON text an utterance, read one at a time.

700,000 answers as dictionaries would take more memory than all else together.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pandas as pd

from ser_toolkit.data.manifest import Manifest
from ser_toolkit.errors import ManifestError


def ratings_of(text: Any, rater: str | None = None) -> list[dict[str, Any]]:
    """The ratings of one utterance; none where there is no text, or where ``rater`` does not occur in it."""
    if not isinstance(text, str) or (rater is not None and json.dumps(rater)[1:-1] not in text):
        return []
    found: list[dict[str, Any]] = json.loads(text)
    return found


def answers(ratings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ratings of observers that name an emotion."""
    return [rating for rating in ratings if rating.get("labels") and not rating.get("self_report")]


def require_ratings(manifest: Manifest, who: str) -> None:
    """Refuse a manifest without any ratings.

    Raises:
        ManifestError: which rule needs them, and which rules do not.
    """
    if manifest.table["ratings"].isna().all():
        raise ManifestError(
            f"{manifest.corpus}: no utterance has single raters' answers, which {who} needs. Use a rule that reads "
            "votes (Plurality, Soft) or the label column (Intended)."
        )


def voted(manifest: Manifest) -> set[str]:
    """Emotions with at least one vote."""
    return {word for text in manifest.table["votes"].dropna().unique() for word in json.loads(text)}


def changed(column: pd.Series, change: Callable[[Any, str], Any]) -> pd.Series:
    """A column of JSON texts, every different one changed once; None stays None.

    Args:
        column: texts or None.
        change: from the content of a text, and the text, to new content; None for no text.
    """
    encode = json.JSONEncoder(sort_keys=True).encode
    texts = {}
    for text in column.dropna().unique():
        made = change(json.loads(text), text)
        texts[text] = None if made is None else encode(made)
    return column.map(texts).astype(object).where(column.notna(), None)
