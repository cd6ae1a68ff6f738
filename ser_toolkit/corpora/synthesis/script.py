"""The script of the ``Synthetic`` corpus: which speaker speaks which sentence in which emotion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ser_toolkit.corpora.synthesis import voices

_SENTENCES = 6
_LENGTHS = (5, 6)  # syllables, in turn
_VOWELS, _CONSONANTS = "aeiou", "bdfklmnpst"


@dataclass(frozen=True)
class Line:
    """One utterance before it is spoken; number (of the speaker), take and turn count from 0.

    Take is the repetition of this emotion by this speaker, turn the place among this speaker's lines of that take.
    """

    number: int
    speaker: voices.Speaker
    emotion: str
    take: int
    turn: int
    syllables: tuple[str, ...]
    expression: voices.Expression

    @property
    def speaker_name(self) -> str:
        """The speaker's id in the corpus."""
        return speaker_name(self.number)

    @property
    def id(self) -> str:
        """Unique in the corpus."""
        return f"{self.speaker_name}_{self.emotion}_{self.take + 1:02d}"

    @property
    def path(self) -> str:
        """Audio file below the rendering."""
        return f"{self.speaker_name}/{self.id}.wav"

    @property
    def sentence(self) -> str:
        """Code of the sentence, which every speaker speaks in every emotion."""
        return f"s{self.take % _SENTENCES + 1}"


def speaker_name(number: int) -> str:
    """The id of the speaker with this number."""
    return f"spk{number + 1:02d}"


def class_counts(
    num_speakers: int, classes: Sequence[str], utterances_per_class: int, confounding: float
) -> list[dict[str, int]]:
    """Utterances per class, by speaker: the favourite class takes what ``confounding`` takes from the others."""
    others = round((1 - confounding) * utterances_per_class)
    counts = [dict.fromkeys(classes, others) for _ in range(num_speakers)]
    for number, count in enumerate(counts):
        count[classes[number % len(classes)]] += (utterances_per_class - others) * len(classes)
    return counts


def write(counts: Sequence[dict[str, int]], seed: int, expressivity: float, variation: float) -> list[Line]:
    """All lines, speaker by speaker and class by class.

    Args:
        counts: lines per class, by speaker.
        seed: of all chance.
        expressivity: see ``draw_expression``.
        variation: see ``draw_speaker``.
    """
    lines = []
    sentences = [_syllables(seed, sentence) for sentence in range(_SENTENCES)]
    for number, count in enumerate(counts):
        speaker = voices.draw_speaker(seed, number, _sex(number, len(count)), variation)
        turns: Counter[int] = Counter()
        for emotion, takes in count.items():
            for take in range(takes):
                rng = voices.stream(seed, f"expression {emotion}", number, take)
                expression = voices.draw_expression(speaker, emotion, expressivity, rng)
                words = sentences[take % _SENTENCES]
                lines.append(Line(number, speaker, emotion, take, turns[take], words, expression))
                turns[take] += 1
    return lines


def _sex(number: int, num_classes: int) -> str:
    """Sex of a speaker: alternates, and is balanced over the speakers who share a favourite class too."""
    shift = number // num_classes if num_classes % 2 == 0 else 0
    return ("female", "male")[(number + shift) % 2]


def _syllables(seed: int, sentence: int) -> tuple[str, ...]:
    """A string of consonant-vowel syllables in which every vowel occurs, so that sentences differ little in timbre."""
    rng = voices.stream(seed, "sentence", sentence)
    vowels = [*_VOWELS, str(rng.choice(list(_VOWELS)))][: _LENGTHS[sentence % len(_LENGTHS)]]
    consonants = rng.permutation(list(_CONSONANTS))[: len(vowels)]
    return tuple(f"{c}{v}" for c, v in zip(consonants, rng.permutation(vowels), strict=True))
