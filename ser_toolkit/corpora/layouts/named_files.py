"""Corpora whose rows are made from file names alone, wherever the files lie under the root."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from ser_toolkit.corpora.base import Corpus, Listing, Utterance, other_formats
from ser_toolkit.corpora.layouts.unlisted_files import unlisted_files
from ser_toolkit.errors import CorpusError
from ser_toolkit.system.audio_files import shown
from ser_toolkit.terms import listed

#: Archives unpacked into archives: so many folders deep are the recordings looked for.
_DEPTH = 6


class NamedFiles(Corpus):
    """A corpus whose rows are made from its file names alone.

    A subclass states ``form`` and ``pattern`` and makes a row of each match. Folders do not matter unless ``pattern``
    reads them, so that a copy may be unpacked in any of the ways in which it is passed on. A recording that lies in
    two places is one utterance, and the upper copy is read.
    """

    #: Form of a recording's name, with an example; stands in errors.
    form: ClassVar[str]
    #: Matches the whole path relative to the root, with forward slashes and without suffix.
    pattern: ClassVar[re.Pattern[str]]
    suffixes: ClassVar[tuple[str, ...]] = (".wav",)

    def read(self, root: Path) -> Listing:
        """One row for each recording, by id.

        Raises:
            CorpusError: there is no such folder, no audio in it, or a file of another name.
        """
        rows: dict[str, Utterance] = {}
        strange: dict[str, str] = {}
        paths = relative_audio(root, self.name, self.form, self.suffixes)
        for path in paths:
            found = self.pattern.fullmatch(path.rpartition(".")[0])
            row = self._row(found, path) if found else None
            if row is None or found is None:
                strange[path] = self._contradiction(found) if found else ""
            elif row.id not in rows:
                rows[row.id] = row
        if strange:
            raise unlisted_files(type(self), root, strange, len(paths), self.form)
        return Listing([rows[name] for name in sorted(rows)])

    @classmethod
    def names(cls, path: str) -> bool:
        """Whether a path is named like a recording of this corpus, with its folder where ``pattern`` reads that."""
        return cls.pattern.fullmatch(path.rpartition(".")[0]) is not None

    @abstractmethod
    def _row(self, found: re.Match[str], path: str) -> Utterance | None:
        """The row of a recording; None when the name matches, but no such recording exists."""

    def _contradiction(self, found: re.Match[str]) -> str:
        """How folder and name contradict each other, where ``_row`` is None because of that; empty otherwise."""
        return ""


def relative_audio(root: Path, corpus: str, form: str, suffixes: Sequence[str]) -> list[str]:
    """Audio files under a root, relative to it with forward slashes: upper ones first, then by name.

    Raises:
        CorpusError: the root is missing, holds no such file, or a folder's name is no readable text.
    """
    if not root.is_dir():
        raise CorpusError(f"{corpus}: no folder at {root}. Give the corpus folder with data.root=PATH.")
    paths = sorted(_walk(root, tuple(suffixes)), key=lambda path: (path.count("/"), path))
    if not paths:
        seen = ", ".join(sorted(entry.name for entry in root.iterdir() if entry.name[0] != ".")[:8]) or "nothing"
        kinds = " or ".join(suffix.removeprefix(".").upper() for suffix in suffixes)
        raise CorpusError(
            f"{corpus}: no {kinds} file under {root} (found: {seen}).{other_formats(root, *suffixes)} Expected {form}. "
            "Unpack it there."
        )
    unreadable = [path for path in paths if not path.isprintable()]
    if unreadable:
        name = unreadable[0].encode("utf-8", "replace").decode()
        raise CorpusError(
            f"{corpus}: the name of {name} under {root} is no readable text: it was unpacked in another encoding. "
            "Unpack it again (unzip -O cp850), or rename the folder."
        )
    return paths


def _walk(root: Path, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Files without hidden ones and what macOS adds to archives; links to folders are followed, each once."""
    seen = {os.path.realpath(root)}
    for folder, inside, files in os.walk(root, onerror=_refuse, followlinks=True):
        parts = Path(folder).relative_to(root).parts
        visible = [name for name in sorted(inside) if name[0] != "." and name != "__MACOSX" and len(parts) < _DEPTH]
        places = {name: os.path.realpath(os.path.join(folder, name)) for name in visible}
        inside[:] = [name for name in visible if places[name] not in seen]
        seen.update(places.values())
        prefix = "".join(f"{part}/" for part in parts)
        yield from (prefix + name for name in files if name[0] != "." and name.lower().endswith(suffixes))


def _refuse(error: OSError) -> None:
    """Raise for a folder that cannot be listed, lest its recordings be left out in silence."""
    raise CorpusError(f"{shown(str(error.filename))}: cannot be listed ({error.strerror}). Mend it, or move it away.")


def require_audio(corpus: str, root: Path, rows: Sequence[Utterance], advice: str) -> None:
    """Check that every row's file is there; each folder is listed once.

    Raises:
        CorpusError: how many are missing, the first of them, and ``advice``.
    """
    present: set[str] = set()
    for folder in {row.path.rpartition("/")[0] for row in rows}:
        if (root / folder).is_dir():
            present.update(f"{folder}/{name}" if folder else name for name in os.listdir(root / folder))
    missing = [row.path for row in rows if row.path not in present]
    if missing:
        raise CorpusError(
            f"{corpus}: {len(missing)} of {len(rows)} utterances have no audio under {root}: {listed(missing)}. "
            f"{advice}"
        )
