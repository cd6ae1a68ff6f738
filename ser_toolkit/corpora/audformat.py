"""Any database in the audformat of audEERING: ``db.yaml`` and tables as CSV or Parquet, as audb publishes them.

Layout: ``db.yaml``, ``db.<table>.csv`` or ``.parquet`` beside it, recordings below. Pickled tables are refused, because
opening a pickle runs what is in it. Attachments, media ids, age, confidence and durations are not used.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from ser_toolkit.corpora.base import Rating, Utterance
from ser_toolkit.corpora.layouts.audformat_fields import DIMENSION_NAMES, Fields
from ser_toolkit.corpora.layouts.audformat_header import WHO, Column, Header, TableHeader, read_header
from ser_toolkit.corpora.layouts.audformat_table import Line, Segment, read_lines
from ser_toolkit.corpora.layouts.columns import (
    GenericCorpus,
    Rows,
    Sourced,
    Words,
    language_of,
    number_of,
    sex_of,
    some,
)
from ser_toolkit.corpora.layouts.own_data import composed
from ser_toolkit.errors import CorpusError
from ser_toolkit.terms import DIMENSIONS

_PARTITIONS = ("train", "dev", "test")


class Audformat(GenericCorpus):
    """An audformat database: db.yaml with tables as CSV or Parquet, as audb publishes them.

    Columns are found by their name or that of their scheme; what another table says of the same recording (speaker,
    transcription) is joined. Further columns of the emotion's scheme in the same table, each with its rater, are votes.

    Args:
        table: the table with the labels; ``*`` stands for a split: ``emotion.categories.*.gold_standard``. None takes
            the only one with emotion, or the only gold standard.
        emotion: column of the label; None takes the one that is called emotion, or whose scheme is.
        speaker: column of the speaker, in any table.
        gender: column of the sex, in any table or in that of the speakers.
        transcription: column of the words.
        language: column of the language; None takes that of the database.
        classes: class order; every label must be one of them. None means the labels found, sorted.
        mapping: label by word of the database, ``{anger: angry}``; null leaves its utterances unlabelled.
        dimension_range: lowest and highest value of valence, arousal and dominance; None takes those of their schemes.
        unknown_speakers: go on without speakers. No split can then be shown to be speaker-independent.
    """

    name = WHO
    homepage = "https://audeering.github.io/audformat/"
    label_rule = "the emotion column of the database; where only raters answered, what most of them said"

    def __init__(
        self,
        table: str | None = None,
        emotion: str | None = None,
        speaker: str | None = None,
        gender: str | None = None,
        transcription: str | None = None,
        language: str | None = None,
        classes: list[str] | None = None,
        mapping: dict[str, str | None] | None = None,
        dimension_range: tuple[float, float] | None = None,
        unknown_speakers: bool = False,
    ) -> None:
        super().__init__(classes, mapping, dimension_range, unknown_speakers)
        self.table = table
        self.emotion = emotion
        self.columns = {"speaker": speaker, "sex": gender, "transcript": transcription, "language": language}

    def _rows(self, root: Path, words: Words) -> Rows:
        header = read_header(root)
        tables = self._tables(header)
        fields = Fields(root, header, self.columns)
        if "speaker" not in fields.found and not self.unknown_speakers:
            raise CorpusError(
                f"{WHO}: {header.file} has no column or scheme called speaker. Its tables: {header.columns()}. "
                "Training and test speakers are kept apart by it: say which column it is with speaker=NAME, or ask for "
                "unknown_speakers=true to go on without."
            )
        rows = []
        for table in tables:
            fold = _fold(header, table) if len(tables) > 1 else None
            reader = _Reader(self.emotion, words, header, table, fields, fold)
            rows += [reader.row(line) for line in read_lines(root, table)]
        return Rows(rows, self.dimension_range or _range(header, tables))

    def _tables(self, header: Header) -> list[TableHeader]:
        """Tables with the labels: those of the option, else the only candidates: one table, or one for each split."""
        known = [table for table in header.tables if emotion_columns(table, self.emotion)]
        rated = [table for table in header.tables if self.emotion is None and _is_rated(table)]
        if self.table is not None:
            possible = [table for table in header.tables if table in known or table in rated]
            chosen = [table for table in possible if fnmatch.fnmatchcase(table.name, self.table)]
            if chosen:
                return chosen
            names = some(table.name for table in possible)
            raise CorpusError(f"{WHO}: {header.file} has no table {self.table!r} with emotion. There are: {names}.")
        known = known or rated
        if not known:
            what = f"column {self.emotion!r}" if self.emotion else "column or scheme called emotion"
            raise CorpusError(
                f"{WHO}: {header.file} has no {what}. Its tables: {header.columns()}. Say which column has the labels "
                "with emotion=NAME."
            )
        groups: dict[str, list[TableHeader]] = defaultdict(list)
        for table in known:
            groups[_without_split(table)].append(table)
        if len(groups) > 1:
            groups = {name: one for name, one in groups.items() if name.endswith("gold_standard")} or groups
        if len(groups) > 1:
            raise CorpusError(
                f"{WHO}: several tables of {header.file} have emotion: {some(groups)}. Choose with table=NAME; a * "
                "stands for the splits."
            )
        return next(iter(groups.values()))


class _Reader:
    """From the rows of one table to utterances."""

    def __init__(
        self, emotion: str | None, words: Words, header: Header, table: TableHeader, fields: Fields, fold: str | None
    ) -> None:
        self._words, self._header, self._fields, self._fold = words, header, fields, fold
        self._emotions = _Opinions(emotion_columns(table, emotion), emotion or "emotion")
        self._dimensions = {
            name: _Opinions([column for column in table.columns if column.means(*names)], *names)
            for name, names in DIMENSION_NAMES.items()
        }

    def row(self, line: Line) -> Sourced:
        path, start, end = line.segment
        fields = {name: self._fields.of(name, line) for name in self._fields.found}
        ratings = self._ratings(line)
        votes = Counter(label for rating in ratings for label in rating.labels)
        word = self._word(line, self._emotions.agreed)
        numbers = {name: self._dimension(name, line, ratings) for name in DIMENSIONS}
        languages = self._header.languages
        row = Utterance(
            id=_name(line.segment),
            path=path,
            start=start,
            end=end,
            speaker=fields.get("speaker"),
            sex=sex_of(fields.get("sex")),
            sentence=fields.get("sentence"),
            transcript=fields.get("transcript"),
            language=language_of(fields.get("language") or (languages[0] if len(languages) == 1 else None)),
            label=self._words.label_of(word) if self._emotions.agreed else self._words.winner(_plurality(votes)),
            raw_label=word,
            votes={name: float(count) for name, count in sorted(votes.items())} or None,
            ratings=ratings,
            fold=self._fold,
            valence=numbers["valence"],
            arousal=numbers["arousal"],
            dominance=numbers["dominance"],
        )
        return Sourced(row, line.where)

    def _word(self, line: Line, column: Column | None) -> str | None:
        """The cell of an emotion column, which must be a label of its scheme."""
        word = None if column is None else line.cells[column.name]
        labels = None if column is None else self._header.scheme(column).labels
        known = labels is None or word is None or composed(word) in {composed(label) for label in labels}
        if labels is not None and not known:
            raise CorpusError(f"{WHO}: {line.where} has the label {word!r}, which its scheme lacks ({some(labels)}).")
        return word

    def _ratings(self, line: Line) -> tuple[Rating, ...]:
        words = {rater: self._word(line, column) for rater, column in self._emotions.raters.items()}
        labels = {rater: self._words.vote_for(word) for rater, word in words.items() if word is not None}
        numbers = {
            name: {rater: self._number(line, column) for rater, column in opinions.raters.items()}
            for name, opinions in self._dimensions.items()
        }
        ratings = []
        for rater in dict.fromkeys([*labels, *(rater for one in numbers.values() for rater in one)]):
            label = labels.get(rater)
            values = {name: numbers[name].get(rater) for name in DIMENSIONS}
            if label is not None or any(value is not None for value in values.values()):
                labelled = (label,) if label else ()
                ratings.append(Rating(rater, labelled, values["valence"], values["arousal"], values["dominance"]))
        return tuple(ratings)

    def _dimension(self, name: str, line: Line, ratings: Sequence[Rating]) -> float | None:
        """The agreed value of this table, else the mean of its raters, else the value of another table."""
        agreed = self._dimensions[name].agreed
        if agreed is not None:
            return self._number(line, agreed)
        given = [value for rating in ratings if (value := getattr(rating, name)) is not None]
        if given:
            return sum(given) / len(given)
        return number_of(self._fields.of(name, line), f"{WHO}: {line.where}: {name}")

    @staticmethod
    def _number(line: Line, column: Column) -> float | None:
        return number_of(line.cells[column.name], f"{WHO}: {line.where}: {column.name}")


class _Opinions:
    """Columns of one scheme: the agreed one, and one for each rater.

    Args:
        columns: columns of one scheme.
        names: what the agreed column is called.
    """

    def __init__(self, columns: Sequence[Column], *names: str) -> None:
        called = [column for column in columns if column.name in names]
        alone = len(columns) == 1 and not called
        self.agreed: Column | None = next(iter(called), columns[0] if alone else None)
        known = self.agreed.rater if self.agreed else None
        self.raters: Mapping[str, Column] = {
            column.rater: column for column in columns if column.rater is not None and column.rater != known
        }


def emotion_columns(table: TableHeader, wanted: str | None) -> list[Column]:
    """Columns with emotions: the column ``wanted`` and others of its scheme, or all that are called emotion."""
    if wanted is None:
        return [column for column in table.columns if column.means("emotion")]
    named = [column for column in table.columns if column.name == wanted]
    scheme = named[0].scheme if named else None
    return named + [c for c in table.columns if named and c.name != wanted and scheme and c.scheme == scheme]


def _is_rated(table: TableHeader) -> bool:
    return any(column.means(*names) for names in DIMENSION_NAMES.values() for column in table.columns)


def _range(header: Header, tables: Sequence[TableHeader]) -> tuple[float, float] | None:
    """The bounds that the schemes of all dimensions share.

    Raises:
        CorpusError: they have different ones.
    """
    bounds = {
        (float(scheme.minimum), float(scheme.maximum))
        for table in (*tables, *header.tables)
        for names in DIMENSION_NAMES.values()
        for column in table.columns
        if column.means(*names)
        for scheme in [header.scheme(column)]
        if scheme.minimum is not None and scheme.maximum is not None
    }
    if len(bounds) > 1:
        raise CorpusError(
            f"{WHO}: schemes of valence, arousal and dominance in {header.file} have different bounds "
            f"({', '.join(f'{low:g} to {high:g}' for low, high in sorted(bounds))}). Give dimension_range=[LOW,HIGH]."
        )
    return next(iter(bounds), None)


def _fold(header: Header, table: TableHeader) -> str | None:
    """train, dev or test where the table's split is of that type; another split keeps its id."""
    kind = header.splits.get(table.split or "", "")
    return kind if kind in _PARTITIONS else table.split


def _without_split(table: TableHeader) -> str:
    """A table's id with a star for its split.

    >>> _without_split(TableHeader("emotion.train.gold", (), "train"))
    'emotion.*.gold'
    """
    return table.name if table.split is None else re.sub(rf"(?<![^.]){re.escape(table.split)}(?![^.])", "*", table.name)


def _name(segment: Segment) -> str:
    """The path without its suffix, and the segment where there is one, in milliseconds or finer."""
    path, start, end = segment
    name = path.rpartition(".")[0] or path
    if start is None and end is None:
        return name
    return f"{name}:{_short(start or 0.0)}-{'' if end is None else _short(end)}"


def _short(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".")


def _plurality(votes: Counter[str]) -> str | None:
    """The label that most raters chose; None without votes or on a tie."""
    first = votes.most_common(2)
    return None if not first or (len(first) > 1 and first[0][1] == first[1][1]) else first[0][0]
