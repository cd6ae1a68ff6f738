"""Any folder of speech that Hugging Face ``datasets`` reads or writes, without that library.

It would copy every table into a cache of its own and import for seconds, and ids and splits would have to be read from
its files all the same; a few hundred lines on pyarrow, which is needed anyway, read them where they lie.

Layouts are told in ``_hf_layout``: ``audiofolder``, Parquet shards of the hub, ``save_to_disk``. Decoded audio (arrays
of numbers) and loading scripts are not read. Recordings that are embedded are unpacked to the cache folder.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from ser_toolkit.corpora.base import Utterance
from ser_toolkit.corpora.layouts.columns import (
    GenericCorpus,
    Sourced,
    inside,
    language_of,
    number_of,
    sex_of,
    some,
    text_of,
)
from ser_toolkit.corpora.layouts.huggingface_layout import WHO, find_parts, numbered, split_word
from ser_toolkit.corpora.layouts.huggingface_sheet import EMBEDDED, NAMED, Sheet, read_sheet
from ser_toolkit.corpora.layouts.huggingface_unpack import recordings
from ser_toolkit.corpora.table import FIELDS
from ser_toolkit.errors import CorpusError, RecipeError, nearest
from ser_toolkit.terms import DIMENSIONS

#: Names that columns customarily have, by field; the first that a file has is taken.
CUSTOMARY: Mapping[str, tuple[str, ...]] = {
    "audio": ("file_name", "audio", "audio_file_name", "file", "path", "filename", "wav"),
    "label": ("emotion", "label", "labels", "emotion_label", "major_emotion", "emotions"),
    "speaker": ("speaker_id", "speaker", "speaker_name", "spk_id", "spk", "actor", "actor_id", "client_id"),
    "sex": ("gender", "sex", "speaker_gender"),
    "transcript": ("transcription", "transcript", "text", "sentence", "raw_text", "normalized_text"),
    "language": ("language", "lang", "locale"),
    "session": ("session",),
    "dialogue": ("dialogue", "dialogue_id"),
    "style": ("style",),
    "fold": ("fold", "split"),
    "valence": ("valence",),
    "arousal": ("arousal", "activation"),
    "dominance": ("dominance", "control"),
}


class HuggingFaceAudio(GenericCorpus):
    """A folder of Hugging Face datasets: audiofolder, Parquet shards of the hub, or save_to_disk.

    Columns that are called as usual (``emotion``, ``speaker_id``, ``gender``, ``transcription`` ...) need not be named.

    Args:
        emotion: column of the label; numbers of a ClassLabel become its words, -1 means not labelled.
        speaker: column of the speaker, by which training and test are kept apart.
        audio: column of the recording, where it is not the only audio.
        gender: column with female, male, f or m; other words count as unknown.
        transcription: column of the words.
        language: column of the language: code or English name.
        columns: what else is in which column, by field: ``{arousal: act, session: room}``. Fields are those of
            TableCorpus.
        votes_prefix: columns ``votes_angry``, ``votes_sad`` hold the number of raters who chose the class.
        splits: names of the splits to read; None reads all. The split of a row is its fold.
        classes: class order; every label must be one of them. None means the labels found, sorted.
        mapping: label by word of the dataset, ``{anger: angry}``; null leaves its utterances unlabelled.
        dimension_range: lowest and highest value that valence, arousal and dominance can take.
        unknown_speakers: go on without speakers. No split can then be shown to be speaker-independent.
    """

    name = WHO
    label_rule = "the emotion column of the dataset"

    def __init__(
        self,
        emotion: str | None = None,
        speaker: str | None = None,
        audio: str | None = None,
        gender: str | None = None,
        transcription: str | None = None,
        language: str | None = None,
        columns: dict[str, str] | None = None,
        votes_prefix: str = "votes_",
        splits: list[str] | None = None,
        classes: list[str] | None = None,
        mapping: dict[str, str | None] | None = None,
        dimension_range: tuple[float, float] | None = None,
        unknown_speakers: bool = False,
    ) -> None:
        super().__init__(classes, mapping, dimension_range, unknown_speakers)
        for field in columns or {}:
            if field not in FIELDS:
                raise RecipeError(f"{WHO}: columns names {field!r}, which is no field. {nearest(field, FIELDS)}")
        named = {"label": emotion, "speaker": speaker, "audio": audio, "sex": gender, "transcript": transcription}
        self.columns = {field: column for field, column in {**named, "language": language}.items() if column}
        self.columns |= {"audio" if field == "path" else field: column for field, column in (columns or {}).items()}
        self.votes_prefix = votes_prefix
        self.splits = splits

    def _rows(self, root: Path) -> list[Sourced]:
        sheets = [read_sheet(part) for part in find_parts(root, self.splits)]
        parts = numbered((sheet.part for sheet in sheets), (sheet.length for sheet in sheets))
        firsts = [part.first for part in parts]
        rows: list[Sourced] = []
        for sheet, first in zip(sheets, firsts, strict=True):
            columns = self._columns(sheet)
            paths = self._recordings(sheet, columns["audio"], root)
            rows += [self._row(sheet, columns, row, path, first) for row, path in enumerate(paths)]
        return rows

    def _columns(self, sheet: Sheet) -> dict[str, str]:
        """The column of each field that the file has: as told, else the customary name that comes first."""
        found: dict[str, str] = {}
        for field, names in CUSTOMARY.items():
            known = sheet.cells if field != "audio" else _likely_audio(sheet)
            if customary := [name for name in names if name in known]:
                found[field] = customary[0]
        for field, column in self.columns.items():
            if column not in sheet.columns:
                raise CorpusError(
                    f"{WHO}: {sheet.part.file} has no column {column!r} (for {field}). {nearest(column, sheet.columns)}"
                )
            if field != "audio" and column not in sheet.cells:
                raise CorpusError(
                    f"{WHO}: {sheet.part.file}: {column} (for {field}) holds lists or audio. Expected one value a row."
                )
        if "audio" not in found and (likely := _likely_audio(sheet)):
            found["audio"] = likely[0]
        found |= self.columns
        columns = f"Its columns: {some(sheet.columns)}."
        if "audio" not in found:
            raise CorpusError(f"{WHO}: {sheet.part.file} has no column of audio or file names. {columns}")
        if not {"label", *DIMENSIONS} & found.keys() and not self._votes(sheet):
            raise CorpusError(
                f"{WHO}: {sheet.part.file} says nothing about emotion. {columns} Say which one does with emotion=NAME."
            )
        if "speaker" not in found and not self.unknown_speakers:
            raise CorpusError(
                f"{WHO}: {sheet.part.file} has no column of speakers. {columns} Training and test speakers are kept "
                "apart by it: say which one it is with speaker=NAME, or ask for unknown_speakers=true to go on without."
            )
        return found

    def _recordings(self, sheet: Sheet, column: str, root: Path) -> list[str]:
        kind = sheet.audio.get(column)
        if kind == EMBEDDED:
            return recordings(sheet, column, root)
        if kind != NAMED:
            raise CorpusError(
                f"{WHO}: {sheet.part.file}: {column} is not audio that can be read: neither embedded files (bytes) nor "
                "names of files. Arrays lose the format of the recording: cast the column to Audio and save it again."
            )
        paths = []
        for row in range(sheet.length):
            where = f"{WHO}: {sheet.where(row)}"
            name = text_of(sheet.cells[column][row], f"{where}: {column}")
            if name is None:
                raise CorpusError(f"{where} names no recording ({column} is empty). Fill the cell, or remove the row.")
            paths.append((sheet.part.base / inside(name, where)).relative_to(root).as_posix())
        return paths

    def _votes(self, sheet: Sheet) -> dict[str, str]:
        prefix = self.votes_prefix
        return {name.removeprefix(prefix): name for name in sheet.cells if prefix and name.startswith(prefix)}

    def _row(self, sheet: Sheet, columns: Mapping[str, str], row: int, path: str, first: int) -> Sourced:
        text: dict[str, str | None] = {}
        numbers: dict[str, float | None] = {}
        for field, column in columns.items():
            where = f"{WHO}: {sheet.where(row)}: {column}"
            if field in (*DIMENSIONS, "start", "end"):
                numbers[field] = number_of(sheet.cell(column, row), where)
            elif field != "audio":
                text[field] = text_of(sheet.cell(column, row), where)
        votes = self._cast(sheet, row)
        text |= {
            "id": text.get("id") or self._default_id(sheet, path, first + row),
            "label": self.label_of(text.get("label")),
            "raw_label": text.get("raw_label") or text.get("label"),
            "sex": sex_of(text.get("sex")),
            "language": language_of(text.get("language")),
            "fold": self._fold(sheet.part.split) or self._fold(text.get("fold")),
        }
        return Sourced(Utterance(path=path, votes=votes or None, **text, **numbers), sheet.where(row))  # type: ignore[arg-type]

    def _cast(self, sheet: Sheet, row: int) -> dict[str, float]:
        """Votes by class, and those for words that are mapped to nothing; empty when nobody voted."""
        votes: dict[str, float] = defaultdict(float)
        for name, column in self._votes(sheet).items():
            where = f"{WHO}: {sheet.where(row)}: {column}"
            count = number_of(sheet.cell(column, row), where) or 0.0
            if count < 0:
                raise CorpusError(f"{where} holds {count:g}: expected a number of raters.")
            votes[self.vote_for(name)] += count
        return dict(votes) if any(votes.values()) else {}

    @staticmethod
    def _fold(split: str | None) -> str | None:
        """train, dev or test where the split's name means that; other names are folds of their own."""
        word = split_word(split or "")
        return {"validation": "dev"}.get(word, word) if word else split

    @staticmethod
    def _default_id(sheet: Sheet, path: str, number: int) -> str:
        """Where the recording is a file of its own, its name; else the split and the row's number in it, from 0."""
        if not Path(path).is_absolute():
            return path.rpartition(".")[0] or path
        return f"{sheet.part.split or 'row'}-{number:06d}"


def _likely_audio(sheet: Sheet) -> Sequence[str]:
    """Columns with embedded recordings; without such, those that are called as names of recordings are."""
    embedded = [name for name, kind in sheet.audio.items() if kind == EMBEDDED]
    called = [name for name in sheet.audio if name in CUSTOMARY["audio"] or name.endswith("_file_name")]
    return embedded or called
