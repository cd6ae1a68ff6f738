"""A corpus of synthetic speech: the laboratory in which methods are compared when no real corpus is at hand."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_toolkit.corpora.base import Corpus, Expected, Listing, Utterance
from ser_toolkit.corpora.synthesis import script, voices
from ser_toolkit.errors import CorpusError, nearest
from ser_toolkit.system.places import cache_root

if TYPE_CHECKING:
    import pandas as pd

    from ser_toolkit.corpora.synthesis.rendering import Item

#: Raise it whenever the same settings would give other samples: old renderings are then left alone, not reused.
_VERSION = 1


class Synthetic(Corpus):
    """Synthetic speech from a source-filter model, for demonstrations and tests: not evidence about real emotion.

    Each speaker has a vocal tract, F0, rate, voice quality and ways of expression of its own; emotions move F0 level
    and range, rate, level, spectral tilt and jitter as the literature describes, with strength and chance varying from
    utterance to utterance. The root is a cache folder: a rendering for exactly these settings is made there once
    (``<root>/synthetic-<hash>/``) and found again later. The same settings always give the same utterances.

    Args:
        num_speakers: speakers, half of them female; consecutive pairs share a session.
        utterances_per_class: utterances per class and speaker (on average, under confounding).
        classes: class order, of angry, happy, neutral, sad, fearful, bored.
        seed: another number is another corpus: other speakers, sentences and expressions.
        expressivity: strength of emotion in the voice; 1 is the calibrated difficulty, 0 leaves no trace.
        speaker_variation: how much speakers differ; 1 is the calibrated difficulty, 0 leaves only their sex.
        noise_snr_db: signal-to-noise ratio of stationary room noise in dB; None renders without noise.
        rater_count: simulated raters per utterance; 0 gives no votes.
        rater_disagreement: probability in [0, 1] that a rater names another class; also scales the spread of ratings.
        label_noise: probability in [0, 1] that the label is another class than the one spoken (kept in raw_label).
        speaker_emotion_confounding: in [0, 1], how much each speaker keeps to one class: 0 is balanced, 1 only that.
            Towards 1 take 24 speakers or more: with 8 only two are left to learn each class from.

    Raises:
        CorpusError: an argument is out of its range.
    """

    name = "Synthetic"
    licence = "Apache-2.0 (synthetic speech, rendered by ser_toolkit itself; no human voice in it)"
    citation = (
        "Synthetic speech of ser_toolkit: KLGLOTT88 source (Klatt and Klatt, 1990, JASA 87), emotion cues after "
        "Juslin and Laukka (2003, Psychological Bulletin 129) and Scherer (2003, Speech Communication 40)"
    )
    verified = "synthetic"
    label_rule = "the emotion given to the synthesiser, after the label noise asked for"
    dimension_range: tuple[float, float] | None = (0.0, 1.0)

    def __init__(
        self,
        num_speakers: int = 8,
        utterances_per_class: int = 12,
        classes: Sequence[str] = ("angry", "happy", "neutral", "sad"),
        seed: int = 0,
        expressivity: float = 1.0,
        speaker_variation: float = 1.0,
        noise_snr_db: float | None = 35.0,
        rater_count: int = 5,
        rater_disagreement: float = 0.2,
        label_noise: float = 0.0,
        speaker_emotion_confounding: float = 0.0,
    ) -> None:
        self._classes = tuple(classes)
        self.num_speakers = num_speakers
        self.utterances_per_class = utterances_per_class
        self.seed = seed
        self.expressivity = expressivity
        self.speaker_variation = speaker_variation
        self.noise_snr_db = noise_snr_db
        self.rater_count = rater_count
        self.rater_disagreement = rater_disagreement
        self.label_noise = label_noise
        self.speaker_emotion_confounding = speaker_emotion_confounding
        self._check()

    def _check(self) -> None:
        for emotion in self._classes:
            if emotion not in voices.PROFILES:
                raise CorpusError(f"Synthetic: class {emotion!r} is unknown. {nearest(emotion, voices.PROFILES)}")
        if len(set(self._classes)) != len(self._classes) or len(self._classes) < 2:
            raise CorpusError(f"Synthetic: classes={list(self._classes)}, expected at least two different classes.")
        for option, lowest in (
            ("num_speakers", 1),
            ("utterances_per_class", 1),
            ("seed", 0),
            ("rater_count", 0),
            ("expressivity", 0),
            ("speaker_variation", 0),
        ):
            if not getattr(self, option) >= lowest:
                raise CorpusError(f"Synthetic: {option}={getattr(self, option)}, expected at least {lowest}.")
        for option in ("rater_disagreement", "label_noise", "speaker_emotion_confounding"):
            if not 0 <= getattr(self, option) <= 1:
                raise CorpusError(f"Synthetic: {option}={getattr(self, option)}, expected a value from 0 to 1.")
        if self.noise_snr_db is not None and not -20 <= self.noise_snr_db <= 100:
            raise CorpusError(f"Synthetic: noise_snr_db={self.noise_snr_db}, expected -20 to 100 dB, or null for none.")

    @property
    def classes(self) -> tuple[str, ...]:
        """Class order as given to the constructor."""
        return self._classes

    @property
    def expected(self) -> Expected:
        """Counts that these settings give; those per class only without label noise."""
        counts = self._counts()
        return Expected(
            utterances=sum(sum(count.values()) for count in counts),
            speakers={script.speaker_name(speaker): sum(count.values()) for speaker, count in enumerate(counts)},
            classes={} if self.label_noise else {c: sum(count[c] for count in counts) for c in self._classes},
        )

    @property
    def default_root(self) -> Path:
        """Folder of renderings below the cache folder."""
        return cache_root() / "synthetic"

    @property
    def folder(self) -> str:
        """Name of the rendering of these settings; raters, label noise and the like do not change the audio."""
        text = json.dumps(self._rendered_settings(), sort_keys=True)
        return f"synthetic-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def _rendered_settings(self) -> dict[str, object]:
        names = ("num_speakers", "utterances_per_class", "seed", "speaker_emotion_confounding")
        exact = {name: getattr(self, name) for name in names}
        reals = {name: float(getattr(self, name)) for name in ("expressivity", "speaker_variation")}
        noise = None if self.noise_snr_db is None else float(self.noise_snr_db)
        return {"version": _VERSION, "classes": self._classes, "noise_snr_db": noise, **exact, **reals}

    def read(self, root: Path) -> Listing:
        """All rows, speaker by speaker; renders the audio under ``root`` when it is not there yet.

        Args:
            root: a writable folder, made when absent.

        Raises:
            CorpusError: the folder cannot be written.
        """
        lines = self._script()
        self._render(root, lines)
        return Listing([self._row(line) for line in lines], self._notes)

    def programmed(self, root: Path) -> pd.DataFrame:
        """Programmed properties of the utterances: a row for each, indexed by id, in the order of ``utterances``.

        Columns: speaker, sex, emotion (before label noise), strength, expressed valence, arousal and dominance, path
        below the rendering, and every value of ``synthesiser.AcousticTarget`` with its unit in the name.

        Raises:
            CorpusError: the folder cannot be written.
        """
        import pandas as pd

        from ser_toolkit.corpora.synthesis.rendering import PARAMETERS

        self._render(root, self._script())
        return pd.read_csv(Path(root) / self.folder / PARAMETERS, index_col="id")

    def _notes(self, rows: Sequence[Utterance]) -> list[str]:
        """Sentences on synthetic speech, and on the labels that were falsified."""
        notes = [
            "This is synthetic speech from a signal model: the results say nothing about real emotion recognition."
        ]
        falsified = sum(row.label != row.raw_label for row in rows)
        if falsified:
            notes.append(f"{falsified} of {len(rows)} labels were replaced at random (label_noise={self.label_noise}).")
        if self.speaker_emotion_confounding:
            notes.append(f"Speakers prefer classes (speaker_emotion_confounding={self.speaker_emotion_confounding}).")
        return notes

    def _script(self) -> list[script.Line]:
        return script.write(
            counts=self._counts(),
            seed=self.seed,
            expressivity=float(self.expressivity),
            variation=float(self.speaker_variation),
        )

    def _counts(self) -> list[dict[str, int]]:
        return script.class_counts(
            self.num_speakers, self._classes, self.utterances_per_class, self.speaker_emotion_confounding
        )

    def _render(self, root: Path, lines: Sequence[script.Line]) -> None:
        # scipy and soundfile are imported only when speech is asked for: listing corpora must stay quick.
        from ser_toolkit.corpora.synthesis.rendering import render

        items = [self._item(line) for line in lines]
        render(Path(root) / self.folder, items, self._rendered_settings(), self.noise_snr_db)

    def _item(self, line: script.Line) -> Item:
        from ser_toolkit.corpora.synthesis.rendering import Item
        from ser_toolkit.corpora.synthesis.synthesiser import AcousticTarget

        valence, arousal, dominance = line.expression.dimensions.round(4).tolist()
        facts = {
            "id": line.id,
            "speaker": line.speaker_name,
            "sex": line.speaker.sex,
            "emotion": line.emotion,
            "strength": round(line.expression.strength, 4),
            "valence": valence,
            "arousal": arousal,
            "dominance": dominance,
        }
        target = AcousticTarget(syllables=line.syllables, **voices.acoustics(line.speaker, line.expression))
        chance = voices.entropy(self.seed, f"speech {line.emotion}", line.number, line.take)
        return Item(line.path, target, chance, facts)

    def _row(self, line: script.Line) -> Utterance:
        ratings = voices.rate_utterance(
            line.emotion,
            line.expression,
            self._classes,
            self.rater_count,
            self.rater_disagreement,
            voices.stream(self.seed, f"raters {line.emotion}", line.number, line.take),
        )
        valence, arousal, dominance = voices.mean_dimensions(ratings, line.expression)
        votes = Counter(label for rating in ratings for label in rating.labels)
        session = f"ses{line.number // 2 + 1:02d}"
        return Utterance(
            id=line.id,
            path=f"{self.folder}/{line.path}",
            speaker=line.speaker_name,
            sex=line.speaker.sex,
            session=session,
            dialogue=f"{session}_take{line.take + 1:02d}",
            turn=f"{line.speaker_name}_{line.turn + 1:02d}",
            sentence=line.sentence,
            transcript=" ".join(line.syllables),
            style="acted",
            label=self._label(line),
            raw_label=line.emotion,
            votes={emotion: float(votes[emotion]) for emotion in self._classes if votes[emotion]} if ratings else None,
            ratings=ratings,
            valence=valence,
            arousal=arousal,
            dominance=dominance,
        )

    def _label(self, line: script.Line) -> str:
        rng = voices.stream(self.seed, f"label {line.emotion}", line.number, line.take)
        falsified = rng.random() < self.label_noise
        others = [emotion for emotion in self._classes if emotion != line.emotion]
        return str(rng.choice(others)) if falsified else line.emotion
