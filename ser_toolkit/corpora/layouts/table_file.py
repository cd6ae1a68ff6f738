"""Cells of a CSV, TSV or Parquet file as text, with the number of their row."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from ser_toolkit.corpora.layouts.own_data import composed
from ser_toolkit.errors import CorpusError

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}


@dataclass(frozen=True)
class TableRow:
    """One row of a table.

    Args:
        number: counted from 1, without the header.
        cells: text by column; an empty cell is an empty text.
    """

    number: int
    cells: dict[str, str]


class _Rows(Sequence[TableRow]):
    """Rows of a table, each made when it is read: all at once, as dictionaries, take more memory than the cells."""

    def __init__(self, header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
        self._header, self._lines = header, lines

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, place: int) -> TableRow: ...
    @overload
    def __getitem__(self, place: slice) -> list[TableRow]: ...
    def __getitem__(self, place: int | slice) -> TableRow | list[TableRow]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        number = range(len(self))[place]
        return TableRow(number + 1, dict(zip(self._header, self._lines[number], strict=True)))


def read_table(file: Path) -> tuple[list[str], Sequence[TableRow]]:
    """Column names and rows.

    Raises:
        CorpusError: there is no such file, it is of another kind, or a row has more or fewer cells than the header.
    """
    if not file.is_file():
        raise CorpusError(f"table: no file at {file}. Give the table relative to data.root, or as an absolute path.")
    kind = file.suffix.lower()
    if kind in _SEPARATORS:
        header, lines = _read_text(file, _SEPARATORS[kind])
    elif kind == ".parquet":
        header, lines = _read_parquet(file)
    else:
        raise CorpusError(f"table: {file} is of an unknown kind. Expected a name that ends in .csv, .tsv or .parquet.")
    header = [composed(column) for column in header]
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise CorpusError(f"table: {file} has more than one column called {', '.join(twice)}. Rename all but one.")
    for number, cells in enumerate(lines, start=1):
        if len(cells) != len(header):
            raise CorpusError(
                f"table: {file}, row {number} has {len(cells)} cells and the header {len(header)}. "
                "Is a separator missing, or a text with separators not in quotes?"
            )
    return header, _Rows(header, lines)


def _read_text(file: Path, separator: str) -> tuple[list[str], list[list[str]]]:
    try:
        # utf-8-sig drops the mark that spreadsheet programs write before the first column name.
        with file.open(encoding="utf-8-sig", newline="") as text:
            lines = [line for line in csv.reader(text, delimiter=separator, strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"table: {file} cannot be read: {error}. Expected UTF-8 text.") from error
    if not lines:
        raise CorpusError(f"table: {file} is empty. Expected column names in the first line.")
    other = next((mark for mark in (";", "\t", ",") if len(lines[0]) == 1 and mark in lines[0][0]), None)
    if other is not None:
        raise CorpusError(
            f"table: the columns of {file} are separated by {_NAMES[other]}, expected {_NAMES[separator]} in a "
            f"{file.suffix} file. Save it anew so{', numbers with a decimal point' if other == ';' else ''}."
        )
    return [column.strip() for column in lines[0]], lines[1:]


def _read_parquet(file: Path) -> tuple[list[str], list[list[str]]]:
    import pandas as pd  # not at the top: listing the corpora must not cost half a second

    try:
        frame = pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise CorpusError(f"table: {file} cannot be read as Parquet: {error}.") from error
    try:
        # convert_dtypes keeps whole numbers whole where a cell is missing: speaker 3, not 3.0.
        text = frame.convert_dtypes().astype("string").fillna("")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"table: {file} has a column of bytes. Embedded recordings are read by data.corpus=HuggingFaceAudio."
        ) from error
    return [str(column) for column in frame.columns], text.to_numpy().tolist()
