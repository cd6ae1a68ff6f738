"""Speakers of the ``Synthetic`` corpus, the acoustics of their emotions, and simulated raters.

Six cues carry emotion: F0 level, F0 range, rate, level, spectral tilt and jitter. A cue of one utterance is the
speaker's habit + emotion profile x strength of expression x the speaker's own way of using that cue + chance.
Directions follow the reviews below; sizes are chosen by us so that classes overlap.

Source: Juslin and Laukka (2003), Psychological Bulletin 129(5), Table 11 (cue patterns); Banse and Scherer (1996),
JPSP 70(3); Scherer (2003), Speech Communication 40; Murray and Arnott (1993), JASA 93(2); Gobl and Ni Chasaide
(2003), Speech Communication 40 (voice quality: tense for anger, lax and breathy for sadness and boredom).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_toolkit.corpora.base import Rating

Array = NDArray[np.float64]

#: Cue order of every vector in this file, with its unit.
CUES = ("f0_semitones", "f0_range_log2", "rate_log2", "level_db", "tilt_db", "jitter_log2")

#: Changes of a speaker's neutral voice at full expression, in the units of CUES. Tilt: negative is brighter.
PROFILES: dict[str, tuple[float, ...]] = {
    "angry": (3.0, 0.40, 0.22, 6.0, -9.0, 1.0),
    "happy": (4.8, 0.75, 0.12, 3.5, -4.0, 0.0),
    "neutral": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "sad": (-1.5, -0.60, -0.24, -4.0, 7.5, -0.3),
    "fearful": (6.0, -0.20, 0.28, -1.0, -1.0, 0.7),
    "bored": (-2.5, -0.60, -0.20, -2.0, 3.0, 0.3),
}

#: Valence, arousal and dominance of full expression, in [0, 1].
PROTOTYPES: dict[str, tuple[float, float, float]] = {
    "angry": (0.15, 0.85, 0.80),
    "happy": (0.85, 0.75, 0.65),
    "neutral": (0.50, 0.40, 0.50),
    "sad": (0.20, 0.20, 0.25),
    "fearful": (0.20, 0.75, 0.20),
    "bored": (0.35, 0.15, 0.40),
}

#: Neutral voice of an average speaker: F0 in semitones above 100 Hz is added by sex below.
_NEUTRAL = np.array([0.0, np.log2(1.9), np.log2(4.6), -30.0, 14.0, np.log2(0.010)])
_SEXES = {"female": (12.5, 14.6), "male": (2.5, 17.0)}  # F0 in semitones above 100 Hz; vocal tract in cm
#: Standard deviations: between speakers, between a speaker's ways of one emotion, between utterances.
_HABITS = np.array([1.6, 0.24, 0.08, 2.0, 2.5, 0.37])
_WAYS = np.array([0.7, 0.12, 0.04, 1.0, 1.2, 0.15])
_CHANCE = np.array([1.4, 0.32, 0.09, 2.0, 2.1, 0.38])
_LOWEST = np.array([-6.0, np.log2(0.4), np.log2(2.2), -42.0, 0.0, np.log2(0.002)])
_HIGHEST = np.array([26.0, np.log2(7.0), np.log2(8.0), -17.0, 34.0, np.log2(0.05)])


def entropy(seed: int, purpose: str, *numbers: int) -> tuple[int, ...]:
    """Numbers that seed one purpose's chance: turning one knob leaves all other draws as they were."""
    return (seed, zlib.crc32(purpose.encode()), *numbers)


