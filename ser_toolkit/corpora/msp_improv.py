"""MSP-IMPROV: twelve actors in six dyadic sessions improvise scenes around twenty target sentences.

The label is the plurality of a crowd's primary emotion; single answers and mean ratings stand beside it. Layout::

    Evalution.txt (or Evaluation.txt)                 labels, mean ratings and each rater's answer
    Audio/session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav       (Audio may be missing from the path)

A block of the label file is the turn (named as a video of ``UTD``), then one line a rater::

    UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:3.000000; V:3.000000; D:3.000000 ; N:3.600000;
    rater; Neutral; Neutral,Happy; A:3.000000; V:3.000000; D:NaN; N:4.000000;

Activation (arousal), valence and dominance go from 1 to 5. N (naturalness) and the secondary emotions are not used.

A name says: target sentence and its emotion (``S01A``), the actor who has to say it, with the session (``F01``), the
scenario (``T`` target sentence improvised, ``R`` target sentence read, ``S`` the rest of the improvisation, ``P``
natural interaction before and after), and a turn (``FM01``).

The field ``F01`` names the actor of the *target sentence*, and **not** the speaker of each turn: the recordings of one
such scene hold turns ``FM..`` and ``MF..``, the two actors by turns. Target sentences, which their actor says, are
always ``FM`` under ``F01`` and ``MF`` under ``M01``, and read ones ``FF`` and ``MM``. So the first letter of the turn
is taken for the speaker here. Public tools take the field ``F01``; sessions are the same either way.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ser_toolkit.corpora.base import Corpus, Expected, Listing, Rating, Utterance, turns_left_out
from ser_toolkit.corpora.layouts.named_files import require_audio
from ser_toolkit.errors import CorpusError, RecipeError, nearest

ClassSet = Literal["four", "all"]
Scenario = Literal["all", "target_improvised", "target_read", "other_improvised", "natural"]

_CODES = {"A": "angry", "S": "sad", "H": "happy", "N": "neutral", "O": "other"}
_NO_AGREEMENT = "X"
_RATER_WORDS = {label.capitalize(): label for label in _CODES.values()}
_CLASS_SETS = {"four": ("angry", "happy", "neutral", "sad"), "all": tuple(sorted(_CODES.values()))}
_SCENARIOS = {"T": "target_improvised", "R": "target_read", "S": "other_improvised", "P": "natural"}
_STYLES = {"T": "improvised", "R": "scripted", "S": "improvised", "P": "natural"}

# Turns by scenario and code, in the order A S H N O X (Busso et al. 2017, tables 3 and 4): 8438 in all.
_COUNTS = {
    "target_improvised": (115, 106, 136, 283, 1, 11),
    "target_read": (169, 80, 88, 241, 3, 39),
    "other_improvised": (470, 633, 1048, 1789, 70, 371),
    "natural": (38, 66, 1372, 1164, 11, 134),
}

_NUMBER = r"(\d+(?:\.\d+)?|NaN)"
_HEADER = re.compile(
    rf"UTD-IMPROV-(?P<name>S\S+)\.avi\s*;\s*(?P<code>\w)\s*;\s*A:{_NUMBER}\s*;\s*V:{_NUMBER}\s*;\s*D:{_NUMBER}\s*;.*"
)
_NAME = re.compile(
    r"(?P<folder>S(?P<sentence>\d\d)[AHNS])-(?P<target>[FM](?P<session>\d\d))-(?P<scenario>[PRST])-"
    r"(?P<turn>(?P<sex>[FM])[FM]\d+)"
)
_DIMENSION = re.compile(r"\b([AVD]):(\d+(?:\.\d+)?)")


class MSPImprov(Corpus):
    """MSP-IMPROV: English, improvised and read, 8438 turns of 12 speakers in 6 sessions.

    Args:
        class_set: ``four`` is the field's standard: angry, happy, neutral, sad (7798 turns). ``all`` adds other, and
            keeps turns without agreement, without a label, for rules that use votes.
        scenario: all turns, or those of one scenario: the target sentences improvised or read, the rest of the
            improvisations, or what the actors said before and after.
    """

    name = "MSP-IMPROV"
    licence = "by licence agreement with the University of Texas at Dallas, for research"
    citation = (
        "C. Busso, S. Parthasarathy, A. Burmania, M. AbdelWahab, N. Sadoughi, E. Mower Provost. MSP-IMPROV: an acted "
        "corpus of dyadic interactions to study emotion perception. IEEE Trans. Affective Computing 8(1), 67-80, 2017. "
        "doi:10.1109/TAFFC.2016.2515617"
    )
    homepage = "https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Improv.html"
    verified = "documentation only"
    label_rule = "the crowd's plurality of primary emotions, as the corpus gives it"
    dimension_range = (1.0, 5.0)
    file_name = re.compile(rf"MSP-IMPROV-{_NAME.pattern}")
    default_protocol = "LeaveOneSessionOut"

    def __init__(self, class_set: ClassSet = "four", scenario: Scenario = "all") -> None:
        for option, value, known in (
            ("class set", class_set, tuple(_CLASS_SETS)),
            ("scenario", scenario, ("all", *_SCENARIOS.values())),
        ):
            if value not in known:
                raise RecipeError(f"MSP-IMPROV: {option} {value!r} is unknown. {nearest(value, known)}")
        self.class_set = class_set
        self.scenario = scenario

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the class set in alphabetical order."""
        return _CLASS_SETS[self.class_set]

    @property
    def expected(self) -> Expected:
        """Counts of the complete corpus under the class set and scenario."""
        classes: Counter[str] = Counter()
        without = 0
        for scenario, counts in _COUNTS.items():
            if self.scenario in ("all", scenario):
                named = zip(_CODES.values(), counts[:-1], strict=True)
                classes.update({label: count for label, count in named if label in self.classes})
                without += counts[-1] if self.class_set == "all" else 0
        return Expected(utterances=classes.total() + without, classes=classes)

    def read(self, root: Path) -> Listing:
        """The turns of the class set and scenario, by name; notes say how many are left out.

        Raises:
            CorpusError: the label file or an audio file is missing, or a line of it cannot be read as such.
        """
        rows: list[Utterance] = []
        left_out: Counter[str] = Counter()
        file = _label_file(root)
        audio = "Audio/" if (root / "Audio").is_dir() else ""
        for header, where, answers in _blocks(file):
            code, row = _row(header, where, answers, audio)
            if self.scenario not in ("all", _SCENARIOS[(row.turn or "")[0]]):
                continue
            if row.label in self.classes or (code == _NO_AGREEMENT and self.class_set == "all"):
                rows.append(row)
            else:
                left_out[row.label or "no agreement"] += 1
        require_audio(self.name, root, rows, "Copy the folders session1 ... session6 (or Audio) again.")
        rows.sort(key=lambda row: row.id)
        return Listing(rows, lambda _: turns_left_out(self.class_set, left_out))


