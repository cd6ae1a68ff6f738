"""ShEMO, Sharif Emotional Speech Database: Persian utterances from radio plays in six emotions.

The label is the majority of twelve annotators, whose single answers are not published; it stands in the file name.
Layout: what ``female.zip`` and ``male.zip`` unpack to, ``female/F03S02.wav``: sex, speaker, emotion, number of the
utterance of this speaker and emotion (README of the release). The transcripts are not used.

A corrected edition ("ShEMO modification") drops or relabels utterances and has 2838; it is named as incomplete here.
"""

from __future__ import annotations

import re

from ser_toolkit.corpora.base import Expected, Utterance
from ser_toolkit.corpora.layouts.named_files import NamedFiles

_EMOTIONS = {"A": "angry", "F": "fearful", "H": "happy", "N": "neutral", "S": "sad", "W": "surprised"}

# Utterances of F01, F02, ... and M01, M02, ...: counted from the published list of file names.
_FEMALE = "73 34 53 18 68 27 143 2 51 64 15 28 28 12 8 7 16 4 43 29 174 38 44 160 11 10 5 40 12 34 12"
_MALE = (
    "4 53 89 107 53 16 17 16 26 4 16 180 5 7 18 49 13 19 17 23 26 45 5 18 120 61 66 103 26 16 20 14 3 24 3 11 21 16 5 "
    "62 21 14 35 44 7 17 50 18 6 15 26 7 57 5 11 7"
)
_EXPECTED = Expected(
    utterances=3000,
    speakers={
        f"{sex}{number:02d}": int(count)
        for sex, counts in (("F", _FEMALE), ("M", _MALE))
        for number, count in enumerate(counts.split(), start=1)
    },
    classes={"angry": 1059, "fearful": 38, "happy": 201, "neutral": 1028, "sad": 449, "surprised": 225},
    minutes=205,
    sampling_rates=(44100, 22050),
)


class ShEMO(NamedFiles):
    """Sharif Emotional Speech Database: Persian, radio plays, 3000 utterances of 87 speakers in 6 classes."""

    name = "ShEMO"
    licence = "free for academic purposes"
    citation = (
        "O. Mohamad Nezami, P. Jamshid Lou, M. Karami. ShEMO: a large-scale validated database for Persian speech "
        "emotion detection. Language Resources and Evaluation 53, 1-16, 2019. doi:10.1007/s10579-018-9427-x"
    )
    homepage = "https://github.com/mansourehk/ShEMO"
    verified = "documentation only"
    label_rule = "the majority of twelve annotators, from the file name"
    default_protocol = "GroupedKFold"
    form = "F03S02.wav: sex F or M, speaker 01-31 or 01-56, emotion A F H N S W, number"
    pattern = re.compile(r"(?:.*/)?(?P<speaker>[FM]\d\d)(?P<emotion>[AFHNSW])(?P<number>\d+)", re.IGNORECASE)

    @property
    def classes(self) -> tuple[str, ...]:
        """The six emotions in alphabetical order."""
        return tuple(sorted(_EMOTIONS.values()))

    @property
    def expected(self) -> Expected:
        """Counts of the 3000 published utterances, 3 hours and 25 minutes."""
        return _EXPECTED

    def _row(self, found: re.Match[str], path: str) -> Utterance | None:
        speaker, emotion = found["speaker"].upper(), found["emotion"].upper()
        if speaker not in _EXPECTED.speakers:
            return None
        return Utterance(
            id=f"{speaker}{emotion}{found['number']}",
            path=path,
            speaker=speaker,
            sex="female" if speaker[0] == "F" else "male",
            language="fa",
            style="acted",
            label=_EMOTIONS[emotion],
            raw_label=emotion,
        )
