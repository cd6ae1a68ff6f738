"""CAMEO: a collection of thirteen emotional corpora in eight languages on the Hugging Face hub, one split a corpus.

Layout, from the dataset card of ``amu-cai/CAMEO`` and the description of the Polish Speech Emotion Recognition
Challenge, which is held on it: ``data/<split>-00000-of-00001.parquet`` with the columns file_id, audio (FLAC, 16 kHz,
embedded), emotion, transcription, speaker_id, gender, age, dataset, language and license. Splits are called by corpus.
Emotions are nouns (anger); here they get the words of the other corpora (angry). Age and license are not used.

The counts below are those of the challenge's tables for six emotions. The collection has more emotions;
the full list of the others and their counts could not be established, so they are unlabelled unless asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from ser_toolkit.corpora.base import Expected, Utterance
from ser_toolkit.corpora.huggingface import HuggingFaceAudio
from ser_toolkit.corpora.layouts.columns import Rows, Words, language_of
from ser_toolkit.errors import RecipeError, nearest

#: The words of the other corpora for those of CAMEO; words that are not listed stay as they are.
WORDS: Mapping[str, str] = {
    "anger": "angry", "anxiety": "anxious", "boredom": "bored", "disgust": "disgusted", "excitement": "excited",
    "fear": "fearful", "happiness": "happy", "sadness": "sad", "surprise": "surprised",
}  # fmt: skip
_CLASSES = ("angry", "fearful", "happy", "neutral", "sad", "surprised")
#: Language, then utterances per class in the order above.
SPLITS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "cafe": ("French", (144, 144, 144, 72, 144, 144)),
    "crema_d": ("English", (1271, 1271, 1271, 1087, 1271, 0)),
    "emns": ("English", (133, 0, 158, 149, 150, 153)),
    "emozionalmente": ("Italian", (986, 986, 986, 986, 986, 986)),
    "enterface": ("English", (210, 210, 207, 0, 210, 210)),
    "jl_corpus": ("English", (240, 0, 240, 240, 240, 0)),
    "mesd": ("Spanish", (143, 144, 144, 143, 144, 0)),
    "nemo": ("Polish", (749, 736, 749, 809, 769, 669)),
    "oreau": ("French", (73, 71, 72, 71, 72, 72)),
    "pavoque": ("German", (601, 0, 584, 3126, 556, 0)),
    "ravdess": ("English", (192, 192, 192, 96, 192, 192)),
    "resd": ("Russian", (219, 223, 218, 191, 162, 0)),
    "subesco": ("Bengali", (1000, 1000, 1000, 1000, 1000, 1000)),
}


class _Words(Words):
    """Labels for the words of the collection: only classes are labels.

    Args:
        classes: other emotions leave their utterances unlabelled.
    """

    def __init__(self, classes: Collection[str]) -> None:
        super().__init__({})
        self._classes = classes

    def label_of(self, word: str | None) -> str | None:
        """The class that a word stands for; None where it is none of the classes."""
        label = WORDS.get(word or "", word)
        return label if label in self._classes else None


class CAMEO(HuggingFaceAudio):
    """CAMEO: thirteen emotional corpora in eight languages as one; every split is a corpus.

    Utterances with another emotion than the classes stay in the manifest without a label.

    Args:
        datasets: splits to read, such as ``[cafe, oreau]``; None reads all thirteen.
        languages: ISO 639-1 codes of the languages to read, such as ``[en, fr]``; None reads all eight.
        classes: class order, in the words of the other corpora (``disgusted`` for disgust).
    """

    name = "CAMEO"
    licence = "CC BY-NC-SA 4.0 as a collection; the corpora keep their own (column license)"
    citation = (
        "I. Christop and M. Czajka. CAMEO: collection of multilingual emotional speech corpora. 2025. arXiv:2505.11051"
    )
    homepage = "https://huggingface.co/datasets/amu-cai/CAMEO"
    verified = "documentation only"
    label_rule = "the emotion column of the collection; emotions outside the classes are unlabelled"
    default_protocol = "LeaveOneCorpusOut"

    def __init__(
        self,
        datasets: list[str] | None = None,
        languages: list[str] | None = None,
        classes: list[str] | None = None,
    ) -> None:
        spoken = {str(language_of(one)) for one in languages or ()}
        known = {str(language_of(language)) for language, _ in SPLITS.values()}
        for one in sorted(spoken - known):
            raise RecipeError(f"CAMEO: languages names {one!r}. {nearest(one, known)}")
        names = [
            name
            for name in (SPLITS if datasets is None else datasets)
            if not spoken or name not in SPLITS or language_of(SPLITS[name][0]) in spoken
        ]
        if not names:
            raise RecipeError(f"CAMEO: none of the datasets {datasets} is in one of the languages {languages}.")
        super().__init__(
            emotion="emotion",
            speaker="speaker_id",
            audio="audio",
            gender="gender",
            transcription="transcription",
            language="language",
            columns={"id": "file_id"},
            splits=names,
            classes=list(classes or _CLASSES),
        )
        self.datasets = names
        self.languages = languages

    @property
    def expected(self) -> Expected:
        """Counts of the challenge's tables, for the splits that are read, when the classes are its six."""
        known = {name: SPLITS[name][1] for name in self.datasets if name in SPLITS}
        if set(self.classes) != set(_CLASSES) or len(known) < len(self.datasets):
            return Expected()
        counts: Counter[str] = Counter()
        for numbers in known.values():
            counts.update(dict(zip(_CLASSES, numbers, strict=True)))
        return Expected(classes={name: count for name, count in counts.items() if count})

    def _words(self) -> Words:
        return _Words(self.classes)

    def _rows(self, root: Path, words: Words) -> Rows:
        """Rows with their corpus in front of ids and speakers, unless they have it."""
        return Rows([replace(one, row=self._of_corpus(one.row)) for one in super()._rows(root, words).rows])

    @staticmethod
    def _of_corpus(row: Utterance) -> Utterance:
        name = row.fold or ""
        speaker = row.speaker
        if speaker is not None and not speaker.startswith(f"{name}_"):
            speaker = f"{name}_{speaker}"
        return replace(row, id=f"{name}/{row.id.removesuffix('.flac')}", speaker=speaker, corpus=name, fold=None)
