"""Variants: an axis of the result. Speaker-normalised results stand beside the plain ones.

Each variant defines the utterances that a speaker's statistics come from, and those that may then not be scored.
Training speakers are treated like test speakers.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
from torch import Tensor

from ser_toolkit.data.batch import Stored, parts_of
from ser_toolkit.errors import RecipeError
from ser_toolkit.features.normalise import SpeakerNormalised

#: Draws of enrolment utterances, unless asked for otherwise.
DRAWS = 5
#: Name of a corpus that is not one of several.
_THE_CORPUS = "this corpus"


class Variant(ABC):
    """How features are normalised before they enter the downstream, and which utterances are scored."""

    #: Folder and row name of the variant.
    name: str
    #: How many draws of reference utterances are tested.
    draws: int = 1
    #: Column of the manifest whose values have statistics of their own.
    column: str = "speaker"
    #: Values that are standardised: the frames of each layer, or the pooled vectors of utterances.
    level: Literal["frames", "utterance"] = "frames"
    #: Whose speech the statistics come from that features are standardised by: of speakers in all their classes, of
    #: speakers in one reference class, or of whole corpora. Reports of speaker-normalised figures depend on it.
    normalises: Literal["nothing", "speaker", "reference", "corpus"] = "nothing"

    @property
    def scores_all(self) -> bool:
        """Whether every test utterance is scored, because none gives statistics by its identity or label."""
        return type(self).excluded is Variant.excluded

    @property
    @abstractmethod
    def explanation(self) -> str:
        """One sentence for the report."""

    def reference(self, table: pd.DataFrame, draw: int) -> dict[str, list[str]] | None:
        """Speaker (or corpus) -> ids whose frames give the statistics; None leaves features as they are."""
        return None

    def excluded(self, table: pd.DataFrame, draw: int) -> set[str]:
        """Ids that may not be scored, because their identity or label was used."""
        return set()

    def normalised_features(
        self, features: Mapping[str, Stored], table: pd.DataFrame, draw: int = 0
    ) -> Mapping[str, Stored]:
        """Features by utterance id as the downstream takes them: standardised where the level is that of frames."""
        return features if self.level == "utterance" else self.standardised(features, table, draw)

    def normalised_vectors(
        self, vectors: Mapping[str, Tensor], table: pd.DataFrame, draw: int = 0
    ) -> Mapping[str, Tensor]:
        """Pooled vectors (E,) by utterance id as the head takes them: standardised where the level is theirs."""
        if self.level == "frames":
            return vectors
        single = {name: vector[None, None] for name, vector in vectors.items()}
        found = self.standardised(single, table, draw).items()
        return {name: part[0, 0] for name, stored in found for part in parts_of(stored) if isinstance(part, Tensor)}

    def standardised(self, features: Mapping[str, Stored], table: pd.DataFrame, draw: int = 0) -> Mapping[str, Stored]:
        """Features standardised with the statistics of their speaker (or corpus), whatever the variant's level."""
        reference = self.reference(table, draw)
        if reference is None:
            return features
        groups = table[self.column].where(table[self.column].notna(), _THE_CORPUS)
        return SpeakerNormalised(features, dict(zip(table["id"], groups, strict=True)), reference)


def _by_speaker(table: pd.DataFrame) -> dict[str, list[str]]:
    if table["speaker"].isna().any():
        raise RecipeError(
            "Speaker-normalised variants need a speaker for every utterance; "
            f"{int(table['speaker'].isna().sum())} have none. Use variants=[Plain] for this corpus."
        )
    return {str(speaker): sorted(rows["id"]) for speaker, rows in table.groupby("speaker", sort=True)}


class Plain(Variant):
    """Features as the upstream gives them."""

    name = "plain"

    @property
    def explanation(self) -> str:
        """One sentence for the report."""
        return "No speaker normalisation: nothing is known of a test speaker."


class _FromAllAudio(Variant):
    """Statistics from all audio of each speaker (or corpus), without labels.

    Args:
        level: "frames" standardises the frames of each layer before the layer mix; "utterance" the pooled vectors,
            which must then come from parts without parameters.
    """

    #: Name of the variant on frames.
    short: str
    #: Whose audio it is, in words.
    whose: str

    def __init__(self, level: Literal["frames", "utterance"] = "frames") -> None:
        self.level = level
        self.name = self.short if level == "frames" else f"{self.short}-utterance"

    @property
    def explanation(self) -> str:
        """One sentence for the report."""
        what = "frames of each layer" if self.level == "frames" else "pooled vectors"
        return f"Per-{self.column} statistics of {what}, from all {self.whose}, without labels (transductive)."


