"""Facts on a recording in the tables of an audformat database, beside its emotion: speaker, sex, words, language."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ser_toolkit.corpora.layouts.audformat_header import WHO, Column, Header, TableHeader
from ser_toolkit.corpora.layouts.audformat_table import Line, Segment, read_lines, read_misc
from ser_toolkit.corpora.layouts.own_data import composed
from ser_toolkit.errors import CorpusError, nearest

#: Names of columns and schemes, by field; an emotion's dimensions go by two names each.
DIMENSION_NAMES: Mapping[str, tuple[str, ...]] = {
    "valence": ("valence",),
    "arousal": ("arousal", "activation"),
    "dominance": ("dominance", "control"),
}
_NAMES: Mapping[str, tuple[str, ...]] = {
    "speaker": ("speaker", "speaker_id"),
    "sex": ("gender", "sex"),
    "transcript": ("transcription", "transcript", "text"),
    "language": ("language",),
    **DIMENSION_NAMES,
}


class Fields:
    """Cells of all tables, joined by recording or segment; where several tables have a cell, the first counts.

    Args:
        root: the database's folder.
        header: its header.
        wanted: columns that the user named, by field; None is found by name.

    Raises:
        CorpusError: a table cannot be read, or a column that was named is in none of them.
    """

    def __init__(self, root: Path, header: Header, wanted: Mapping[str, str | None]) -> None:
        self._header = header
        self._misc = {name: read_misc(root, header.misc[name]) for name in self._speaker_tables(wanted)}
        self._cells: dict[str, dict[Segment, tuple[str, Column]]] = {}
        lines: dict[str, list[Line]] = {}
        for field, names in _NAMES.items():
            self._cells[field] = {}
            for table, column in self._columns(field, wanted.get(field), names):
                if table.name not in lines:
                    lines[table.name] = read_lines(root, table)
                for line in lines[table.name]:
                    if (text := line.cells[column.name]) is not None:
                        self._cells[field].setdefault(_key(*line.segment), (text, column))
        self._speaker_facts = {"sex": wanted.get("sex"), "language": wanted.get("language")}
        self._check(wanted)

    @property
    def found(self) -> tuple[str, ...]:
        """Fields for which at least one recording has a cell."""
        own = [field for field, cells in self._cells.items() if cells]
        return (*own, *(["sentence"] if "transcript" in own else []), *(f for f in ("sex", "language") if f not in own))

    def of(self, field: str, line: Line) -> str | None:
        """Cell of a field for the recording of a row: that of its segment, else of its file, else of its speaker."""
        if field == "sentence":
            text, column = self._cell("transcript", line)
            return text if column is not None and self._header.scheme(column).labels is not None else None
        text, column = self._cell(field, line)
        if field == "transcript" and column is not None:
            return _spelt(text, self._header.scheme(column).labels)
        if text is None and field in self._speaker_facts:
            return self._of_speaker(
                line, (self._speaker_facts[field],) if self._speaker_facts[field] else _NAMES[field]
            )
        return text

    def _cell(self, field: str, line: Line) -> tuple[str | None, Column | None]:
        cells = self._cells.get(field, {})
        return cells.get(_key(*line.segment)) or cells.get(_key(line.segment[0])) or (None, None)

    def _of_speaker(self, line: Line, names: tuple[str | None, ...]) -> str | None:
        """Fact on the speaker of a row, from the labels of the speaker's scheme in the header or in a misc table."""
        speaker, column = self._cell("speaker", line)
        if speaker is None or column is None:
            return None
        scheme = self._header.scheme(column)
        facts: Any = self._misc.get(scheme.table or "", {}).get(speaker) or (scheme.labels or {}).get(speaker)
        if not isinstance(facts, Mapping):
            return None
        return next((str(facts[name]) for name in names if facts.get(name) is not None), None)

    def _columns(self, field: str, wanted: str | None, names: tuple[str, ...]) -> list[tuple[TableHeader, Column]]:
        found = []
        for table in self._header.tables:
            called = [c for c in table.columns if (c.name == wanted if wanted else c.name in names)]
            of_scheme = [c for c in table.columns if not wanted and c.scheme in names]
            if called or of_scheme:
                found.append((table, (called or of_scheme)[0]))
        return found

    def _speaker_tables(self, wanted: Mapping[str, str | None]) -> set[str]:
        """Misc tables that hold the labels of speakers' schemes."""
        columns = (column for _, column in self._columns("speaker", wanted.get("speaker"), _NAMES["speaker"]))
        return {name for column in columns if (name := self._header.scheme(column).table) in self._header.misc and name}

    def _check(self, wanted: Mapping[str, str | None]) -> None:
        """Check that every column that the user named is in a table.

        Raises:
            CorpusError: a column is in none of them.
        """
        known = {column.name for table in self._header.tables for column in table.columns}
        of_speakers = {column.name for table in self._header.misc.values() for column in table.columns}
        of_speakers |= {
            str(fact)
            for scheme in self._header.schemes.values()
            for facts in (scheme.labels or {}).values()
            if isinstance(facts, Mapping)
            for fact in facts
        }
        for field, name in wanted.items():
            possible = known | of_speakers if field in self._speaker_facts else known
            if name is not None and name not in possible:
                raise CorpusError(
                    f"{WHO}: no table of {self._header.file} has a column {name!r} (for {field}). "
                    f"{nearest(name, possible)}"
                )


def _key(path: str, start: float | None = None, end: float | None = None) -> Segment:
    """Key that tables are joined by: accents composed, as one table may spell a path otherwise than another."""
    return (composed(path), start, end)


def _spelt(text: str | None, labels: Mapping[str, Any] | None) -> str | None:
    """Words for a cell: a code of the transcriptions' scheme is looked up; without labels, the cell has the words."""
    if text is None or labels is None:
        return text
    known = labels.get(text)
    return known if isinstance(known, str) else None
