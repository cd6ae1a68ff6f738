"""TurEV-DB, Turkish Emotion-Voice Database: six speakers say 82 single words in four emotions.

The label is the acted emotion, in folder and file name. Layout: ``Sound Source/Calm/1984_sk_eger.wav``: speaker,
emotion (hl hüzünlü, kz kızgın, mt mutlu, sk sakin), word; 44.1 kHz. The repository also holds filtered copies of single
files (``Model Output for Test Data``): they lie deeper, and are not read. The listening test is not used.
"""

from __future__ import annotations

import re

from ser_toolkit.corpora.base import Expected, Utterance
from ser_toolkit.corpora.layouts.named_files import NamedFiles

_EMOTIONS = {"hl": "sad", "kz": "angry", "mt": "happy", "sk": "calm"}
_FOLDERS = {"angry": "kz", "calm": "sk", "happy": "mt", "sad": "hl"}


class TurEVDB(NamedFiles):
    """Turkish Emotion-Voice Database: Turkish, acted, 1735 single words of 6 speakers in 4 classes."""

    name = "TurEV-DB"
    licence = "CC BY-NC-ND 4.0"
    citation = (
        "S. F. Canpolat, Z. Ormanoglu, D. Zeyrek. Turkish emotion voice database (TurEV-DB). SLTU-CCURL 2020, 368-375"
    )
    homepage = "https://github.com/Xeonen/TurEV-DB"
    verified = "real metadata"
    label_rule = "the emotion asked of the speaker, from folder and file name"
    default_protocol = "LeaveOneSpeakerOut"
    form = "Calm/1984_sk_eger.wav: emotion folder; speaker, emotion hl kz mt sk, word"
    pattern = re.compile(
        r"(?:.*/)?(?P<folder>Angry|Calm|Happy|Sad)/(?P<speaker>\d{4})_(?P<emotion>hl|kz|mt|sk)_(?P<word>\w+)",
        re.IGNORECASE,
    )

    @property
    def classes(self) -> tuple[str, ...]:
        """The four emotions in alphabetical order."""
        return tuple(sorted(_EMOTIONS.values()))

    @property
    def expected(self) -> Expected:
        """Counts of the authors' repository; durations and rate are those that EmoBox lists."""
        speakers = {"1157": 150, "1234": 328, "1358": 328, "1984": 328, "6783": 328, "7895": 273}
        return Expected(
            1735,
            speakers,
            classes={"angry": 487, "calm": 408, "happy": 357, "sad": 483},
            minutes=27.77,
            sampling_rates=(44100,),
            seconds=(0.354, 2.470),
            speaker_seconds=dict(zip(speakers, (144.9, 292.8, 317.4, 331.0, 315.6, 264.7), strict=True)),
        )

    def _row(self, found: re.Match[str], path: str) -> Utterance | None:
        emotion = found["emotion"].lower()
        if _FOLDERS[found["folder"].lower()] != emotion:
            return None
        return Utterance(
            id=f"{found['speaker']}_{emotion}_{found['word']}",
            path=path,
            speaker=found["speaker"],
            sentence=found["word"].rstrip("0123456789"),
            language="tr",
            style="acted",
            label=_EMOTIONS[emotion],
            raw_label=emotion,
        )

    def _contradiction(self, found: re.Match[str]) -> str:
        return f"folder {found['folder']}, but {found['emotion']} is {_EMOTIONS[found['emotion'].lower()]}"
