"""What a corpus is: rows of utterances, and what is known about a complete copy."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_toolkit.corpora.expected import Expected as Expected
from ser_toolkit.corpora.expected import deviations as deviations
from ser_toolkit.errors import AudioError, CorpusError, counted
from ser_toolkit.system.audio_files import files_below, files_with

Seconds = float
#: What ``Corpus.verified`` says of data of one's own.
OWN_DATA = "nothing published (own data)"


@dataclass(frozen=True, slots=True)
class Rating:
    """What one rater said about one utterance.

    Args:
        rater: the rater's name in the corpus, for example ``C-E2``.
        labels: the classes this rater ticked, in the corpus's own words made lowercase and full (``angry``).
        valence: in the corpus's own range, as are the next two.
        arousal: also called activation.
        dominance: also called control.
        self_report: whether the rater is the speaker (kept apart: a self-report is not an observer's vote).
    """

    rater: str
    labels: tuple[str, ...] = ()
    valence: float | None = None
    arousal: float | None = None
    dominance: float | None = None
    self_report: bool = False


@dataclass(frozen=True)
class Utterance:
    """One row of a manifest: a stretch of speech and all that is known about it.

    Args:
        id: unique in its corpus.
        path: audio file relative to the corpus root, with forward slashes.
        start: where the utterance starts in the file, in seconds; None means the file's start.
        end: where it ends, in seconds; None means the file's end.
        speaker: who speaks, unique in the corpus.
        sex: ``female``, ``male`` or None.
        session: recording session; speakers of one session may have talked to each other.
        dialogue: conversation the utterance was taken from.
        turn: name or number of the turn in its dialogue.
        sentence: code of the prompted sentence, for scripted speech.
        transcript: the words.
        language: ISO 639-1 code.
        style: ``acted``, ``scripted``, ``improvised``, ``natural``.
        label: emotion class as a full lowercase word, or None when the corpus gives none of its classes.
        raw_label: the corpus's own code.
        votes: number of observers per class (fractions when a rater ticked several).
        ratings: the single raters behind ``votes`` and the dimensions.
        valence: mean rating in the corpus's own range (``Corpus.dimension_range``); the next two likewise.
        arousal: see valence.
        dominance: see valence.
        fold: name of the official fold or partition, when the corpus publishes one.
        corpus: which corpus it belongs to, where several are one (``Combined``, a collection); None otherwise.
    """

    id: str
    path: str
    start: Seconds | None = None
    end: Seconds | None = None
    speaker: str | None = None
    sex: str | None = None
    session: str | None = None
    dialogue: str | None = None
    turn: str | None = None
    sentence: str | None = None
    transcript: str | None = None
    language: str | None = None
    style: str | None = None
    label: str | None = None
    raw_label: str | None = None
    votes: Mapping[str, float] | None = None
    ratings: tuple[Rating, ...] = ()
    valence: float | None = None
    arousal: float | None = None
    dominance: float | None = None
    fold: str | None = None
    corpus: str | None = None


class Corpus(ABC):
    """Where speech comes from: ``utterances(root)`` lists a copy of the corpus as rows.

    A subclass states the facts below, and takes its options (a class set, say) in a typed constructor.
    A corpus whose facts depend on its options states them in its constructor. The attributes ``name``, ``licence``,
    ``citation``, ``homepage``, ``verified`` and ``label_rule`` are shown
    by ``ser-corpus list`` and stand in every report.
    """

    name: str
    licence: str
    citation: str
    homepage: str = ""
    #: How far the parser was checked: "real audio", "real metadata", "documentation only", "synthetic", OWN_DATA.
    verified: str = "documentation only"
    #: How the label column came about, in one sentence.
    label_rule: str = ""
    #: (lowest, highest) of the dimensional ratings in the corpus's own scale, or None. A generic corpus sets it itself.
    dimension_range: tuple[float, float] | None = None
    #: Short name of the split protocol that the field uses for this corpus.
    default_protocol: str = "LeaveOneSpeakerOut"
    #: Matches what a recording is called, without folder and suffix; None where names say nothing.
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
    def utterances(self, root: Path) -> list[Utterance]:
        """All rows of the copy under ``root``, in a stable order.

        Raises:
            CorpusError: the folder is not this corpus; the message says what was looked for and where.
        """

    def members_in(self, root: Path) -> Mapping[str, tuple[Corpus, Path]]:
        """Corpora that this one consists of, by name with their folders: nothing, unless it combines several."""
        return {}

    @classmethod
    def names(cls, path: str) -> bool:
        """Whether a recording of this corpus is called so: tells two corpora in one folder apart."""
        stem = path.rpartition("/")[2].rpartition(".")[0]
        return isinstance(cls.file_name, re.Pattern) and cls.file_name.fullmatch(stem) is not None

    def notes(self, rows: Sequence[Utterance]) -> list[str]:
        """Sentences that belong in every report on these rows (what a label rule discarded, say)."""
        return []


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
        CorpusError: the root or one of ``needed`` is missing; when the layout lies one level down, it says where.
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
