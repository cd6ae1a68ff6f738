"""EmoV-DB, the Emotional Voices Database: four English speakers read CMU Arctic sentences in five styles.

The label is the style asked of the speaker. Layout: the sorted edition (OpenSLR 115),
``bea_Amused/amused_1-15_0001.wav`` or ``bea/Amused/...``: speaker and style in the folder, then style, range of the
annotation file and, in the last four digits, the sentence. Letter case and separators differ between folders
(``Disgust_169_196_0183.wav``), and the rate: bea has 44.1 kHz, the others 16 kHz. josh has no angry and no disgusted
recordings.

The README of the release counts 7000 files of the unsorted edition; the sorted one has 6893.
"""

from __future__ import annotations

import re
from collections import Counter

from ser_toolkit.corpora.base import Expected, Utterance
from ser_toolkit.corpora.layouts.named_files import NamedFiles

_STYLES = {
    "amused": "amused",
    "anger": "angry",
    "angry": "angry",
    "disgust": "disgusted",
    "disgusted": "disgusted",
    "neutral": "neutral",
    "sleepiness": "sleepy",
    "sleepy": "sleepy",
}
_SEXES = {"bea": "female", "jenie": "female", "josh": "male", "sam": "male"}
_CLASSES = ("amused", "angry", "disgusted", "neutral", "sleepy")

# Files of the sorted edition by speaker, in the order of _CLASSES.
_COUNTS = {
    "bea": (296, 304, 333, 357, 497),
    "jenie": (222, 496, 189, 417, 466),
    "josh": (298, 0, 0, 302, 263),
    "sam": (501, 468, 497, 492, 495),
}


class EmoVDB(NamedFiles):
    """Emotional Voices Database, sorted edition: English, acted, 6893 utterances of 4 speakers in 5 styles."""

    name = "EmoV-DB"
    licence = "non-commercial, as its licence file says"
    citation = (
        "A. Adigwe, N. Tits, K. El Haddad, S. Ostadabbas, T. Dutoit. The emotional voices database: towards "
        "controlling the emotion dimension in voice generation systems. arXiv:1806.09514, 2018"
    )
    homepage = "https://openslr.org/115/"
    verified = "documentation only"
    label_rule = "the style asked of the speaker, from folder and file name"
    default_protocol = "LeaveOneSpeakerOut"
    form = "bea_Amused/amused_1-15_0001.wav: speaker bea jenie josh sam and style; style, range, sentence"
    pattern = re.compile(
        r"(?:.*/)?(?P<speaker>bea|jenie|josh|sam)[_/](?P<folder>amused|angry|disgusted|disgust|neutral|sleepy)/"
        r"(?P<style>[a-z]+)_(?P<range>\d+[-_]\d+)_(?P<sentence>\d{4})",
        re.IGNORECASE,
    )

    @property
    def classes(self) -> tuple[str, ...]:
        """The five styles in alphabetical order."""
        return _CLASSES

    @property
    def expected(self) -> Expected:
        """Counts of the sorted edition; minutes are the sum of the durations that EmoBox lists."""
        classes: Counter[str] = Counter()
        for counts in _COUNTS.values():
            classes.update(dict(zip(_CLASSES, counts, strict=True)))
        speakers = {speaker: sum(counts) for speaker, counts in _COUNTS.items()}
        cells = {
            (speaker, label): count
            for speaker, counts in _COUNTS.items()
            for label, count in zip(_CLASSES, counts, strict=True)
        }
        return Expected(
            sum(speakers.values()), speakers, classes=classes, minutes=569, cells=cells, sampling_rates=(16000, 44100)
        )

    def _row(self, found: re.Match[str], path: str) -> Utterance | None:
        speaker, label = found["speaker"].lower(), _STYLES[found["folder"].lower()]
        if _STYLES.get(found["style"].lower()) != label:
            return None
        return Utterance(
            id=f"{speaker}_{label}_{found['range'].replace('_', '-')}_{found['sentence']}",
            path=path,
            speaker=speaker,
            sex=_SEXES[speaker],
            sentence=found["sentence"],
            language="en",
            style="acted",
            label=label,
            raw_label=found["folder"],
        )

    def _contradiction(self, found: re.Match[str]) -> str:
        style = _STYLES.get(found["style"].lower())
        return f"folder {found['folder']}, but the name says {style}" if style else ""
