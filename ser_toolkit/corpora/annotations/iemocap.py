"""The text files of IEMOCAP: evaluation files (labels, ratings, times) and transcriptions. Format: see iemocap.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ser_toolkit.corpora.base import Rating, visible_files
from ser_toolkit.errors import CorpusError, nearest

#: The corpus's label codes as full words.
CODES = {
    "ang": "angry",
    "dis": "disgusted",
    "exc": "excited",
    "fea": "fearful",
    "fru": "frustrated",
    "hap": "happy",
    "neu": "neutral",
    "oth": "other",
    "sad": "sad",
    "sur": "surprised",
}
#: The code of turns on which no majority of the raters agreed.
NO_AGREEMENT = "xxx"
_RATER_WORDS = {
    "anger": "angry",
    "disgust": "disgusted",
    "excited": "excited",
    "fear": "fearful",
    "frustration": "frustrated",
    "happiness": "happy",
    "neutral": "neutral",
    "neutral state": "neutral",
    "other": "other",
    "sadness": "sad",
    "surprise": "surprised",
}

_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_HEADER = re.compile(rf"\[{_NUMBER}-{_NUMBER}\]\s+(\S+)\s+(\S+)\s+\[{_NUMBER},{_NUMBER},{_NUMBER}\]")
FILE_NAME = re.compile(r"(?P<dialogue>(?P<session>Ses0[1-5])[FM]_(?:impro|script)\w+)_(?P<letter>[FM])\w+")
# The answer of a rater ends at the free comment in brackets, which may itself hold "val 3".
_RATER_LINE = re.compile(r"(?P<rater>(?P<kind>[AC])-(?P<who>[EFM])\w*):\s*(?P<answer>[^(]*)")
_DIMENSION = re.compile(r"\b(val|act|dom)\s+(\d+(?:\.\d+)?)")
_TRANSCRIPT = re.compile(r"(?P<turn>\S+)\s+\[[\d.]+-[\d.]+\]:\s*(?P<words>.*)")


@dataclass(frozen=True)
class Turn:
    """One block of an evaluation file.

    Args:
        id: name of the turn, ``Ses01F_impro01_M003``.
        dialogue: the name without its last part, ``Ses01F_impro01``.
        speaker: session and turn letter, ``Ses01_M``.
        code: label code, one of ``CODES`` or ``NO_AGREEMENT``.
        valence: mean rating from 1 to 5; the next two likewise.
        arousal: see valence.
        dominance: see valence.
        ratings: one for each rater line, in the file's order: classes and dimensions stand in separate lines.
    """

    id: str
    dialogue: str
    speaker: str
    code: str
    valence: float
    arousal: float
    dominance: float
    ratings: tuple[Rating, ...]


def read_turns(file: Path) -> Iterator[Turn]:
    """The turns of one dialogue's evaluation file, in its order.

    Raises:
        CorpusError: a block's first line is of another form or has an unknown label, or there is no block.
    """
    lines = _lines(file)
    starts = [number for number, line in enumerate(lines) if line.startswith("[")]
    if not starts:
        raise CorpusError(f"IEMOCAP: {file} holds no turn. Expected blocks that begin with [start - end].")
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield _turn(lines[start], lines[start + 1 : end], f"{file}, line {start + 1}")


def read_transcripts(folder: Path) -> dict[str, str]:
    """Words of each turn of a session; empty when this copy has no transcriptions."""
    files = visible_files(folder, ".txt") if folder.is_dir() else []
    found = (_TRANSCRIPT.fullmatch(line) for file in files for line in _lines(file))
    return {match["turn"]: match["words"] for match in found if match}


def _turn(first: str, following: list[str], where: str) -> Turn:
    header = _HEADER.fullmatch(first)
    name = FILE_NAME.fullmatch(header[3]) if header else None
    if header is None or name is None:
        raise CorpusError(
            f"IEMOCAP: {where} is {first!r}. Expected [start - end], a turn such as Ses01F_impro01_F000, a label and "
            "[valence, activation, dominance], separated by tabs."
        )
    code = header[4]
    if code not in CODES and code != NO_AGREEMENT:
        raise CorpusError(f"IEMOCAP: {where} has the label {code!r}. {nearest(code, [*CODES, NO_AGREEMENT])}")
    valence, arousal, dominance = (float(header[group]) for group in (5, 6, 7))
    return Turn(
        id=name[0],
        dialogue=name["dialogue"],
        speaker=f"{name['session']}_{name['letter']}",
        code=code,
        valence=valence,
        arousal=arousal,
        dominance=dominance,
        ratings=tuple(_rating(found) for line in following if (found := _RATER_LINE.match(line))),
    )


def _rating(line: re.Match[str]) -> Rating:
    rater, self_report = line["rater"], line["who"] != "E"
    if line["kind"] == "A":
        given = {dimension: float(value) for dimension, value in _DIMENSION.findall(line["answer"])}
        valence, arousal, dominance = (given.get(dimension) for dimension in ("val", "act", "dom"))
        return Rating(rater, valence=valence, arousal=arousal, dominance=dominance, self_report=self_report)
    ticked = [word.strip().lower() for word in line["answer"].split(";")]
    labels = dict.fromkeys(_RATER_WORDS.get(word, word) for word in ticked if word)
    return Rating(rater, labels=tuple(labels), self_report=self_report)


def _lines(file: Path) -> list[str]:
    return [line.rstrip() for line in file.read_text(encoding="utf-8", errors="replace").split("\n")]
