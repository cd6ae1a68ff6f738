"""A corpus: how a copy of it is read as rows of utterances, and what is known about a complete copy."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_toolkit.corpora.expected import Expected as Expected
from ser_toolkit.corpora.expected import deviations as deviations
from ser_toolkit.corpora.utterance import Rating as Rating
from ser_toolkit.corpora.utterance import Seconds as Seconds
from ser_toolkit.corpora.utterance import Utterance as Utterance
from ser_toolkit.errors import AudioError, CorpusError
from ser_toolkit.system.audio_files import files_below, files_with
from ser_toolkit.terms import counted

#: ``Corpus.verified`` of data of one's own.
OWN_DATA = "nothing published (own data)"


def no_notes(rows: Sequence[Utterance]) -> list[str]:
    """No sentence, whatever the rows are."""
    return []


@dataclass(frozen=True)
class Listing:
    """A copy of a corpus as it was read.

    Args:
        rows: all utterances, in a stable order.
        notes: makes the sentences that belong in every report on the rows that it is given, some or all of these
            (which turns a class set leaves out, say).
        classes: class order of own data, whose labels decide it; None where ``Corpus.classes`` states it.
        dimension_range: likewise, in place of ``Corpus.dimension_range``.
    """

    rows: Sequence[Utterance]
    notes: Callable[[Sequence[Utterance]], list[str]] = no_notes
    classes: tuple[str, ...] | None = None
    dimension_range: tuple[float, float] | None = None


class Corpus(ABC):
    """Where speech comes from: ``read(root)`` lists a copy of the corpus as rows.

    A subclass states the facts below, and takes its options (a class set, say) in a typed constructor. A corpus whose
    facts depend on its options states them in its constructor. The attributes ``name``, ``licence``, ``citation``,
    ``homepage``, ``verified`` and ``label_rule`` are shown by ``ser-corpus list`` and stand in every report. Reading
    changes no instance: what a copy adds to these facts stands in the ``Listing``.
    """

    name: str
    licence: str
    citation: str
    homepage: str = ""
    #: How far the parser was checked: "real audio", "real metadata", "documentation only", "synthetic",
    #: or OWN_DATA.
    verified: str = "documentation only"
    #: How the label column came about, in one sentence.
    label_rule: str = ""
    #: (lowest, highest) of the dimensional ratings in the corpus's own scale, or None. A generic corpus sets it itself.
    dimension_range: tuple[float, float] | None = None
    #: Short name of the split protocol that the field uses for this corpus.
    default_protocol: str = "LeaveOneSpeakerOut"
    #: Matches what a recording is called, without folder and suffix; None where names carry no facts.
    file_name: re.Pattern[str] | None = None

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Class order: data of the corpus, written in every artefact."""

    @property
    def expected(self) -> Expected:
        """Counts of a complete copy under this instance's options."""
        return Expected()

    @property
    def default_root(self) -> Path | None:
        """Where the corpus lies when no root is given: only for a corpus that is made, not found."""
        return None

    @abstractmethod
    def read(self, root: Path) -> Listing:
        """List the copy under ``root``.

        Raises:
            CorpusError: the folder is not this corpus; the message names what was looked for and where.
        """

    def utterances(self, root: Path) -> list[Utterance]:
        """The rows of ``read`` without its notes; it raises the same errors."""
        return list(self.read(root).rows)

    def members_in(self, root: Path) -> Mapping[str, tuple[Corpus, Path]]:
        """Corpora that this one consists of, by name with their folders: nothing, unless it combines several."""
        return {}

    @classmethod
    def names(cls, path: str) -> bool:
        """Whether a path is named like a recording of this corpus: two corpora in one folder are told apart by it."""
        stem = path.rpartition("/")[2].rpartition(".")[0]
        return isinstance(cls.file_name, re.Pattern) and cls.file_name.fullmatch(stem) is not None


def turns_left_out(class_set: str, counts: Counter[str]) -> list[str]:
    """A sentence on the turns that a class set leaves out, by label; none where it leaves out none.

    >>> turns_left_out("four", Counter({"other": 2, "no agreement": 1}))
    ['The class set four leaves out 3 turns: 2 other, 1 no agreement.']
    """
    parts = ", ".join(f"{count} {label}" for label, count in counts.most_common())
    return [f"The class set {class_set} leaves out {counts.total()} turns: {parts}."] if counts else []


def visible_files(folder: Path, *suffixes: str) -> list[Path]:
    """Files of one folder by name, without hidden ones (``._x.wav`` is macOS metadata, not audio).

    Args:
        folder: where to look; sub-folders are not entered.
        suffixes: lowercase endings with their dot; upper and lower case of the file are the same.

    Raises:
        CorpusError: the folder cannot be listed, or such a file is a link that leads nowhere.
    """
    try:
        return files_with(folder, suffixes)
    except AudioError as error:
        raise CorpusError(str(error)) from error


def other_formats(folder: Path, *suffixes: str) -> str:
    """Sentence for an error about missing recordings: others that lie there, in another format than is published.

    Args:
        folder: where recordings were looked for; sub-folders count.
        suffixes: of the published format, lowercase with their dot.

    Returns:
        Sentences that begin with a space; nothing where there are none.
    """
    others = Counter(file.suffix.lower() for file in files_below(folder).audio)
    found = [(suffix, count) for suffix, count in others.most_common() if suffix not in suffixes]
    if not found:
        return ""
    first = found[0][0]
    kinds = ", ".join(counted(count, f"{suffix} file") for suffix, count in found)
    return (
        f" It holds {kinds}, but the corpus is published as {suffixes[0]}. Convert them under the same names: "
        f'for f in *{first}; do ffmpeg -i "$f" "${{f%{first}}}{suffixes[0]}"; done.'
    )


def require_directory(root: Path, *needed: str, corpus: str) -> None:
    """Check that a corpus root holds what its layout promises.

    Raises:
        CorpusError: the root or one of ``needed`` is missing; a layout that lies one level down is named.
    """
    if not root.is_dir():
        raise CorpusError(f"{corpus}: no folder at {root}. Give the corpus folder with data.root=PATH.")
    missing = [name for name in needed if not (root / name).exists()]
    if not missing:
        return
    visible = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
    nested = [entry for entry in visible if entry.is_dir() and all((entry / name).exists() for name in needed)]
    if len(nested) == 1:
        advice = f"They lie one level down: give data.root={nested[0]}."
    elif nested:
        names = ", ".join(entry.name for entry in nested)
        advice = f"Several folders one level down have them ({names}): give one of these as data.root."
    else:
        advice = f"Expected the original layout with {', '.join(needed)} at the top."
    seen = ", ".join(entry.name for entry in visible[:8]) or "nothing"
    raise CorpusError(f"{corpus}: {root} has no {', '.join(missing)} (found: {seen}). {advice}")
