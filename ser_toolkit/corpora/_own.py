"""What all data of one's own have in common: nothing is published that they could be held against."""

from __future__ import annotations

from ser_toolkit.corpora.base import OWN_DATA, Corpus
from ser_toolkit.errors import CorpusError, RecipeError


class OwnData(Corpus):
    """A corpus whose owner says what it holds.

    Args:
        classes: class order; every label must be one of them. None means the labels found, sorted.
        dimension_range: lowest and highest value of valence, arousal and dominance.
        unknown_speakers: go on where a speaker is unknown.

    Raises:
        RecipeError: the range is none.
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
        self._given = tuple(classes or ())
        self._found: tuple[str, ...] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes given, or the labels found in alphabetical order once ``utterances`` has run (none: ratings)."""
        if not self._given and self._found is None:
            raise CorpusError(f"{self.name}: no classes are given. They are known after utterances(root) has run.")
        return self._given or self._found or ()
