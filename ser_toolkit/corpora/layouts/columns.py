"""Own data whose file has columns: from cells to utterances, words for labels, sexes and languages, and checks."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import ClassVar

from ser_toolkit.corpora.base import Listing, Utterance, require_directory
from ser_toolkit.corpora.layouts.own_data import OwnData, composed, composed_keys, composed_row
from ser_toolkit.errors import CorpusError, nearest
from ser_toolkit.system.audio_files import as_stored
from ser_toolkit.terms import DIMENSIONS, listed

#: Fields of an utterance that a column can hold: all of one value.
FIELDS = tuple(field.name for field in fields(Utterance) if field.name not in ("votes", "ratings"))
_SEXES = {"f": "female", "female": "female", "woman": "female", "m": "male", "male": "male", "man": "male"}
#: ISO 639-1 codes by English name and by ISO 639-2 and 639-3 code (the languages of the usual emotional corpora).
_LANGUAGES = {
    word: code
    for code, words in {
        "am": "amharic amh", "ar": "arabic ara", "bn": "bengali bangla ben", "cs": "czech ces cze", "da": "danish dan",
        "de": "german deu ger", "el": "greek ell gre", "en": "english eng", "es": "spanish spa", "et": "estonian est",
        "fa": "persian farsi fas per", "fi": "finnish fin", "fr": "french fra fre", "hi": "hindi hin",
        "hu": "hungarian hun", "it": "italian ita", "ja": "japanese jpn", "ko": "korean kor", "nl": "dutch nld dut",
        "pl": "polish pol", "pt": "portuguese por", "ru": "russian rus", "sv": "swedish swe", "tr": "turkish tur",
        "ur": "urdu urd", "zh": "chinese mandarin zho chi cmn",
    }.items()
    for word in words.split()
}  # fmt: skip


@dataclass(frozen=True)
class Sourced:
    """An utterance with its file and row, which errors name."""

    row: Utterance
    where: str


class Words:
    """Labels for the words of one copy, and which of these words it has.

    Args:
        mapping: label by word; None leaves the word's utterances unlabelled. Other words stay as they are.
    """

    def __init__(self, mapping: Mapping[str, str | None]) -> None:
        self._mapping = mapping
        self._found: set[str] = set()
        self._unlabelled = {f"({word})" for word, label in mapping.items() if label is None}

    def label_of(self, word: str | None) -> str | None:
        """The label that a word stands for."""
        if word is None:
            return None
        word = composed(word)
        self._found.add(word)
        return self._mapping.get(word, word)

    def vote_for(self, word: str) -> str:
        """Name of a vote for a word: a class, or ``(word)`` where the mapping leaves it unlabelled."""
        return self.label_of(word) or f"({word})"

    def winner(self, name: str | None) -> str | None:
        """Label of an utterance for which most votes are ``name``; None where its word is left unlabelled."""
        return None if name in self._unlabelled else name

    def notes(self) -> list[str]:
        """A sentence on words of the mapping that no row has."""
        absent = [word for word in self._mapping if word not in self._found]
        if not absent:
            return []
        return [f"mapping names {', '.join(absent)}, which no row has. {nearest(absent[0], self._found)}"]


@dataclass(frozen=True)
class Rows:
    """Rows of a copy that are not yet checked against each other.

    Args:
        rows: utterances with their places, in the order of their files.
        dimension_range: of the ratings, where the copy states it; None takes that of the corpus.
        votable: emotions that have a column of votes: the classes where no row has a label or vote.
    """

    rows: Sequence[Sourced]
    dimension_range: tuple[float, float] | None = None
    votable: Iterable[str] = ()


class GenericCorpus(OwnData):
    """Own data in columns: the owner names the column of each field.

    Args:
        classes: class order; every label must be one of them. None means the labels found, sorted.
        mapping: label by word of the corpus; null leaves its utterances unlabelled. Other words stay as they are.
        dimension_range: lowest and highest value of valence, arousal and dominance.
        unknown_speakers: go on where a speaker is unknown.
    """

    #: Advice on a recording that does not exist, for an error.
    absent_advice: ClassVar[str] = "Complete the copy"

    def __init__(
        self,
        classes: list[str] | None,
        mapping: Mapping[str, str | None] | None,
        dimension_range: tuple[float, float] | None,
        unknown_speakers: bool,
    ) -> None:
        super().__init__(classes, dimension_range, unknown_speakers)
        self.mapping = composed_keys(mapping or {})

    def read(self, root: Path) -> Listing:
        """All rows in the order of their files.

        Raises:
            CorpusError: a file, column, cell or recording is missing or wrong; the message names file and row.
        """
        require_directory(root, corpus=self.name)
        words = self._words()
        found = self._rows(root, words)
        rows = [
            replace(one, row=replace(composed_row(one.row), path=as_stored(root, one.row.path))) for one in found.rows
        ]
        dimension_range = found.dimension_range or self.dimension_range
        self._check_places(root, rows)
        classes = self._check_labels(root, rows, words, found.votable)
        self._check_speakers(rows)
        self._check_dimensions(rows, dimension_range)
        return Listing(
            [one.row for one in rows], lambda chosen: [*self._notes(chosen), *words.notes()], classes, dimension_range
        )

    def _words(self) -> Words:
        """Labels for the words of one copy."""
        return Words(self.mapping)

    @abstractmethod
    def _rows(self, root: Path, words: Words) -> Rows:
        """The rows under a root that exists; words of the copy become labels by ``words``."""

    def _notes(self, rows: Sequence[Utterance]) -> list[str]:
        """Sentences on unknown speakers and labels."""
        missing = {
            "speaker": sum(row.speaker is None for row in rows),
            "label": sum(row.label is None for row in rows),
        }
        return [
            f"The {what} of {count} of {len(rows)} utterances is unknown." for what, count in missing.items() if count
        ]

    def _label_advice(self, row: Utterance) -> str:
        """Advice on a label outside the classes, for an error."""
        return (
            f"Add it to classes, or map it: mapping={{{row.raw_label or row.label}: CLASS}} (null leaves its "
            "utterances unlabelled)"
        )

    def _check_places(self, root: Path, rows: Sequence[Sourced]) -> None:
        """Check that there are rows, each once and with a recording."""
        if not rows:
            raise CorpusError(f"{self.name}: no rows under {root}.")
        seen: dict[str, str] = {}
        for one in rows:
            if one.row.id in seen:
                raise CorpusError(
                    f"{self.name}: {one.where} is the utterance {one.row.id} again ({seen[one.row.id]}). "
                    "An utterance has one row: remove the other."
                )
            seen[one.row.id] = one.where
        present = {path: os.path.isfile(root / path) for path in dict.fromkeys(one.row.path for one in rows)}
        self._refuse(
            [one for one in rows if not present[one.row.path]],
            lambda row: f"names the recording {row.path}, which does not exist under {root}. {self.absent_advice}",
        )

    def _check_labels(
        self, root: Path, rows: Sequence[Sourced], words: Words, votable: Iterable[str]
    ) -> tuple[str, ...]:
        """Class order: the one given, of which every label must be, else the labels found."""
        labels = {row.label for row in (one.row for one in rows) if row.label}
        voted = {name for one in rows for name in one.row.votes or () if words.winner(name)}
        found = tuple(sorted(labels or voted or votable))
        if not found and not any(getattr(one.row, name) is not None for one in rows for name in DIMENSIONS):
            raise CorpusError(f"{self.name}: no row under {root} has a label, votes or dimensions.")
        classes = self.given_classes or found
        self._refuse(
            [one for one in rows if one.row.label is not None and one.row.label not in classes],
            lambda row: (
                f"has the label {row.label!r}, which is none of the classes {', '.join(classes)}. "
                f"{self._label_advice(row)}"
            ),
        )
        return classes

    def _check_speakers(self, rows: Sequence[Sourced]) -> None:
        if not self.unknown_speakers:
            self._refuse(
                [one for one in rows if one.row.speaker is None],
                "has no speaker. Fill the cell, or ask for unknown_speakers=true: no split can then be shown to be "
                "speaker-independent",
            )

    def _check_dimensions(self, rows: Sequence[Sourced], dimension_range: tuple[float, float] | None) -> None:
        if dimension_range is None:
            return
        low, high = dimension_range
        for name in DIMENSIONS:
            what = f"has {name} outside dimension_range [{low:g}, {high:g}]. Correct the range or the cell"
            values = [(one, getattr(one.row, name)) for one in rows]
            outside = [one for one, value in values if value is not None and not low <= value <= high]
            self._refuse(outside, what)

    def _refuse(self, wrong: Sequence[Sourced], what: str | Callable[[Utterance], str]) -> None:
        """Raise for the first row, and say how many more there are. ``what`` may depend on its utterance."""
        if wrong:
            more = f" So do {len(wrong) - 1} more rows." if len(wrong) > 1 else ""
            raise CorpusError(
                f"{self.name}: {wrong[0].where} {what if isinstance(what, str) else what(wrong[0].row)}.{more}"
            )


def vote_columns(columns: Iterable[str], prefix: str) -> dict[str, str]:
    """Columns that hold the number of raters for an emotion, by that emotion; none without a prefix.

    >>> vote_columns(["path", "votes_sad"], "votes_")
    {'sad': 'votes_sad'}
    """
    return {column.removeprefix(prefix): column for column in columns if prefix and column.startswith(prefix)}


def text_of(value: object, where: str) -> str | None:
    """A cell as text; None when it is empty or holds the number NaN. Whole numbers stay whole: speaker 3, not 3.0.

    Raises:
        CorpusError: the cell holds a list or a mapping.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str | int | float):
        return str(value).strip() or None
    raise CorpusError(f"{where} holds {_short(value)}: expected one value.")


