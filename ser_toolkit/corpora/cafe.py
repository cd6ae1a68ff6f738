"""CaFE, Canadian French Emotional speech: twelve actors, six sentences, six emotions in two intensities, and neutral.

The label is the acted emotion in the file name. Layout: ``Colère/Fort/01-C-2-1.wav``: actor, emotion letter, intensity
(1 mild, 2 strong; neutral has 1 alone), sentence; odd actors are men, even ones women. The folders are not read: where
the archive was unpacked in another encoding their accents are wrong (``ColŠre``).
"""

from __future__ import annotations

import re

from ser_toolkit.corpora.base import Expected, Utterance
from ser_toolkit.corpora.layouts.named_files import NamedFiles

_EMOTIONS = {
    "C": "angry",  # colère
    "D": "disgusted",
    "J": "happy",  # joie
    "N": "neutral",
    "P": "fearful",  # peur
    "S": "surprised",
    "T": "sad",  # tristesse
}
_SENTENCES = {
    "1": "Un cheval fou dans mon jardin",
    "2": "Deux ânes aigris au pelage brun",
    "3": "Trois cygnes aveugles au bord du lac",
    "4": "Quatre vieilles truies éléphantesques",
    "5": "Cinq pumas fiers et passionnés",
    "6": "Six ours aimants domestiqués",
}
_ACTORS = tuple(f"{number:02d}" for number in range(1, 13))

# Three folds of four actors each, as EmoBox (Ma et al. 2024) tests them.
_FOLDS = ("01 07 08 10", "02 04 09 12", "03 05 06 11")
_FOLD_OF = {actor: str(fold) for fold, actors in enumerate(_FOLDS, start=1) for actor in actors.split()}
#: By actor, as EmoBox lists them.
_SECONDS = (346.7, 382.3, 273.2, 370.3, 361.6, 333.9, 278.4, 301.0, 322.3, 402.7, 380.1, 404.9)


class CaFE(NamedFiles):
    """Canadian French Emotional speech dataset: French, acted, 936 utterances of 12 speakers in 7 classes."""

    name = "CaFE"
    licence = "CC BY-NC-SA 4.0"
    citation = (
        "P. Gournay, O. Lahaie, R. Lefebvre. A Canadian French emotional speech dataset. ACM Multimedia Systems 2018, "
        "399-402. doi:10.1145/3204949.3208121"
    )
    homepage = "https://zenodo.org/records/1478765"
    verified = "documentation only"
    label_rule = "the emotion asked of the actor, from the file name"
    default_protocol = "OfficialFolds"
    form = "01-C-2-1.wav: actor 01-12, emotion C D J N P S T, intensity 1 or 2 (neutral 1), sentence 1-6"
    pattern = re.compile(
        r"(?:.*/)?(?P<actor>\d\d)-(?P<emotion>[CDJNPST])-(?P<intensity>[12])-(?P<sentence>[1-6])", re.IGNORECASE
    )
    suffixes = (".wav", ".aiff", ".aif")

    @property
    def classes(self) -> tuple[str, ...]:
        """The seven acted emotions in alphabetical order."""
        return tuple(sorted(_EMOTIONS.values()))

    @property
    def expected(self) -> Expected:
        """Six sentences by each actor; durations are those that EmoBox lists of the edition at 48 kHz."""
        classes = {label: 72 if label == "neutral" else 144 for label in _EMOTIONS.values()}
        return Expected(
            936,
            dict.fromkeys(_ACTORS, 78),
            classes=classes,
            minutes=69.29,
            cells={(actor, label): count // 12 for actor in _ACTORS for label, count in classes.items()},
            sampling_rates=(48000, 192000),
            seconds=(2.557, 7.745),
            speaker_seconds=dict(zip(_ACTORS, _SECONDS, strict=True)),
        )

    def _row(self, found: re.Match[str], path: str) -> Utterance | None:
        actor, emotion, intensity = found["actor"], found["emotion"].upper(), found["intensity"]
        if actor not in _FOLD_OF or (emotion, intensity) == ("N", "2"):
            return None
        return Utterance(
            id=f"{actor}-{emotion}-{intensity}-{found['sentence']}",
            path=path,
            speaker=actor,
            sex="male" if int(actor) % 2 else "female",
            sentence=found["sentence"],
            transcript=_SENTENCES[found["sentence"]],
            language="fr",
            style="acted",
            label=_EMOTIONS[emotion],
            raw_label=f"{emotion}-{intensity}",
            fold=_FOLD_OF[actor],
        )
