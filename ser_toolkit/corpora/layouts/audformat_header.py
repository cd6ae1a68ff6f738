"""The header of an audformat database, ``db.yaml``: its tables, their columns, and the schemes of these.

Format: the specification of audformat, https://audeering.github.io/audformat/data-introduction.html. Its library is
not used, because it takes a pickled table for the table wherever one lies beside it, and opening a pickle runs what is
in it. What is read here is YAML, CSV and Parquet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ser_toolkit.errors import CorpusError

WHO = "audformat"


@dataclass(frozen=True)
class Scheme:
    """Possible cells of a column.

    Args:
        labels: facts on each label, by its text; None where any value may stand.
        table: the misc table that has the labels in its index, instead.
        minimum: lowest value, where numbers are bounded.
        maximum: highest value.
    """

    labels: Mapping[str, Any] | None = None
    table: str | None = None
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: its id.
        scheme: id of its scheme, or None.
        rater: id of its rater, or None.
    """

    name: str
    scheme: str | None = None
    rater: str | None = None

    def means(self, *names: str) -> bool:
        """Whether the column or its scheme has one of the names."""
        return self.name in names or self.scheme in names


@dataclass(frozen=True)
class TableHeader:
    """A table of the header; a misc table has ``levels`` for its index, others a file or a segment of one.

    Args:
        name: its id.
        columns: in their order.
        split: id of its split, or None.
        levels: names of the index of a misc table.
    """

    name: str
    columns: tuple[Column, ...]
    split: str | None = None
    levels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Header:
    """A database without its cells.

    Args:
        file: ``db.yaml``.
        schemes: by id.
        tables: tables of recordings, in the order of the header.
        misc: other tables, by id.
        splits: type of each split (train, dev, test), by id.
        languages: as in the header.
    """

    file: Path
    schemes: Mapping[str, Scheme]
    tables: tuple[TableHeader, ...]
    misc: Mapping[str, TableHeader] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    languages: tuple[str, ...] = ()

    def scheme(self, column: Column) -> Scheme:
        """The scheme of a column; an empty one where it has none."""
        return self.schemes.get(column.scheme or "", Scheme())

    def columns(self) -> str:
        """All tables with their columns, for errors."""
        return "; ".join(f"{table.name} ({', '.join(c.name for c in table.columns)})" for table in self.tables)


def read_header(root: Path) -> Header:
    """Read the header of an audformat database, ``db.yaml``.

    Raises:
        CorpusError: it is missing, or not a header of audformat.
    """
    import yaml

    file = root / "db.yaml"
    if not file.is_file():
        nested = sorted(entry for entry in root.iterdir() if entry.is_dir() and (entry / "db.yaml").is_file())
        advice = f"It lies one level down: give data.root={nested[0]}." if nested else "Give the folder that holds it."
        raise CorpusError(f"{WHO}: {root} has no db.yaml. {advice}")
    try:
        about = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise CorpusError(f"{WHO}: {file} cannot be read ({reason}). Complete the copy.") from error
    if not isinstance(about, dict) or not about.get("tables"):
        raise CorpusError(f"{WHO}: {file} names no tables. Expected the header of an audformat database.")
    try:
        return Header(
            file,
            {str(name): _scheme(one or {}) for name, one in (about.get("schemes") or {}).items()},
            tuple(_table(str(name), one or {}) for name, one in about["tables"].items()),
            {str(name): _table(str(name), one or {}) for name, one in (about.get("misc_tables") or {}).items()},
            {str(name): str((one or {}).get("type", name)) for name, one in (about.get("splits") or {}).items()},
            tuple(str(language) for language in about.get("languages") or ()),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise CorpusError(f"{WHO}: {file} is not a header of audformat ({error}).") from error


def _scheme(about: Mapping[str, Any]) -> Scheme:
    labels = about.get("labels")
    low, high = (None if about.get(name) is None else float(about[name]) for name in ("minimum", "maximum"))
    if isinstance(labels, str):
        return Scheme(None, labels, low, high)
    if isinstance(labels, list):
        labels = dict.fromkeys(labels)
    return Scheme(None if labels is None else {str(word): known for word, known in labels.items()}, None, low, high)


def _table(name: str, about: Mapping[str, Any]) -> TableHeader:
    columns = (
        Column(str(column), _id(one or {}, "scheme_id"), _id(one or {}, "rater_id"))
        for column, one in (about.get("columns") or {}).items()
    )
    return TableHeader(
        name, tuple(columns), _id(about, "split_id"), tuple(str(level) for level in about.get("levels") or ())
    )


def _id(about: Mapping[str, Any], key: str) -> str | None:
    return None if about.get(key) is None else str(about[key])