def number_of(value: object, where: str) -> float | None:
    """A cell as a finite number; None when it is empty.

    Raises:
        CorpusError: the cell holds something else.
    """
    text = text_of(value, where)
    if text is None or text.lower() in ("nan", "na", "none"):
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise CorpusError(f"{where} holds {text!r}: expected a number with a decimal point, or nothing.")
    return number


def sex_of(word: str | None) -> str | None:
    """``female`` or ``male``; None for any other word (``other``, ``unknown``)."""
    return _SEXES.get((word or "").lower())


def language_of(word: str | None) -> str | None:
    """ISO 639-1 code of a language given by code, locale or English name; an unknown word stays, in lower case.

    >>> language_of("French"), language_of("deu"), language_of("en_US"), language_of("tlh")
    ('fr', 'de', 'en', 'tlh')
    """
    if word is None:
        return None
    short = word.strip().lower()
    base = short.replace("_", "-").split("-")[0]
    return _LANGUAGES.get(short) or _LANGUAGES.get(base) or (base if len(base) == 2 else short)


def inside(name: str, where: str) -> PurePosixPath:
    """A file name relative to its folder.

    Raises:
        CorpusError: it is absolute or leads out of its folder: such a table would name files of this machine.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts or not path.parts:
        raise CorpusError(f"{where} names the file {name!r}. Expected a name below the folder, without '..'.")
    return path


def some(names: Iterable[str]) -> str:
    """The first eight names."""
    every = list(names)
    return listed(every, 8, more=f", ... ({len(every)} in all)") or "none"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
