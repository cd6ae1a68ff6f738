"""IEMOCAP: ten actors in five dyadic sessions, improvised and scripted dialogues, segmented into rated turns.

Layout of the original release::

    SessionN/dialog/EmoEvaluation/Ses01F_impro01.txt    labels, ratings and times of one dialogue
    SessionN/dialog/transcriptions/Ses01F_impro01.txt   its words
    SessionN/sentences/wav/Ses01F_impro01/Ses01F_impro01_M003.wav

A block of an evaluation file is a turn with its consensus label and mean ratings, then one line a rater::

    [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
    C-E2:	Neutral;	()
    C-F1:	Neutral;	(curious)
    A-E3:	val 3; act 2; dom  2;	()

The mean ratings stand in the file's own order: valence, activation (arousal), dominance, each from 1 to 5. ``E``
raters are observers; ``F`` and ``M`` raters are the actors themselves, kept apart as self-reports.

The prefix ``Ses01F`` names the dialogue (whose markers were tracked), **not** the speaker: in it, turn ``..._M003`` is
spoken by the man. A speaker is session and turn letter, ``Ses01_M``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from ser_toolkit.corpora.annotations.iemocap import CODES, FILE_NAME, NO_AGREEMENT, Turn, read_transcripts, read_turns
from ser_toolkit.corpora.base import Corpus, Expected, Utterance, require_directory, visible_files
from ser_toolkit.errors import CorpusError, RecipeError, nearest
from ser_toolkit.terms import listed

ClassSet = Literal["four", "five", "six", "nine", "all"]
Style = Literal["all", "improvised", "scripted"]

_STYLES = ("all", "improvised", "scripted")
_SESSIONS = tuple(f"Session{number}" for number in range(1, 6))
_CLASS_SETS: dict[str, tuple[str, ...]] = {
    "four": ("angry", "happy", "neutral", "sad"),
    "five": ("angry", "frustrated", "happy", "neutral", "sad"),
    "six": ("angry", "excited", "frustrated", "happy", "neutral", "sad"),
    "nine": tuple(sorted(label for label in CODES.values() if label != "other")),
    "all": tuple(sorted(CODES.values())),
}
_MERGES_EXCITED = ("four", "five")
#: Class sets that keep turns without one of their labels, for rules that use votes.
_KEEPS_ALL = ("nine", "all")

# Turns by style, speaker (session and turn letter) and code, in the order of _COUNTED: 10039 in all. Counted from
# public label lists; the four-class sums equal those in the literature (5531: 1103, 1636, 1708, 1084).
_COUNTED = (*CODES, NO_AGREEMENT)
_COUNTS = """
improvised Ses01_F 37 0 54 0 39 18 119 0 43 2 71
improvised Ses01_M 25 0 45 0 65 15 104 0 61 7 54
improvised Ses02_F 7 0 88 1 68 25 90 0 63 7 40
improvised Ses02_M 15 0 49 0 72 29 127 0 37 4 66
improvised Ses03_F 22 0 41 0 121 39 95 0 108 13 96
improvised Ses03_M 68 1 48 0 94 21 103 0 82 8 84
improvised Ses04_F 47 0 119 0 126 10 51 0 41 7 104
improvised Ses04_M 37 0 45 0 179 21 123 1 40 3 106
improvised Ses05_F 18 0 68 7 95 56 151 0 73 4 78
improvised Ses05_M 13 0 106 0 112 50 136 0 60 5 101
scripted Ses01_F 110 0 9 5 68 51 52 0 35 13 147
scripted Ses01_M 57 1 35 7 108 51 109 1 55 3 143
scripted Ses02_F 60 0 8 4 97 45 45 1 50 1 159
scripted Ses02_M 55 0 65 4 88 18 100 0 47 5 171
scripted Ses03_F 70 0 7 2 78 41 35 0 64 2 214
scripted Ses03_M 80 0 55 0 89 34 87 0 51 5 178
scripted Ses04_F 158 0 35 2 62 21 25 0 21 4 154
scripted Ses04_M 85 0 39 5 114 13 59 0 41 5 200
scripted Ses05_F 60 0 14 1 66 21 70 0 59 3 189
scripted Ses05_M 79 0 111 2 108 16 27 0 53 6 152
"""


class IEMOCAP(Corpus):
    """Interactive Emotional Dyadic Motion Capture: English, 10039 turns of 10 speakers in 5 sessions.

    Args:
        class_set: ``four`` is the field's standard: angry, happy (with excited), neutral, sad (5531 turns). ``five``
            adds frustrated to it (7380). ``six`` keeps excited apart from happy as work on dialogues does (7380).
            ``all`` is every label; turns without agreement (``xxx``) stay, without a label, for rules that use votes.
            ``nine`` is the same without the class other, as in EMO-SUPERB.
        style: improvised dialogues, scripted dialogues or both. Scripted lines are spoken by several speakers, so
            that a model may know a line where it should hear an emotion.
    """

    name = "IEMOCAP"
    licence = "by request from the University of Southern California, for research; not to be passed on"
    citation = (
        "C. Busso, M. Bulut, C.-C. Lee, A. Kazemzadeh, E. Mower, S. Kim, J. N. Chang, S. Lee, S. S. Narayanan. "
        "IEMOCAP: interactive emotional dyadic motion capture database. Language Resources and Evaluation 42, "
        "335-359, 2008. doi:10.1007/s10579-008-9076-6"
    )
    homepage = "https://sail.usc.edu/iemocap/"
    verified = "documentation only"
    label_rule = "the label on which most raters agreed, as the corpus gives it; excited counts as happy in four, five"
    dimension_range = (1.0, 5.0)
    default_protocol = "LeaveOneSessionOut"
    file_name = FILE_NAME

    def __init__(self, class_set: ClassSet = "four", style: Style = "all") -> None:
        if class_set not in _CLASS_SETS:
            raise RecipeError(f"IEMOCAP: class set {class_set!r} is unknown. {nearest(class_set, _CLASS_SETS)}")
        if style not in _STYLES:
            raise RecipeError(f"IEMOCAP: style {style!r} is unknown. {nearest(style, _STYLES)}")
        self.class_set = class_set
        self.style = style
        self._left_out: Counter[str] = Counter()

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the class set in alphabetical order."""
        return _CLASS_SETS[self.class_set]

    @property
    def expected(self) -> Expected:
        """Counts of the complete release under the class set and style."""
        speakers: Counter[str] = Counter()
        classes: Counter[str] = Counter()
        cells: Counter[tuple[str, str]] = Counter()
        for line in _COUNTS.strip().split("\n"):
            style, speaker, *counts = line.split()
            for code, count in zip(_COUNTED, map(int, counts), strict=True):
                label = self._label(code)
                if self._wanted(style, label):
                    speakers[speaker] += count
                    classes.update({label: count} if label else {})
                    cells.update({(speaker, label): count} if label else {})
        sessions: Counter[str] = Counter()
        for speaker, count in speakers.items():
            sessions[f"Session{int(speaker[3:5])}"] += count
        return Expected(
            utterances=speakers.total(),
            speakers=speakers,
            sessions=sessions,
            classes=classes,
            cells=cells,
            sampling_rates=(16000,),
        )

    def utterances(self, root: Path) -> list[Utterance]:
        """The turns of the class set and style by session, dialogue and time; what is left out is told by ``notes``.

        Raises:
            CorpusError: there is no session, one of its folders or audio files is missing, or an evaluation file
                cannot be read as such.
        """
        # A missing session is a deviation from the expected counts; no session at all is another folder.
        present = [session for session in _SESSIONS if (root / session).is_dir()]
        require_directory(root, *(present or _SESSIONS[:1]), corpus=self.name)
        rows: list[Utterance] = []
        self._left_out.clear()
        for session in present:
            require_directory(root / session, "dialog/EmoEvaluation", "sentences/wav", corpus=self.name)
            words = read_transcripts(root / session / "dialog" / "transcriptions")
            for file in visible_files(root / session / "dialog" / "EmoEvaluation", ".txt"):
                for turn in read_turns(file):
                    row = self._row(turn, session, words)
                    if self._wanted(row.style, row.label):
                        rows.append(row)
                    elif self.style in ("all", row.style):
                        self._left_out[row.raw_label or ""] += 1
        _require_audio(root, rows)
        return rows

    def notes(self, rows: Sequence[Utterance]) -> list[str]:
        """How many turns the class set left out when ``utterances`` last ran, by label."""
        if not self._left_out:
            return []
        names = {**CODES, NO_AGREEMENT: "no agreement"}
        parts = ", ".join(f"{count} {names[code]}" for code, count in self._left_out.most_common())
        return [f"The class set {self.class_set} leaves out {self._left_out.total()} turns: {parts}."]

    def _label(self, code: str) -> str | None:
        label = self._merged(CODES.get(code, ""))
        return label if label in self.classes else None

    def _merged(self, label: str) -> str:
        return "happy" if label == "excited" and self.class_set in _MERGES_EXCITED else label

    def _wanted(self, style: str | None, label: str | None) -> bool:
        return self.style in ("all", style) and (label is not None or self.class_set in _KEEPS_ALL)

    def _votes(self, turn: Turn) -> dict[str, float] | None:
        """Observers per class; one who ticked several classes gives each an equal share of one vote."""
        votes: dict[str, float] = {}
        for rating in turn.ratings:
            for label in () if rating.self_report else rating.labels:
                merged = self._merged(label)
                votes[merged] = votes.get(merged, 0.0) + 1 / len(rating.labels)
        return votes or None

    def _row(self, turn: Turn, session: str, words: Mapping[str, str]) -> Utterance:
        return Utterance(
            id=turn.id,
            path=f"{session}/sentences/wav/{turn.dialogue}/{turn.id}.wav",
            speaker=turn.speaker,
            sex="female" if turn.speaker.endswith("F") else "male",
            session=session,
            dialogue=turn.dialogue,
            turn=turn.id.removeprefix(f"{turn.dialogue}_"),
            transcript=words.get(turn.id),
            language="en",
            style="improvised" if "_impro" in turn.dialogue else "scripted",
            label=self._label(turn.code),
            raw_label=turn.code,
            votes=self._votes(turn),
            ratings=turn.ratings,
            valence=turn.valence,
            arousal=turn.arousal,
            dominance=turn.dominance,
        )


def _require_audio(root: Path, rows: Sequence[Utterance]) -> None:
    folders = {folder: root / folder for folder in {row.path.rpartition("/")[0] for row in rows}}
    present = {
        f"{folder}/{file.name}"
        for folder, place in folders.items()
        if place.is_dir()
        for file in visible_files(place, ".wav")
    }
    missing = [row.path for row in rows if row.path not in present]
    if missing:
        raise CorpusError(
            f"IEMOCAP: {len(missing)} of {len(rows)} rated turns have no audio under {root}: "
            f"{listed(missing, 5)}. Copy the sentences/wav folders again."
        )
