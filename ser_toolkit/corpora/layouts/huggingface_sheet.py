"""Columns of one file of a Hugging Face dataset, without its audio: their names and cells."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_toolkit.corpora.layouts.huggingface_layout import WHO, DataFile
from ser_toolkit.corpora.layouts.table_file import read_table
from ser_toolkit.errors import CorpusError

if TYPE_CHECKING:
    import pyarrow

#: How a cell holds its recording.
EMBEDDED, NAMED = "embedded", "named"
#: Features whose cells are files, but not of speech.
_NO_SPEECH = ("Image", "Pdf", "Video")
_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Sheet:
    """The columns of one file.

    Args:
        part: the file.
        columns: names of all columns.
        audio: how the columns that can be audio hold it, by name; None is a decoded array.
        class_names: words behind the numbers of ``ClassLabel`` columns.
        cells: all columns but embedded audio and lists.
        length: rows.
    """

    part: DataFile
    columns: tuple[str, ...]
    audio: Mapping[str, str | None]
    class_names: Mapping[str, Sequence[str]]
    cells: Mapping[str, Sequence[Any]]
    length: int

    def where(self, row: int) -> str:
        """Name of a row in errors; rows count from 1."""
        return f"{self.part.file}, row {row + 1}"

    def cell(self, column: str, row: int) -> Any:
        """A cell; the number of a class is given as its word, and -1 (not labelled) as None.

        Raises:
            CorpusError: the number is none of the classes.
        """
        value = self.cells[column][row]
        names = self.class_names.get(column)
        if names is None or value is None or isinstance(value, str):
            return value
        if value == -1:
            return None
        if not 0 <= value < len(names):
            raise CorpusError(
                f"{WHO}: {self.where(row)}: {column} is class {value}, and there are {len(names)} ({', '.join(names)})."
            )
        return names[value]


def read_sheet(part: DataFile) -> Sheet:
    """Read a file's columns, all but embedded audio.

    Raises:
        CorpusError: the file is damaged or of another kind than its name.
    """
    if part.file.name == "metadata.csv":
        header, rows = read_table(part.file)
        return _of_texts(part, {name: [row.cells[name] for row in rows] for name in header}, len(rows))
    if part.file.name == "metadata.jsonl":
        lines = _json_lines(part.file)
        names = list(dict.fromkeys(name for line in lines for name in line))
        return _of_texts(part, {name: [line.get(name) for line in lines] for name in names}, len(lines))
    with opened(part.file) as (schema, read):
        classes = _class_names(schema)
        audio = _file_names(schema.names) if part.is_metadata else _audio_columns(schema)
        # Arrays of samples or of features may be as large as the audio: they are not read either.
        table = read([name for name in schema.names if audio.get(name, NAMED) == NAMED])
        cells = {name: table.column(name).to_pylist() for name in table.column_names}
        columns = tuple(schema.names)
    return Sheet(part, columns, audio, classes, cells, table.num_rows)


def _of_texts(part: DataFile, cells: Mapping[str, list[Any]], length: int) -> Sheet:
    return Sheet(part, tuple(cells), _file_names(cells), {}, cells, length)


def _file_names(columns: Iterable[str]) -> dict[str, str | None]:
    """Columns of ``audiofolder`` that name recordings; all columns where none has a customary name."""
    names = list(columns)
    usual = [name for name in names if name == "file_name" or name.endswith("_file_name")]
    return dict.fromkeys(usual or names, NAMED)


def _json_lines(file: Path) -> list[dict[str, Any]]:
    lines = []
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{WHO}: {file} cannot be read: {error}. Expected UTF-8 text.") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as error:
            raise CorpusError(f"{WHO}: {file}, line {number} is no JSON: {error}.") from error
        if not isinstance(found, dict):
            raise CorpusError(f"{WHO}: {file}, line {number} is no JSON object. Expected {{...}} on every line.")
        lines.append(found)
    return lines


@contextlib.contextmanager
def opened(file: Path) -> Iterator[tuple[pyarrow.Schema, Any]]:
    """The schema of a Parquet or Arrow file, and a function that reads some of its columns as a table.

    Raises:
        CorpusError: the file is damaged.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        if file.suffix == ".parquet":
            with pyarrow.parquet.ParquetFile(file) as stored:
                yield stored.schema_arrow, lambda columns: stored.read(columns=columns)
        else:
            # Mapped into memory: columns that are not asked for, which is the audio, are never read.
            with pyarrow.memory_map(str(file)) as mapped, pyarrow.ipc.open_stream(mapped) as stream:
                yield stream.schema, lambda columns: stream.read_all().select(columns)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{WHO}: {_damage(file, error)}") from error


def _damage(file: Path, error: Exception) -> str:
    """Why a file cannot be read; a clone without Git LFS has a few lines of text where the data should be."""
    try:
        with file.open("rb") as content:
            pointer = content.read(len(_POINTER)) == _POINTER
    except OSError:
        pointer = False
    if pointer:
        return f"{file} is a pointer of Git LFS and not the file itself. Fetch it with git lfs pull."
    return f"{file} cannot be read ({error}). Copy it again."


def _features(schema: pyarrow.Schema) -> Mapping[str, Any]:
    """Descriptions of the columns by ``datasets``, from the schema of the file; empty where it wrote none."""
    try:
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = about["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _class_names(schema: pyarrow.Schema) -> dict[str, list[str]]:
    return {
        name: [str(word) for word in feature["names"]]
        for name, feature in _features(schema).items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list)
    }


def _audio_columns(schema: pyarrow.Schema) -> dict[str, str | None]:
    """Columns that are audio by their type come first; text can be the names of recordings."""
    import pyarrow.types as kinds

    features = _features(schema)
    audio: dict[str, str | None] = {}
    texts: dict[str, str | None] = {}
    for column in schema:
        kind, feature = column.type, features.get(column.name)
        inner = {kind.field(k).name for k in range(kind.num_fields)} if kinds.is_struct(kind) else set()
        if isinstance(feature, dict) and feature.get("_type") in _NO_SPEECH:
            texts[column.name] = None
        elif "bytes" in inner or kinds.is_binary(kind) or kinds.is_large_binary(kind):
            audio[column.name] = EMBEDDED
        elif _is_text(kind):
            texts[column.name] = NAMED
        elif "array" in inner or kinds.is_list(kind) or (isinstance(feature, dict) and feature.get("_type") == "Audio"):
            texts[column.name] = None
    return audio | texts


def _is_text(kind: Any) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_string(kind) or kinds.is_large_string(kind))
