"""Made utterances with votes and ratings of 5 to 9 people, and the recordings of noise that they lie in."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import soundfile

from ser_toolkit.corpora.base import Corpus, Listing, Rating, Utterance

CLASSES = ("angry", "contemptuous", "disgusted", "fearful", "happy", "neutral", "sad", "surprised")
FILES, SPEAKERS, SESSIONS = 2000, 100, 20
SEGMENT = 0.1


class Rated(Corpus):
    """Made utterances with votes and ratings, the same ones every time."""

    name = licence = citation = label_rule = "made"
    dimension_range = (1.0, 7.0)

    def __init__(self, rows: int) -> None:
        self.rows = rows

    @property
    def classes(self) -> tuple[str, ...]:
        """The eight primary emotions."""
        return CLASSES

    def read(self, root: Path) -> Listing:
        """As many rows as wanted, spread evenly over the files."""
        rng = random.Random(0)
        return Listing([_utterance(number, -(-self.rows // FILES), rng) for number in range(self.rows)])


def _utterance(number: int, in_a_file: int, rng: random.Random) -> Utterance:
    file, place = divmod(number, in_a_file)
    speaker, label = number % SPEAKERS, rng.choice(CLASSES)
    ratings = tuple(_rating(label, rng) for _ in range(rng.randint(5, 9)))
    votes: dict[str, float] = {}
    for rating in ratings:
        votes[rating.labels[0]] = votes.get(rating.labels[0], 0.0) + 1
    return Utterance(
        id=f"u{number:06d}",
        path=f"{file:04d}.wav",
        start=place * SEGMENT,
        end=(place + 1) * SEGMENT,
        speaker=f"s{speaker:03d}",
        sex=("female", "male")[speaker % 2],
        session=f"session{speaker % SESSIONS:02d}",
        dialogue=f"d{file:04d}",
        sentence=f"p{number % 500}",
        transcript=f"the words of utterance {number}",
        language="en",
        style="natural",
        label=label,
        votes=votes,
        ratings=ratings,
        valence=rng.uniform(1, 7),
        arousal=rng.uniform(1, 7),
        dominance=rng.uniform(1, 7),
        fold=str(speaker % 10),
    )


def _rating(label: str, rng: random.Random) -> Rating:
    said = label if rng.random() < 0.6 else rng.choice((*CLASSES, "other"))
    return Rating(f"w{rng.randrange(4000):04d}", (said,), *(float(rng.randint(1, 7)) for _ in range(3)))


def write_audio(root: Path, rows: int) -> None:
    """Recordings of noise, long enough for their share of the utterances."""
    root.mkdir()
    rng, in_a_file = np.random.default_rng(0), -(-rows // FILES)
    for number in range(-(-rows // in_a_file)):
        samples = rng.integers(-999, 999, round(8000 * SEGMENT * in_a_file), dtype=np.int16)
        soundfile.write(root / f"{number:04d}.wav", samples, 8000)
