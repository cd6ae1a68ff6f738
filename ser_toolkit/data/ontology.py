"""Ontologies: which words for emotions count as one class, written out so that nothing is merged in silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Ontology:
    """A set of classes, and the words that belong to each.

    Args:
        description: in one sentence.
        classes: words by class; a word belongs to one class at most, and words that stand nowhere are left out.
        source: where the classes come from, and where the words do if not from there.
    """

    description: str
    classes: Mapping[str, tuple[str, ...]]
    source: str

    def __post_init__(self) -> None:
        words = [word for words in self.classes.values() for word in words]
        if len(set(words)) != len(words):
            raise ValueError("a word stands in two classes of an ontology")
        object.__setattr__(self, "classes", MappingProxyType(dict(self.classes)))

    @property
    def class_of(self) -> dict[str, str]:
        """Class of each word."""
        return {word: name for name, words in self.classes.items() for word in words}


#: Ontologies by the name that ``data.labels.ontology`` takes.
ONTOLOGIES: Mapping[str, Ontology] = MappingProxyType(
    {
        "big_four": Ontology(
            "angry, happy (with excited), neutral, sad",
            {"angry": ("angry",), "happy": ("happy", "excited"), "neutral": ("neutral",), "sad": ("sad",)},
            "customary on IEMOCAP (5531 turns); SUPERB, Yang et al. 2021",
        ),
        "big_six": Ontology(
            "the six basic emotions: angry, disgusted, fearful, happy (with excited), sad, surprised",
            {
                "angry": ("angry",),
                "disgusted": ("disgusted",),
                "fearful": ("fearful",),
                "happy": ("happy", "excited"),
                "sad": ("sad",),
                "surprised": ("surprised",),
            },
            "Ekman, An argument for basic emotions, Cognition and Emotion 6, 1992; excited as in big_four",
        ),
        "arousal_valence": Ontology(
            "low or high arousal, with negative, neutral or positive valence",
            {
                "low_negative": ("sad", "bored"),
                "low_neutral": ("neutral",),
                "low_positive": ("calm",),
                "high_negative": ("angry", "fearful", "disgusted", "frustrated", "contemptuous"),
                "high_neutral": ("surprised",),
                "high_positive": ("happy", "excited", "amused"),
            },
            "the six classes of ExHuBERT, Amiriparian et al., Interspeech 2024; which word stands where is decided "
            "here, as their lists by corpus are not public",
        ),
    }
)