def _label_file(root: Path) -> Path:
    if not root.is_dir():
        raise CorpusError(f"MSP-IMPROV: no folder at {root}. Give the corpus folder with data.root=PATH.")
    for name in ("Evalution.txt", "Evaluation.txt"):  # the release spells it without the second a
        if (root / name).is_file():
            return root / name
    seen = ", ".join(sorted(entry.name for entry in root.iterdir() if entry.name[0] != ".")[:8]) or "nothing"
    raise CorpusError(
        f"MSP-IMPROV: {root} has no Evalution.txt or Evaluation.txt (found: {seen}). Expected the original layout with "
        "the label file beside Audio or session1 ... session6."
    )


def _blocks(file: Path) -> Iterator[tuple[re.Match[str], str, list[str]]]:
    """First line, place and rater lines of each turn."""
    lines = [line.strip() for line in file.read_text(encoding="utf-8", errors="replace").split("\n")]
    starts = [number for number, line in enumerate(lines) if line.startswith("UTD-IMPROV")]
    if not starts:
        raise CorpusError(f"MSP-IMPROV: {file} holds no turn. Expected lines that begin with UTD-IMPROV-S01A-F01-...")
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        where = f"{file}, line {start + 1}"
        header = _HEADER.fullmatch(lines[start])
        if header is None:
            raise CorpusError(
                f"MSP-IMPROV: {where} is {lines[start]!r}. Expected a turn, a letter, and means such as "
                "UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:3.0; V:3.0; D:3.0 ; N:3.6;"
            )
        yield header, where, [line for line in lines[start + 1 : end] if line]


def _row(header: re.Match[str], where: str, answers: list[str], audio: str) -> tuple[str, Utterance]:
    """Label code and row of one turn."""
    found, code = _NAME.fullmatch(header["name"]), header["code"]
    if found is None or (code not in _CODES and code != _NO_AGREEMENT):
        raise CorpusError(
            f"MSP-IMPROV: {where} has the turn {header['name']!r} and the label {code!r}. Expected a name such as "
            f"S01A-F01-P-FM01 and one of {', '.join(_CODES)}, {_NO_AGREEMENT}."
        )
    arousal, valence, dominance = (_mean(header[group]) for group in (3, 4, 5))
    ratings = tuple(_rating(line) for line in answers)
    session, scenario = f"session{int(found['session'])}", found["scenario"]
    name = f"MSP-IMPROV-{header['name']}"
    votes = Counter(label for rating in ratings for label in rating.labels)
    return code, Utterance(
        id=name,
        path=f"{audio}{session}/{found['folder']}/{scenario}/{name}.wav",
        speaker=found["sex"] + found["session"],
        sex="female" if found["sex"] == "F" else "male",
        session=session,
        dialogue=f"{found['folder']}-{found['target']}",
        turn=f"{scenario}-{found['turn']}",
        sentence=found["sentence"] if scenario in "RT" else None,
        language="en",
        style=_STYLES[scenario],
        label=_CODES.get(code),
        raw_label=code,
        votes={label: float(count) for label, count in votes.items()} or None,
        ratings=ratings,
        valence=valence,
        arousal=arousal,
        dominance=dominance,
    )


def _rating(line: str) -> Rating:
    rater, primary, *rest = [part.strip() for part in line.split(";")] + [""]
    given = {dimension: float(value) for dimension, value in _DIMENSION.findall(";".join(rest))}
    label = _RATER_WORDS.get(primary.capitalize(), "other")
    return Rating(rater, (label,) if primary else (), given.get("V"), given.get("A"), given.get("D"))


def _mean(text: str) -> float | None:
    value = float(text)
    return None if math.isnan(value) else value
