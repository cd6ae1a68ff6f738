"""Cells of the tables of an audformat database, as text, by recording or segment."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_toolkit.corpora.layouts.audformat_header import WHO, TableHeader
from ser_toolkit.corpora.layouts.columns import inside, text_of
from ser_toolkit.corpora.layouts.table_file import read_table
from ser_toolkit.errors import CorpusError

#: A time as pandas writes it: ``0 days 00:00:01.500000``, and ``0 days`` in a column where all are whole days.
_TIME = re.compile(r"(?=.)(?:(?P<days>\d+) days?)? ?(?:(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d(?:\.\d+)?))?")
#: Recording, start and end in seconds; None where the recording starts and ends.
Segment = tuple[str, float | None, float | None]


@dataclass(frozen=True)
class Line:
    """One row of a table.

    Args:
        segment: the recording, or stretch of it, that the row describes.
        cells: text by column; None is an empty cell.
        where: file and number of the row, for errors.
    """

    segment: Segment
    cells: Mapping[str, str | None]
    where: str


def read_lines(root: Path, table: TableHeader) -> list[Line]:
    """The rows of a table of recordings.

    Raises:
        CorpusError: its file is missing, pickled or damaged, or a cell is not what it should be.
    """
    lines = []
    for cells, place in _rows(root, table, "file", *(column.name for column in table.columns)):
        where = f"{WHO}: {place}"
        file = text_of(cells["file"], where)
        if file is None:
            raise CorpusError(f"{where} names no recording. Fill the cell, or remove the row.")
        start = _seconds(cells.get("start"), where, "start") or None
        end = _seconds(cells.get("end"), where, "end")
        if end is not None and end <= (start or 0.0):
            raise CorpusError(f"{where} has start {start or 0:g} s and end {end:g} s: expected an end after its start.")
        texts = {column.name: text_of(cells[column.name], f"{where}: {column.name}") for column in table.columns}
        lines.append(Line((inside(file, where).as_posix(), start, end), texts, place))
    return lines


def read_misc(root: Path, table: TableHeader) -> dict[str, dict[str, str | None]]:
    """The cells of a misc table with one level, by the text of its index.

    Raises:
        CorpusError: see ``read_lines``.
    """
    level = table.levels[0] if table.levels else "idx"
    return {
        text_of(cells[level], f"{WHO}: {place}") or "": {
            column.name: text_of(cells[column.name], f"{WHO}: {place}: {column.name}") for column in table.columns
        }
        for cells, place in _rows(root, table, level, *(column.name for column in table.columns))
    }


def _rows(root: Path, table: TableHeader, *needed: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Cells by column and the name of each row, of the Parquet file if there is one, else of the CSV file."""
    file = _file(root, table)
    if file.suffix == ".parquet":
        names, rows = _parquet(file)
    else:
        names, lines = read_table(file)
        rows = [line.cells for line in lines]
    missing = [name for name in needed if name not in names]
    if missing:
        raise CorpusError(f"{WHO}: {file} has no column {', '.join(missing)}, which db.yaml promises. Copy it again.")
    for number, cells in enumerate(rows, start=1):
        yield cells, f"{file}, row {number}"


def _file(root: Path, table: TableHeader) -> Path:
    for suffix in (".parquet", ".csv"):
        if (file := root / f"db.{table.name}{suffix}").is_file():
            return file
    if (root / f"db.{table.name}.pkl").is_file():
        anew = f"audformat.Database.load({str(root)!r}).save({str(root)!r}, storage_format='parquet')"
        raise CorpusError(
            f"{WHO}: the table {table.name} is only there as a pickle, and opening one runs what is in it. If you "
            f"trust it, save it anew: {anew}."
        )
    raise CorpusError(f"{WHO}: {root} has no db.{table.name}.csv or .parquet. Complete the copy.")


def _parquet(file: Path) -> tuple[list[str], list[dict[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise CorpusError(f"{WHO}: {file} cannot be read ({error}). Copy it again.") from error
    for number, column in enumerate(table.schema):
        if pyarrow.types.is_duration(column.type):
            # Nanoseconds as numbers: as objects they are of pandas where it is imported, else of Python.
            whole = table.column(number).cast(pyarrow.duration("ns")).cast("int64")
            table = table.set_column(number, column.name, pyarrow.compute.divide(whole.cast("float64"), 1e9))
    return table.column_names, table.to_pylist()


def _seconds(value: object, where: str, column: str) -> float | None:
    """A time in seconds; None when it is empty or NaT."""
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, float):
        return value
    text = text_of(value, where)
    if text is None or text == "NaT":
        return None
    found = _TIME.fullmatch(text)
    if found is None:
        raise CorpusError(f"{where} has the {column} {text!r}. Expected a time such as 0 days 00:00:01.500000.")
    hours = int(found["days"] or 0) * 24 + int(found["hours"] or 0)
    return float(hours * 3600 + int(found["minutes"] or 0) * 60) + float(found["seconds"] or 0)
