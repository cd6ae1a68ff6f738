"""Data of one's own: nothing is published to compare a copy with, and labels are spelt as their owner does."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from ser_toolkit.corpora.base import OWN_DATA, Corpus, Rating, Utterance
from ser_toolkit.errors import CorpusError, RecipeError


class OwnData(Corpus):
    """A corpus that its owner describes.

    Args:
        classes: class order; every label must be one of them. None means the labels found, sorted.
        dimension_range: lowest and highest value of valence, arousal and dominance.
        unknown_speakers: go on where a speaker is unknown.

    Raises:
        RecipeError: ``dimension_range`` is not [lowest, highest].
    """

    licence = "as stated by the owner of the data"
    citation = "none given"
    verified = OWN_DATA
    default_protocol = "GroupedKFold"

    def __init__(
        self, classes: list[str] | None, dimension_range: tuple[float, float] | None, unknown_speakers: bool
    ) -> None:
        if dimension_range is not None and not dimension_range[0] < dimension_range[1]:
            raise RecipeError(f"{self.name}: dimension_range is {list(dimension_range)}. Expected [lowest, highest].")
        self.dimension_range = dimension_range
        self.unknown_speakers = unknown_speakers
        self.given_classes = tuple(map(composed, classes or ()))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes given. Without any, they are the labels of a copy in alphabetical order: ``Listing.classes``."""
        if not self.given_classes:
            raise CorpusError(
                f"{self.name}: no classes are given. They are the labels found, which read(root) returns."
            )
        return self.given_classes


RecordT = TypeVar("RecordT", Utterance, Rating)
#: Fields that may hold text, by the class of the record.
_TEXTS = {
    kind: tuple(one.name for one in fields(kind) if "str" in str(one.type) and one.name != "path")
    for kind in (Utterance, Rating)
}


def composed(text: str) -> str:
    """Text in Unicode NFC, accents composed with their letters: a system that takes them apart makes no second name."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def composed_row(row: Utterance) -> Utterance:
    """An utterance with all its texts composed, but for the path, which is spelt as the file system has it."""
    row = _texts_composed(row)
    if row.votes is not None:
        counts: dict[str, float] = {}
        for name, count in row.votes.items():  # two spellings of a word are votes for one
            counts[composed(name)] = counts.get(composed(name), 0.0) + count
        row = replace(row, votes=counts)
    if row.ratings:
        ratings = tuple(replace(_texts_composed(one), labels=tuple(map(composed, one.labels))) for one in row.ratings)
        row = replace(row, ratings=ratings)
    return row


def _texts_composed(record: RecordT) -> RecordT:
    other: dict[str, Any] = {}
    for name in _TEXTS[type(record)]:
        text = getattr(record, name)
        if isinstance(text, str) and not text.isascii():
            other[name] = composed(text)
    return replace(record, **other) if other else record


def composed_keys(words: Mapping[str, str | None]) -> dict[str, str | None]:
    """A mapping from words to labels, both composed."""
    return {composed(word): None if label is None else composed(label) for word, label in words.items()}
