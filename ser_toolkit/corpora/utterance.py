"""One utterance as every part of the toolkit knows it, with the ratings behind its label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Seconds = float


@dataclass(frozen=True, slots=True)
class Rating:
    """One rater's answer on one utterance.

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
