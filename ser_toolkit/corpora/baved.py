"""BAVED, Basic Arabic Vocal Emotions Dataset: seven Arabic words, each spoken with a low, normal or high emotion.

The label is the *level* of emotion that the speaker was asked for, not an emotion: 0 low (tired, down), 1 the way he or
she speaks daily, 2 high, positive or negative alike. Layout (README of the release): a folder a word with files such as
``0/12-m-21-0-1-105.wav``: speaker, sex, age, word, level, number of the recording. One file lies in another word's
folder; its name counts. The README says 61 speakers; the file names have 60.

Speaker numbers 46 and 53 are one person: all 21 recordings of the one are byte for byte those of the other. They count
as one speaker here, and the audit names the twins as identical audio (with five more pairs within a speaker).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ser_toolkit.corpora.base import Expected, Listing, Utterance
from ser_toolkit.corpora.layouts.named_files import NamedFiles

_LEVELS = {"0": "low", "1": "normal", "2": "high"}
_WORDS = ("اعجبني", "لم يعجبني", "هذا", "الفيلم", "رائع", "مقول", "سيئ")
_TWINS = {"53": "46"}

# Recordings by speaker, counted from the names in the authors' repository; 53 counts with 46.
_COUNTS = {
    14: "0 2", 7: "1 5 6 8 9 10 11 12 13 14 16 18", 6: "3 7 43", 115: "4", 10: "15",
    21: "17 48 100 101 102 103", 42: "46",
    4: "19 21 22 23 24 25 39 40 42 45", 3: "20 26 27 28 29 30 31 32 33 34 35 36 37 38 41 44",
    168: "47", 160: "49", 306: "50", 40: "51", 61: "54", 340: "55", 349: "56",
}  # fmt: skip
_SPEAKERS = {speaker: count for count, speakers in _COUNTS.items() for speaker in speakers.split()}


class BAVED(NamedFiles):
    """Basic Arabic Vocal Emotions Dataset: Arabic, acted, 1935 single words of 59 speakers in 3 levels of emotion."""

    name = "BAVED"
    licence = "as stated in its repository"
    citation = "A. Aouf. Basic Arabic vocal emotions dataset (BAVED). GitHub, 2019"
    homepage = "https://github.com/40uf411/Basic-Arabic-Vocal-Emotions-Dataset"
    verified = "real audio"
    label_rule = "the level of emotion asked of the speaker, from the file name"
    default_protocol = "GroupedKFold"
    form = "0/12-m-21-0-1-105.wav: speaker, sex m or f, age, word 0-6, level 0-2, number of the recording"
    pattern = re.compile(
        r"(?:.*/)?(?P<speaker>\d+)-(?P<sex>[mf])-(?P<age>\d+)-(?P<word>[0-6])-(?P<level>[012])-(?P<number>\d+)",
        re.IGNORECASE,
    )

    @property
    def classes(self) -> tuple[str, ...]:
        """The three levels in alphabetical order."""
        return tuple(sorted(_LEVELS.values()))

    @property
    def expected(self) -> Expected:
        """Counts of the authors' repository."""
        classes = {"low": 585, "normal": 672, "high": 678}
        return Expected(1935, _SPEAKERS, classes=classes, sampling_rates=(16000,))

    def read(self, root: Path) -> Listing:
        """One row for each recording, by id; see ``NamedFiles.read``."""
        return replace(super().read(root), notes=_notes)

    def _row(self, found: re.Match[str], path: str) -> Utterance:
        return Utterance(
            id=path.rpartition("/")[2].rpartition(".")[0],
            path=path,
            speaker=_TWINS.get(found["speaker"], found["speaker"]),
            sex="male" if found["sex"].lower() == "m" else "female",
            sentence=found["word"],
            transcript=_WORDS[int(found["word"])],
            language="ar",
            style="acted",
            label=_LEVELS[found["level"]],
            raw_label=found["level"],
        )


def _notes(rows: Sequence[Utterance]) -> list[str]:
    """A sentence on two speaker numbers that are one person, where both are among the rows."""
    numbers = {row.id.partition("-")[0] for row in rows}
    return ["Speaker numbers 46 and 53 are one person and count as speaker 46."] if {"46", "53"} <= numbers else []
