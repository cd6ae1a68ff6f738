"""Any corpus that keeps one folder of audio files for each class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ser_toolkit.corpora.base import Listing, Utterance, require_directory
from ser_toolkit.corpora.layouts.own_data import OwnData, composed
from ser_toolkit.errors import AudioError, CorpusError, RecipeError
from ser_toolkit.system.audio_files import AUDIO_SUFFIXES, Found, files_below, is_text, left_out, shown, visible
from ser_toolkit.terms import counted, listed


class FolderCorpus(OwnData):
    """Audio in one folder a class: root/happy/s01_001.wav; the speaker is read from the file name.

    Args:
        speaker_pattern: regular expression for the whole file name without its suffix, with a group called speaker,
            for example ``(?P<speaker>[^_]+)_.*``: training and test speakers are kept apart by it.
    """

    name = "folders"
    licence = "as stated by the owner of the audio"
    label_rule = "the name of the folder that holds the file"

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
        super().__init__(None, None, unknown_speakers=False)

    def read(self, root: Path) -> Listing:
        """One row for each audio file of each folder, by class and name.

        Raises:
            CorpusError: a folder holds no audio or cannot be listed, fewer than two do, a link leads nowhere, a file
                name does not match ``speaker_pattern``, or two files differ in their suffix only.
        """
        require_directory(root, corpus=self.name)
        found = self._files(root)
        by_folder: dict[str, list[str]] = {entry.name: [] for entry in visible(root) if entry.is_dir()}
        nested: dict[str, list[str]] = {name: [] for name in by_folder}
        unread: list[str] = []
        for path in (file.relative_to(root).as_posix() for file in found.audio):
            folder, _, name = path.partition("/")
            if "/" in name:
                nested[folder].append(path)
            if "/" in name or not name:
                unread.append(path)
            else:
                by_folder[folder].append(name)
        rows: dict[str, Utterance] = {}
        for folder, names in by_folder.items():
            if not names:
                raise _empty(root / folder, nested[folder], len(by_folder))
            for name in names:
                row = self._row(name, folder)
                if row.id in rows:
                    raise CorpusError(f"folders: {rows[row.id].path} and {row.path} have one name. Remove one of them.")
                rows[row.id] = row
        if len(by_folder) < 2:
            raise CorpusError(
                f"folders: {root} has {counted(len(by_folder), 'class folder')}; two are needed at least. "
                "Expected one folder of audio for each class: give their parent as data.root."
            )
        others = [file.relative_to(root).as_posix() for file in found.other]
        classes = tuple(dict.fromkeys(composed(folder) for folder in by_folder))
        return Listing(list(rows.values()), lambda _: _notes(unread, others), classes)

    def _files(self, root: Path) -> Found:
        """All files below the root.

        Raises:
            CorpusError: a folder cannot be listed, a link leads nowhere, or a name is no text.
        """
        found = files_below(root)
        try:
            found.require_whole()
        except AudioError as error:
            raise CorpusError(f"folders: {error}") from error
        unreadable = [file for file in found.audio if not is_text(file.relative_to(root))]
        if unreadable:
            raise CorpusError(
                f"folders: the name of {shown(unreadable[0])} is no readable text: it was unpacked in another "
                "encoding. Unpack it again (unzip -O cp850), or rename it."
            )
        return found

    def _row(self, name: str, folder: str) -> Utterance:
        stem, label = composed(PurePosixPath(name).stem), composed(folder)
        found = self._pattern.fullmatch(stem)
        if found is None or not found["speaker"]:
            raise CorpusError(
                f"folders: no speaker in {folder}/{name}: its name {stem!r} does not match speaker_pattern "
                f"{self.speaker_pattern!r}. Correct the pattern, or rename the file."
            )
        return Utterance(
            id=f"{label}/{stem}",
            path=f"{folder}/{name}",
            speaker=found["speaker"],
            label=label,
            raw_label=label,
        )


def _notes(unread: Sequence[str], others: Sequence[str]) -> list[str]:
    """Sentences on recordings that lie in no class folder or too deep, and on files that are no recordings."""
    notes = []
    if unread:
        lie, are = ("lies", "is") if len(unread) == 1 else ("lie", "are")
        notes.append(
            f"{counted(len(unread), 'recording')} {lie} in no class folder itself and {are} not read: {listed(unread)}."
        )
    return [*notes, left_out(others)] if others else notes


def _empty(folder: Path, nested: Sequence[str], folders: int) -> CorpusError:
    """The error for a class folder without recordings of its own."""
    advice = "Every folder is taken for a class: fill it or move it away."
    if nested:
        below = list(dict.fromkeys(path.split("/")[1] for path in nested))
        advice = f"Audio lies one level down, in {', '.join(below[:4])}: " + (
            f"give data.root={folder}."
            if folders == 1
            # With the folder as root, speakers would be taken for classes.
            else "move it up, or write a table with path, label and speaker (TableCorpus)."
        )
    return CorpusError(f"folders: {folder} holds no audio ({', '.join(AUDIO_SUFFIXES)}). {advice}")
