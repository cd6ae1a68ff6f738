"""Recordings among files: one list of suffixes, and a walk through folders that skips none without a report."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ser_toolkit.errors import AudioError
from ser_toolkit.terms import counted, listed

#: Containers of videos, and of audio alone that libsndfile does not know: read through PyAV, and told by name, because
#: they share their first bytes with other things.
VIDEO_SUFFIXES = (".mp4", ".m4a", ".m4v", ".mov", ".mkv", ".webm", ".avi")
#: Suffixes of files that libsndfile reads; their content decides, not the name.
SOUND_SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".mp3", ".mp2", ".ogg", ".oga", ".opus"),
    *(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".sph", ".nist", ".voc"),
)
#: Every file that is read as a recording, in folders of any kind; upper and lower case are the same.
AUDIO_SUFFIXES = SOUND_SUFFIXES + VIDEO_SUFFIXES
_SHOWN = 4


@dataclass
class Found:
    """Contents of a folder and its subfolders, without hidden files and what macOS adds to archives.

    Args:
        audio: recordings, by path.
        other: files of other kinds, by path.
        broken: links that lead nowhere and folders that cannot be listed, with the reason.
    """

    audio: list[Path] = field(default_factory=list)
    other: list[Path] = field(default_factory=list)
    broken: dict[Path, str] = field(default_factory=dict)

    def require_whole(self) -> None:
        """Check that nothing is broken.

        Raises:
            AudioError: something is; the first such places are named.
        """
        if self.broken:
            raise _lost(self.broken)


def is_audio(path: Path | str) -> bool:
    """Whether a file is named like a recording that can be read."""
    return os.path.splitext(path)[1].lower() in AUDIO_SUFFIXES


def files_below(folder: Path) -> Found:
    """All files in and below a folder; links to folders are followed, and each folder is entered once.

    Real folders come before links to them, so that a recording has the name of the place where it lies.
    """
    found, entered = Found(), set[str]()
    waiting, linked = [folder], list[Path]()
    while waiting or linked:
        place = waiting.pop() if waiting else linked.pop(0)
        real = os.path.realpath(place)
        if real in entered:
            continue
        entered.add(real)
        try:
            for entry in visible(place):
                _sort(entry, found, waiting, linked)
        except OSError as error:
            found.broken[place] = f"cannot be listed ({error.strerror})"
    found.audio.sort()
    found.other.sort()
    return found


def _sort(entry: Path, found: Found, folders: list[Path], linked: list[Path]) -> None:
    """Sort an entry of a folder into files, folders, links to folders, and what cannot be read."""
    if (reason := dangling(entry)) is not None:
        found.broken[entry] = reason
    elif entry.is_dir():
        (linked if entry.is_symlink() else folders).append(entry)
    else:
        (found.audio if is_audio(entry) else found.other).append(entry)


def visible(folder: Path) -> list[Path]:
    """Entries of a folder by name, without hidden ones (``._x.wav`` is macOS metadata, not audio).

    Raises:
        OSError: the folder cannot be listed.
    """
    return sorted(folder / name for name in os.listdir(folder) if name[0] != "." and name != "__MACOSX")


def files_with(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Visible files of one folder with one of the suffixes (lowercase, with dot; upper case counts as lower).

    Raises:
        AudioError: the folder cannot be listed, or one of these files is a link that leads nowhere.
    """
    try:
        files = [entry for entry in visible(folder) if entry.suffix.lower() in suffixes]
        broken = {entry: reason for entry in files if (reason := dangling(entry)) is not None}
        if not broken:
            return [entry for entry in files if entry.is_file()]
    except OSError as error:
        raise _lost({folder: f"cannot be listed ({error.strerror})"}) from error
    raise _lost(broken)


def absent(path: Path) -> str:
    """Reason why there is nothing at a path, in words that follow its name."""
    return dangling(path) or cannot_be_read(path) or "not found"


def cannot_be_read(path: Path) -> str | None:
    """The system's reason for which a path leads to nothing; None where it does, or simply is not there."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None


def dangling(path: Path) -> str | None:
    """Reason why a link leads nowhere; None for everything else."""
    if not os.path.islink(path):
        return None
    try:
        path.stat()
    except OSError as error:
        way = "in a circle" if error.errno == errno.ELOOP else "nowhere"
        return f"a link that leads {way} ({shown(os.readlink(path))})"
    return None


def _lost(broken: dict[Path, str]) -> AudioError:
    first = listed((f"{shown(path)}: {reason}" for path, reason in broken.items()), _SHOWN, "; ")
    return AudioError(f"{first}. Recordings would be left out: mend or remove it.")


def left_out(others: Sequence[str]) -> str:
    """One sentence on files that are not read, by name.

    >>> left_out(["list.txt"])
    '1 other file is not read: list.txt.'
    """
    names = listed(map(shown, others), _SHOWN, more=", ...")
    are = "is" if len(others) == 1 else "are"
    return f"{counted(len(others), 'other file')} {are} not read: {names.removesuffix('.')}."


def shown(path: Path | str) -> str:
    """A path as text that can be printed and stored: bytes that are no UTF-8 stand as hexadecimal escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_text(path: Path | str) -> bool:
    """Whether a path is UTF-8, as tables of every format need it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def as_stored(root: Path, path: str) -> str:
    """A relative path as it is spelt on disk: accents composed or, as macOS writes them, taken apart.

    Where no spelling is there, the path is returned as it was given.
    """
    if path.isascii():
        return path
    spellings = (path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path))
    return next((way for way in spellings if os.path.lexists(root / way)), path)