def stream(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """The random generator of ``entropy``."""
    return np.random.default_rng(entropy(seed, purpose, *numbers))


@dataclass(frozen=True)
class Speaker:
    """Traits of a speaker's voice.

    Args:
        sex: ``female`` or ``male``.
        vocal_tract_cm: length of the vocal tract.
        shimmer: cycle-to-cycle amplitude perturbation, a fraction.
        open_quotient: of the glottis in a neutral voice.
        habits: neutral voice in the units of CUES, (6,).
        gains: how much of each cue's profile this speaker uses, (6,).
        ways: what this speaker adds to each emotion, by class, (6,) each.
    """

    sex: str
    vocal_tract_cm: float
    shimmer: float
    open_quotient: float
    habits: Array
    gains: Array
    ways: dict[str, Array]


@dataclass(frozen=True)
class Expression:
    """Emotion of one utterance as it is spoken.

    Args:
        strength: strength of expression, about 0.3 to 1.2.
        cues: in the units of CUES, (6,).
        dimensions: expressed valence, arousal, dominance in [0, 1], (3,).
    """

    strength: float
    cues: Array
    dimensions: Array


def draw_speaker(seed: int, number: int, sex: str, variation: float) -> Speaker:
    """Speaker ``number`` of a corpus; ``variation`` scales all differences but sex."""
    rng = stream(seed, "speaker", number)
    semitones, tract = _SEXES[sex]
    habits = _NEUTRAL + variation * _HABITS * _draw(rng, 6)
    habits[0] += semitones
    return Speaker(
        sex=sex,
        vocal_tract_cm=tract + variation * 0.6 * float(_draw(rng)[0]),
        shimmer=0.04 * 2 ** (variation * 0.4 * float(_draw(rng)[0])),
        open_quotient=0.6 + variation * 0.05 * float(_draw(rng)[0]),
        habits=habits,
        gains=2 ** (variation * 0.4 * _draw(rng, 6)),
        ways={emotion: variation * _WAYS * _draw(stream(seed, f"way {emotion}", number), 6) for emotion in PROFILES},
    )


def draw_expression(speaker: Speaker, emotion: str, expressivity: float, rng: np.random.Generator) -> Expression:
    """Expression of one utterance of ``speaker`` in ``emotion``; ``expressivity`` 0 leaves no trace of the emotion."""
    strength = 0.3 + 0.9 * float(rng.beta(2.0, 2.0))
    moved = speaker.gains * np.array(PROFILES[emotion]) * strength + speaker.ways[emotion]
    cues = speaker.habits + expressivity * moved + _CHANCE * _draw(rng, 6)
    neutral = np.array(PROTOTYPES["neutral"])
    dimensions = neutral + min(1.0, expressivity) * strength * (np.array(PROTOTYPES[emotion]) - neutral)
    dimensions = np.clip(dimensions + 0.04 * _draw(rng, 3), 0.0, 1.0)
    return Expression(strength, np.clip(cues, _LOWEST, _HIGHEST), dimensions)


def acoustics(speaker: Speaker, expression: Expression) -> dict[str, float]:
    """Values for the synthesiser beside the syllables: fields of ``synthesiser.AcousticTarget`` by name.

    A soft voice (steep tilt) is also more open and more breathy (Gobl and Ni Chasaide, 2003).
    """
    semitones, spread, rate, level, tilt, jitter = expression.cues.tolist()
    softness = tilt - _NEUTRAL[CUES.index("tilt_db")]
    return {
        "vocal_tract_cm": speaker.vocal_tract_cm,
        "f0_hz": 100 * 2 ** (semitones / 12),
        "f0_sd_semitones": 2**spread,
        "syllables_per_second": 2**rate,
        "level_dbfs": level,
        "tilt_db": tilt,
        "jitter": 2**jitter,
        "shimmer": speaker.shimmer,
        "open_quotient": float(np.clip(speaker.open_quotient + 0.008 * softness, 0.4, 0.85)),
        "aspiration": float(0.015 * 2 ** (softness / 6)),
    }


def rate_utterance(
    emotion: str,
    expression: Expression,
    classes: tuple[str, ...],
    raters: int,
    disagreement: float,
    rng: np.random.Generator,
) -> tuple[Rating, ...]:
    """Simulate the votes and A/V/D ratings of a panel.

    A rater names another class with probability ``disagreement`` on average (somewhat less above 0.5), more often when
    the expression is weak, and then a neighbour in the valence-arousal-dominance space more often than a distant class.

    Returns:
        One rating per rater, dimensions in [0, 1].
    """
    missed = np.clip(2 * disagreement * (1.2 - expression.strength) / 0.9, 0.0, 1.0)
    distances = np.array([np.linalg.norm(np.subtract(PROTOTYPES[c], PROTOTYPES[emotion])) for c in classes])
    nearness = np.where(np.array(classes) == emotion, 0.0, np.exp(-3.0 * distances))
    chances = missed * nearness / nearness.sum() + (1 - missed) * (np.array(classes) == emotion)
    chosen = rng.choice(len(classes), size=raters, p=chances)
    spread = 0.4 * disagreement * _draw(rng, raters, 3)
    scores = np.clip(expression.dimensions + spread, 0.0, 1.0).round(3)
    ratings = []
    for number, choice in enumerate(chosen):
        valence, arousal, dominance = scores[number].tolist()
        ratings.append(Rating(f"R{number + 1:02d}", (classes[choice],), valence, arousal, dominance))
    return tuple(ratings)


def mean_dimensions(ratings: tuple[Rating, ...], expression: Expression) -> tuple[float, float, float]:
    """Valence, arousal, dominance in [0, 1] as the panel rates them; what was expressed where there is no panel."""
    scores = [(rating.valence, rating.arousal, rating.dominance) for rating in ratings]
    means = np.array(scores, dtype=float).mean(axis=0) if scores else expression.dimensions
    valence, arousal, dominance = means.round(4).tolist()
    return valence, arousal, dominance


def _draw(rng: np.random.Generator, *shape: int) -> Array:
    """Standard normal values, cut at 2.2 standard deviations; one value when no shape is given."""
    return np.clip(rng.standard_normal(shape or (1,)), -2.2, 2.2)
