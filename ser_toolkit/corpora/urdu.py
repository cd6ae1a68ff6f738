"""URDU: utterances from Urdu talk shows in four emotions.

The label is the emotion that annotators chose, in the file name. Layout (README of the release): a folder an emotion
with files such as ``Angry/SM1_F10_A010.wav``: sex and number of the speaker, number of the file of this speaker, letter
of the emotion and number of the file in it. The README speaks of 38 speakers; the file names have 29.

Most speakers are heard in one emotion alone: every table with speaker-normalised figures says what that means.
"""

from __future__ import annotations

import re

from ser_toolkit.corpora.base import Expected, Utterance
from ser_toolkit.corpora.layouts.named_files import NamedFiles

_EMOTIONS = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"}
_FOLDERS = {"angry": "A", "happy": "H", "neutral": "N", "sad": "S"}

# Files a speaker, counted from the names in the authors' repository.
_FEMALE = "12 2 2 4 4 14 6 2 4 2 4"
_MALE = {
    1: 22, 2: 28, 3: 12, 4: 48, 5: 80, 6: 14, 7: 28, 17: 2, 18: 2, 19: 2, 20: 10, 21: 4, 22: 2, 23: 6, 24: 38, 25: 40,
    26: 2, 27: 4,
}  # fmt: skip
_EXPECTED = Expected(
    utterances=400,
    speakers={
        **{f"SF{number}": int(count) for number, count in enumerate(_FEMALE.split(), start=1)},
        **{f"SM{number}": count for number, count in _MALE.items()},
    },
    classes=dict.fromkeys(_EMOTIONS.values(), 100),
    minutes=16.64,
    sampling_rates=(44100,),
    seconds=(0.992, 3.004),
)


class URDU(NamedFiles):
    """URDU dataset: Urdu, natural, 400 utterances of talk shows in 4 classes."""

    name = "URDU"
    licence = "for research"
    citation = (
        "S. Latif, A. Qayyum, M. Usman, J. Qadir. Cross lingual speech emotion recognition: Urdu vs. Western "
        "languages. FIT 2018, 88-93. doi:10.1109/FIT.2018.00023"
    )
    homepage = "https://github.com/siddiquelatif/URDU-Dataset"
    verified = "real audio"
    label_rule = "the annotators' emotion, from the file name"
    default_protocol = "GroupedKFold"
    form = "Angry/SM1_F10_A010.wav: speaker SM or SF with a number, file of the speaker, emotion A H N S with a number"
    pattern = re.compile(
        r"(?:.*/)?(?P<folder>Angry|Happy|Neutral|Sad)/(?P<speaker>S[MF]\d+)_F(?P<file>\d+)_(?P<emotion>[AHNS])\d+",
        re.IGNORECASE,
    )

    @property
    def classes(self) -> tuple[str, ...]:
        """The four emotions in alphabetical order."""
        return tuple(sorted(_EMOTIONS.values()))

    @property
    def expected(self) -> Expected:
        """100 files an emotion; durations and rate are those that EmoBox lists."""
        return _EXPECTED

    def _row(self, found: re.Match[str], path: str) -> Utterance | None:
        speaker, emotion = found["speaker"].upper(), found["emotion"].upper()
        if _FOLDERS[found["folder"].lower()] != emotion:
            return None
        return Utterance(
            id=path.rpartition("/")[2].rpartition(".")[0],
            path=path,
            speaker=speaker,
            sex="male" if speaker[1] == "M" else "female",
            language="ur",
            style="natural",
            label=_EMOTIONS[emotion],
            raw_label=emotion,
        )

    def _contradiction(self, found: re.Match[str]) -> str:
        return f"folder {found['folder']}, but {found['emotion']} is {_EMOTIONS[found['emotion'].upper()]}"
