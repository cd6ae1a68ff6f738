"""ESD, Emotional Speech Dataset: ten Mandarin and ten English speakers, 350 parallel utterances in five emotions.

The label is the acted emotion. Layout: ``0001/Angry/0001_000351.wav``, 16 kHz; speakers 0001-0010 speak Mandarin,
0011-0020 English. Each speaker's recordings are numbered through: 1-350 neutral, then angry, happy, sad and surprise,
350 of each, in the order of the same 350 texts; so the number tells emotion and text. A folder that says another
emotion is an error. ``0001/0001.txt`` gives number, text and emotion (in several encodings); it is not read. Nor are
the sub-folders train, test and evaluation that some copies have: they share all speakers.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from ser_toolkit.corpora.base import Expected, Listing, Utterance
from ser_toolkit.corpora.layouts.named_files import NamedFiles
from ser_toolkit.errors import RecipeError, nearest

Language = Literal["both", "en", "zh"]

_ORDER = ("neutral", "angry", "happy", "sad", "surprised")
_FOLDERS = {"neutral": "neutral", "angry": "angry", "happy": "happy", "sad": "sad", "surprise": "surprised"}
_TEXTS = 350
_MINUTES = {"zh": 939.49, "en": 804.78}

# Five folds of four speakers each, as EmoBox (Ma et al. 2024) tests them.
_FOLDS = ("05 11 16 18", "12 14 15 19", "03 04 06 09", "07 08 13 20", "01 02 10 17")
_FOLD_OF = {f"00{speaker}": str(fold) for fold, speakers in enumerate(_FOLDS, 1) for speaker in speakers.split()}


class ESD(NamedFiles):
    """Emotional Speech Dataset: Mandarin and English, acted, 35000 utterances of 20 speakers in 5 classes.

    Args:
        language: ``en`` or ``zh`` alone (17500 utterances of 10 speakers), or ``both``.
    """

    name = "ESD"
    licence = "by licence agreement with the National University of Singapore, for research"
    citation = (
        "K. Zhou, B. Sisman, R. Liu, H. Li. Emotional voice conversion: theory, databases and ESD. Speech "
        "Communication 137, 1-18, 2022. doi:10.1016/j.specom.2021.11.006"
    )
    homepage = "https://github.com/HLTSingapore/Emotional-Speech-Data"
    verified = "documentation only"
    label_rule = "the emotion asked of the speaker, from the number of the recording"
    default_protocol = "OfficialFolds"
    form = "0001/Angry/0001_000351.wav: speaker 0001-0020, emotion folder, number 000001-001750"
    pattern = re.compile(
        r"(?:.*/)?(?P<folder>Neutral|Angry|Happy|Sad|Surprise)/(?:(?:train|test|evaluation)/)?"
        r"(?P<speaker>00[012]\d)_(?P<number>\d{6})",
        re.IGNORECASE,
    )

    def __init__(self, language: Language = "both") -> None:
        if language not in ("both", "en", "zh"):
            raise RecipeError(f"ESD: language {language!r} is unknown. {nearest(language, ('both', 'en', 'zh'))}")
        self.language = language

    @property
    def classes(self) -> tuple[str, ...]:
        """The five acted emotions in alphabetical order."""
        return tuple(sorted(_ORDER))

    @property
    def expected(self) -> Expected:
        """350 texts in five emotions by each speaker; durations and rate are those that EmoBox lists."""
        speakers = {speaker: 5 * _TEXTS for speaker in sorted(_FOLD_OF) if self._wanted(speaker)}
        classes = dict.fromkeys(_ORDER, _TEXTS * len(speakers))
        spoken = _MINUTES if self.language == "both" else {self.language: _MINUTES[self.language]}
        return Expected(
            sum(speakers.values()),
            speakers,
            classes=classes,
            minutes=sum(spoken.values()),
            cells={(speaker, label): _TEXTS for speaker in speakers for label in _ORDER},
            sampling_rates=(16000,),
            seconds=(1.139, 8.080) if self.language == "both" else None,
            versions={"one of its two languages: give language=en or zh": 17500} if self.language == "both" else {},
        )

    def read(self, root: Path) -> Listing:
        """The recordings in the wanted language; see ``NamedFiles.read``."""
        return Listing([row for row in super().read(root).rows if self._wanted(row.speaker or "")])

    def _wanted(self, speaker: str) -> bool:
        return self.language in ("both", _language(speaker))

    def _row(self, found: re.Match[str], path: str) -> Utterance | None:
        speaker, number = found["speaker"], int(found["number"])
        if speaker not in _FOLD_OF or not 1 <= number <= 5 * _TEXTS:
            return None
        label = _ORDER[(number - 1) // _TEXTS]
        if _FOLDERS[found["folder"].lower()] != label:
            return None
        return Utterance(
            id=f"{speaker}_{found['number']}",
            path=path,
            speaker=speaker,
            sentence=f"{_language(speaker)}{(number - 1) % _TEXTS + 1:03d}",
            language=_language(speaker),
            style="acted",
            label=label,
            raw_label=found["folder"],
            fold=_FOLD_OF[speaker],
        )

    def _contradiction(self, found: re.Match[str]) -> str:
        speaker, number = found["speaker"], int(found["number"])
        if speaker not in _FOLD_OF or not 1 <= number <= 5 * _TEXTS:
            return ""
        return f"folder {found['folder']}, but number {number} is {_ORDER[(number - 1) // _TEXTS]}"


def _language(speaker: str) -> str:
    return "zh" if speaker <= "0010" else "en"
