"""Any corpus that is described by one table: CSV, TSV or Parquet with a row for each utterance."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_toolkit.corpora.base import Utterance
from ser_toolkit.corpora.layouts.columns import (
    FIELDS,
    GenericCorpus,
    Rows,
    Sourced,
    Words,
    number_of,
    sex_of,
    vote_columns,
)
from ser_toolkit.corpora.layouts.own_data import composed
from ser_toolkit.corpora.layouts.table_file import TableRow, read_table
from ser_toolkit.errors import CorpusError, RecipeError, nearest
from ser_toolkit.system.audio_files import as_stored
from ser_toolkit.terms import DIMENSIONS

_NUMBERS = ("start", "end", *DIMENSIONS)


class TableCorpus(GenericCorpus):
    """A table with one row an utterance: file, speaker, label, and whatever else is known.

    Args:
        table: CSV, TSV or Parquet file, relative to the corpus root or absolute.
        classes: class order; every label must be one of them. None means the labels found, sorted.
        columns: what is in which column, where the names differ: ``{path: file, label: emotion}``. Fields: id, path,
            start and end (seconds), speaker, sex, session, dialogue, turn, sentence, transcript, language, style,
            label, raw_label, valence, arousal, dominance, fold, corpus. Columns not named here are found by the
            field's name.
        votes_prefix: columns ``votes_angry``, ``votes_sad`` hold the number of raters who chose the class.
        dimension_range: lowest and highest value that valence, arousal and dominance can take in the table.
        unknown_speakers: go on without a speaker column. No split can then be shown to be speaker-independent.
    """

    name = "table"
    licence = "as stated by the owner of the table"
    label_rule = "the label column of the table"
    absent_advice = "Paths are relative to data.root"

    def __init__(
        self,
        table: str,
        classes: list[str] | None = None,
        columns: dict[str, str] | None = None,
        votes_prefix: str = "votes_",
        dimension_range: tuple[float, float] | None = None,
        unknown_speakers: bool = False,
    ) -> None:
        for field in columns or {}:
            if field not in FIELDS:
                raise RecipeError(f"table: columns names {field!r}, which is no field. {nearest(field, FIELDS)}")
        super().__init__(classes, None, dimension_range, unknown_speakers)
        self.table = table
        self.columns = {field: composed(column) for field, column in (columns or {}).items()}
        self.votes_prefix = votes_prefix

    def _rows(self, root: Path, words: Words) -> Rows:
        file = root / self.table
        header, lines = read_table(file)
        votes = vote_columns(header, self.votes_prefix)
        reader = _Reader(file, root, self._columns(file, header), votes)
        rows = [Sourced(reader.utterance(line), reader.where(line)) for line in lines]
        if not rows:
            raise CorpusError(f"table: {file} has a header and no rows.")
        return Rows(rows, votable=votes)

    def _notes(self, rows: Sequence[Utterance]) -> list[str]:
        """A sentence on unknown speakers; a table need not label every row."""
        unknown = sum(row.speaker is None for row in rows)
        return [f"The speaker of {unknown} of {len(rows)} utterances is unknown."] if unknown else []

    def _label_advice(self, row: Utterance) -> str:
        return "Add it to classes, or remove its rows"

    def _columns(self, file: Path, header: Sequence[str]) -> dict[str, str]:
        """The column of each field that the table has."""
        for field, column in self.columns.items():
            if column not in header:
                raise CorpusError(f"table: {file} has no column {column!r} (for {field}). {nearest(column, header)}")
        found = {field: field for field in FIELDS if field in header} | self.columns
        if "path" not in found:
            raise CorpusError(
                f"table: {file} has no column 'path'. {nearest('path', header)} "
                "Say which column names the audio file with columns={path: NAME}."
            )
        if "speaker" not in found and not self.unknown_speakers:
            raise CorpusError(
                f"table: {file} has no column 'speaker'. {nearest('speaker', header)} Training and test speakers are "
                "kept apart by it: say which column it is with columns={speaker: NAME}, or ask for "
                "unknown_speakers=true to go on without."
            )
        if not {"label", *DIMENSIONS} & found.keys() and not vote_columns(header, self.votes_prefix):
            raise CorpusError(
                f"table: {file} says nothing about emotion: no column 'label', {self.votes_prefix}CLASS, valence, "
                f"arousal or dominance. {nearest('label', header)}"
            )
        return found


@dataclass(frozen=True)
class _Reader:
    """From a row of cells to an utterance."""

    file: Path
    root: Path
    columns: Mapping[str, str]
    vote_columns: Mapping[str, str]

    def where(self, row: TableRow) -> str:
        """Name of a row in errors."""
        return f"{self.file}, row {row.number}"

    def utterance(self, row: TableRow) -> Utterance:
        """The utterance of a row.

        Raises:
            CorpusError: a cell is wrong, or the row has no emotion.
        """
        text = {field: row.cells[column].strip() or None for field, column in self.columns.items()}
        numbers = {field: self._number(row, column) for field, column in self.columns.items() if field in _NUMBERS}
        start, end = numbers.get("start"), numbers.get("end")
        if (start or 0.0) < 0 or (end is not None and end <= (start or 0.0)):
            raise self._error(row, f"start {start} and end {end}: expected 0 <= start < end, in seconds")
        path = self._path(row, text.get("path"))
        votes = {label: self._number(row, column) or 0.0 for label, column in self.vote_columns.items()}
        if any(count < 0 for count in votes.values()):
            raise self._error(row, "a negative number of votes")
        if text.get("label") is None and not any(votes.values()) and all(numbers.get(d) is None for d in DIMENSIONS):
            raise self._error(row, f"{self._nothing()}. Fill the cell, or remove the row")
        if text.get("sex") is not None:
            text["sex"] = self._sex(row, text["sex"] or "")
        text["id"] = text.get("id") or _default_id(path, start, end)
        named = {field: value for field, value in text.items() if field not in (*_NUMBERS, "path")}
        return Utterance(path=path, votes=votes if any(votes.values()) else None, **named, **numbers)  # type: ignore[arg-type]

    def _nothing(self) -> str:
        """Missing cells of a row without any emotion, in words."""
        rated = " or ".join(field for field in DIMENSIONS if field in self.columns)
        if "label" not in self.columns and not self.vote_columns:
            return f"no rating of {rated}"
        return f"an empty label and no rating of {rated}" if rated else "an empty label"

    def _path(self, row: TableRow, given: str | None) -> str:
        if given is None:
            raise self._error(row, "no audio file. Fill the cell, or remove the row")
        path = Path(given.replace("\\", "/"))
        # Links are not followed: a folder of links to recordings elsewhere is a corpus, too.
        root, place = (Path(os.path.abspath(one)) for one in (self.root, self.root / path))
        if (path.is_absolute() or ".." in path.parts) and not place.is_relative_to(root):
            raise self._error(row, f"the path {given}, outside the corpus root {self.root}. Give a root that holds it")
        return as_stored(root, place.relative_to(root).as_posix() if path.is_absolute() else path.as_posix())

    def _sex(self, row: TableRow, given: str) -> str:
        sex = sex_of(given)
        if sex is None:
            raise self._error(row, f"the sex {given!r}: expected female, male, f, m or nothing")
        return sex

    def _number(self, row: TableRow, column: str) -> float | None:
        return number_of(row.cells[column], f"table: {self.where(row)}: {column}")

    def _error(self, row: TableRow, found: str) -> CorpusError:
        return CorpusError(f"table: {self.where(row)} has {found}.")


def _default_id(path: str, start: float | None, end: float | None) -> str:
    """The path without its suffix, and the segment where there is one."""
    name = path.rpartition(".")[0] or path
    return name if start is None and end is None else f"{name}:{start or 0:g}-{'' if end is None else f'{end:g}'}"
