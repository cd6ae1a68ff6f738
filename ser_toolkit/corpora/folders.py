"""Any corpus that keeps one folder of audio files for each class."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from ser_toolkit.corpora._published import some
from ser_toolkit.corpora.base import OWN_DATA, Corpus, Utterance, require_directory, visible_files
from ser_toolkit.errors import CorpusError, RecipeError

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".aiff")


class FolderCorpus(Corpus):
    """Audio in one folder a class: root/happy/s01_001.wav; the speaker is read from the file name.

    Args:
        speaker_pattern: regular expression for the whole file name without its suffix, with a group called speaker,
            for example ``(?P<speaker>[^_]+)_.*``: training and test speakers are kept apart by it.
    """

    name = "folders"
    licence = "as stated by the owner of the audio"
    citation = "none given"
    verified = OWN_DATA
    label_rule = "the name of the folder that holds the file"
    default_protocol = "GroupedKFold"

    def __init__(self, speaker_pattern: str) -> None:
        try:
            self._pattern = re.compile(speaker_pattern)
        except re.error as error:
            raise RecipeError(
                f"folders: speaker_pattern {speaker_pattern!r} is no regular expression: {error}."
            ) from error
        if "speaker" not in self._pattern.groupindex:
            raise RecipeError(
                f"folders: speaker_pattern {speaker_pattern!r} has no group called speaker. "
                r"Write for example (?P<speaker>\d+)_.* for files named 07_happy_1.wav."
            )
        self.speaker_pattern = speaker_pattern
        self._found: tuple[str, ...] = ()
        self._unread: list[str] = []

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the class folders in alphabetical order; known once ``utterances`` has run."""
        if not self._found:
            raise CorpusError("folders: the classes are the folders' names: call utterances(root) first.")
        return self._found

    def utterances(self, root: Path) -> list[Utterance]:
        """One row for each audio file of each folder, by class and name.

        Raises:
            CorpusError: a folder holds no audio, fewer than two do, a file name does not match ``speaker_pattern``,
                or two files differ in their suffix only.
        """
        require_directory(root, corpus=self.name)
        entries = sorted(entry for entry in root.iterdir() if entry.is_dir())
        folders = [entry for entry in entries if entry.name[0] != "." and entry.name != "__MACOSX"]
        rows: dict[str, Utterance] = {}
        for folder in folders:
            for file in self._files(folder, len(folders)):
                row = self._row(file, folder.name)
                if row.id in rows:
                    raise CorpusError(f"folders: {rows[row.id].path} and {row.path} have one name. Remove one of them.")
                rows[row.id] = row
        if len(folders) < 2:
            raise CorpusError(
                f"folders: {root} has {len(folders)} class folders; two are needed at least. "
                "Expected one folder of audio for each class: give their parent as data.root."
            )
        self._found = tuple(dict.fromkeys(_composed(folder.name) for folder in folders))
        deeper = (
            file
            for folder in folders
            for entry in sorted(folder.iterdir())
            if entry.is_dir()
            for file in visible_files(entry, *SUFFIXES)
        )
        self._unread = [str(file.relative_to(root)) for file in (*visible_files(root, *SUFFIXES), *deeper)]
        return list(rows.values())

    def notes(self, rows: Sequence[Utterance]) -> list[str]:
        """Recordings that lie in no class folder, or one level too deep."""
        if not self._unread:
            return []
        return [f"{len(self._unread)} recordings lie in no class folder itself and are not read: {some(self._unread)}."]

    def _files(self, folder: Path, folders: int) -> list[Path]:
        files = visible_files(folder, *SUFFIXES)
        if files:
            return files
        nested = sorted(entry for entry in folder.iterdir() if entry.is_dir() and visible_files(entry, *SUFFIXES))
        advice = "Every folder is taken for a class: fill it or move it away."
        if nested:
            advice = f"Audio lies one level down, in {', '.join(entry.name for entry in nested[:4])}: " + (
                f"give data.root={folder}."
                if folders == 1
                # With the folder as root, speakers would be taken for classes.
                else "move it up, or write a table with path, label and speaker (TableCorpus)."
            )
        raise CorpusError(f"folders: {folder} holds no audio ({', '.join(SUFFIXES)}). {advice}")

    def _row(self, file: Path, folder: str) -> Utterance:
        stem, label = _composed(file.stem), _composed(folder)
        found = self._pattern.fullmatch(stem)
        if found is None or not found["speaker"]:
            raise CorpusError(
                f"folders: no speaker in {file}: its name {file.stem!r} does not match speaker_pattern "
                f"{self.speaker_pattern!r}. Correct the pattern, or rename the file."
            )
        return Utterance(
            id=f"{label}/{stem}",
            path=f"{folder}/{file.name}",
            speaker=found["speaker"],
            label=label,
            raw_label=label,
        )


def _composed(name: str) -> str:
    """Letters with their accents as one: macOS takes them apart, and Jörg would be two speakers."""
    return unicodedata.normalize("NFC", name)