class Transductive(_FromAllAudio):
    """Statistics from all of a speaker's audio, without labels: the whole test set of a speaker is at hand at once.

    Args:
        level: "frames" standardises the frames of each layer before the layer mix; "utterance" the pooled vectors,
            which must then come from parts without parameters.
    """

    normalises = "speaker"
    short = "transductive"
    whose = "of the speaker's audio"

    def reference(self, table: pd.DataFrame, draw: int) -> dict[str, list[str]]:
        """Every utterance of the speaker."""
        return _by_speaker(table)


class PerCorpus(_FromAllAudio):
    """Statistics from all audio of each corpus, without labels: takes away what is the same in all of it, as its room.

    For several corpora, and for one that is new to a model. The whole test corpus is at hand at once.

    Args:
        level: "frames" standardises the frames of each layer before the layer mix; "utterance" the pooled vectors,
            which must then come from parts without parameters.
    """

    column = "corpus"
    normalises = "corpus"
    short = "per-corpus"
    whose = "audio of each corpus"

    def reference(self, table: pd.DataFrame, draw: int) -> dict[str, list[str]]:
        """Every utterance of the corpus."""
        corpus = table["corpus"].where(table["corpus"].notna(), _THE_CORPUS)
        return {str(name): sorted(ids) for name, ids in table["id"].groupby(corpus, sort=True)}


class Enrolment(Variant):
    """Statistics from a few utterances of each speaker, drawn at random and not scored.

    Args:
        utterances: how many utterances enrol a speaker.
        draws: how many random draws are tested; the downstream is trained on the first.
    """

    normalises = "speaker"

    def __init__(self, utterances: int = 5, draws: int = DRAWS) -> None:
        if utterances < 1 or draws < 1:
            raise RecipeError("Enrolment needs utterances >= 1 and draws >= 1.")
        self.utterances = utterances
        self.draws = draws
        self.name = f"enrolment-{utterances}" + (f"-draws-{draws}" if draws != DRAWS else "")

    @property
    def explanation(self) -> str:
        """One sentence for the report."""
        return (
            f"Per-speaker statistics from {self.utterances} utterances drawn at random, without labels and "
            f"not scored; {self.draws} draws."
        )

    def reference(self, table: pd.DataFrame, draw: int) -> dict[str, list[str]]:
        """``utterances`` ids per speaker; the draw depends on the speaker's name and the draw's number only."""
        chosen = {}
        for speaker, ids in _by_speaker(table).items():
            if len(ids) <= self.utterances:
                raise RecipeError(
                    f"Enrolment: speaker {speaker} has {len(ids)} utterances, more than {self.utterances} are needed."
                )
            seed = int.from_bytes(hashlib.sha256(f"{speaker}|{draw}".encode()).digest()[:8], "big")
            chosen[speaker] = sorted(np.random.default_rng(seed).choice(ids, size=self.utterances, replace=False))
        return chosen

    def excluded(self, table: pd.DataFrame, draw: int) -> set[str]:
        """The enrolment utterances of this draw."""
        return {name for ids in self.reference(table, draw).values() for name in ids}


class NeutralReference(Variant):
    """Statistics from each speaker's neutral utterances: uses their labels, so they are not scored.

    Args:
        label: the class that serves as reference.
    """

    normalises = "reference"

    def __init__(self, label: str = "neutral") -> None:
        self.label = label
        self.name = "neutral" if label == "neutral" else f"reference-{label}"

    @property
    def explanation(self) -> str:
        """One sentence for the report."""
        return (
            f"Per-speaker statistics from the speaker's '{self.label}' utterances; this uses labels, "
            "so these utterances are not scored."
        )

    def reference(self, table: pd.DataFrame, draw: int) -> dict[str, list[str]]:
        """The speaker's utterances of the reference class."""
        neutral = _by_speaker(table[table["label"] == self.label])
        without = sorted(set(_by_speaker(table)) - set(neutral))
        if without:
            raise RecipeError(f"NeutralReference: no '{self.label}' utterance of speaker {', '.join(without[:5])}.")
        return neutral

    def excluded(self, table: pd.DataFrame, draw: int) -> set[str]:
        """Every utterance of the reference class."""
        return set(table.loc[table["label"] == self.label, "id"])
