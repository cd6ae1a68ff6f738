"""ASED, Amharic Speech Emotion Dataset: sixty-five volunteers read short sentences in five emotions.

The label is the emotion in the file name, on which five or more of eight judges agreed (their single answers are not
published).
Layout: ``01Neutral/n1-04-01-02-33.wav``: letter and number of the emotion, sentence, repetition, sex (01 female, 02
male), speaker; 16 kHz. Names are mostly in lower case (``S4-04-02-01-29.wav`` is not).

Five files carry the other sex than all others of their speaker: the speaker's sex is that of the majority. Each emotion
has sentences of its own beside two common ones, so that the words alone may tell the emotion.
"""

from __future__ import annotations

import re

from ser_toolkit.corpora.base import Expected, Utterance
from ser_toolkit.corpora.layouts.named_files import NamedFiles

_EMOTIONS = {"n": ("1", "neutral"), "f": ("2", "fearful"), "h": ("3", "happy"), "s": ("4", "sad"), "a": ("5", "angry")}
_FEMALE = "01 03 05 07 09 11 13 15 17 19 21 23 25 27 29 31 33 35 37 43 47 48 49 58 62"

# Files by speaker, counted from the names that EmoBox lists.
_COUNTS = {
    70: "01 04 06 13 39 41 50", 66: "05 10 25 26 27 28 29 30", 58: "11 21", 54: "20 31",
    50: "23 45 48 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65", 20: "02 03 32", 18: "47", 16: "09 14 18 19 38",
    12: "07 12 15 17 24 33 36 37", 8: "08 16 22 35 42 43 44 46", 6: "49", 4: "34 40",
}  # fmt: skip
_SPEAKERS = {speaker: count for count, speakers in _COUNTS.items() for speaker in speakers.split()}


class ASED(NamedFiles):
    """Amharic Speech Emotion Dataset, version 1: Amharic, acted, 2474 utterances of 65 speakers in 5 classes."""

    name = "ASED"
    licence = "not stated in its documentation; freely available for download"
    citation = (
        "E. A. Retta, E. Almekhlafi, R. Sutcliffe, M. Mhamed, H. Ali, J. Feng. A new Amharic speech emotion dataset "
        "and classification benchmark. ACM Trans. Asian and Low-Resource Language Information Processing 22(1), 2023. "
        "doi:10.1145/3529759"
    )
    homepage = "https://github.com/Ethio2021/ASED_V1"
    verified = "documentation only"
    label_rule = "the emotion on which five or more of eight judges agreed, from the file name"
    default_protocol = "GroupedKFold"
    form = "n1-04-01-02-33.wav: emotion n1 f2 h3 s4 a5, sentence 01-07, repetition 01-02, sex 01-02, speaker 01-65"
    pattern = re.compile(
        r"(?:.*/)?(?P<emotion>[nfhsa])(?P<digit>[1-5])-(?P<sentence>0[1-7])-(?P<take>0[12])-(?P<sex>0[12])-(?P<speaker>\d\d)",
        re.IGNORECASE,
    )

    @property
    def classes(self) -> tuple[str, ...]:
        """The five emotions in alphabetical order."""
        return tuple(sorted(label for _, label in _EMOTIONS.values()))

    @property
    def expected(self) -> Expected:
        """Counts, rate and durations of the files that EmoBox lists."""
        classes = {"angry": 486, "fearful": 510, "happy": 486, "neutral": 522, "sad": 470}
        return Expected(2474, _SPEAKERS, classes=classes, minutes=126.3, sampling_rates=(16000,), seconds=(2.0, 3.9))

    def _row(self, found: re.Match[str], path: str) -> Utterance | None:
        letter, speaker = found["emotion"].lower(), found["speaker"]
        digit, label = _EMOTIONS[letter]
        if digit != found["digit"] or speaker not in _SPEAKERS:
            return None
        return Utterance(
            id=f"{letter}{digit}-{found['sentence']}-{found['take']}-{found['sex']}-{speaker}",
            path=path,
            speaker=speaker,
            sex="female" if speaker in _FEMALE.split() else "male",
            sentence=f"{letter}{found['sentence']}",
            language="am",
            style="acted",
            label=label,
            raw_label=letter,
        )

    def _contradiction(self, found: re.Match[str]) -> str:
        digit, label = _EMOTIONS[found["emotion"].lower()]
        if digit == found["digit"]:
            return ""
        return f"letter {found['emotion']} is {label}, which is number {digit}, not {found['digit']}"
