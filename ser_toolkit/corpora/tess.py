"""TESS, Toronto Emotional Speech Set: two women say "Say the word ..." with 200 words in seven emotions.

The label is the acted emotion in the file name. Layout of the release: folders such as ``OAF_Pleasant_surprise`` and
``YAF_pleasant_surprised`` (letter case and spelling differ between the two speakers) with files such as
``OAF_back_ps.wav``; the folders are not read. One file lacks a letter (``OA_bite_neutral.wav``) and one is sampled at
96 kHz among 24.414 kHz (``OAF_food_fear.wav``, as EmoBox lists it). Copies that hold the set twice, one folder within
the other, are read once.
"""

from __future__ import annotations

import re

from ser_toolkit.corpora.base import Expected, Utterance
from ser_toolkit.corpora.layouts.named_files import NamedFiles

_EMOTIONS = {
    "angry": "angry",
    "disgust": "disgusted",
    "fear": "fearful",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprised",
    "sad": "sad",
}


class TESS(NamedFiles):
    """Toronto Emotional Speech Set: English, acted, 2800 utterances of 2 women in 7 classes."""

    name = "TESS"
    licence = "CC BY-NC-ND 4.0"
    citation = (
        "M. K. Pichora-Fuller, K. Dupuis. Toronto emotional speech set (TESS). Scholars Portal Dataverse, 2020. "
        "doi:10.5683/SP2/E8H2MF"
    )
    homepage = "https://doi.org/10.5683/SP2/E8H2MF"
    verified = "documentation only"
    label_rule = "the emotion asked of the actor, from the file name"
    default_protocol = "LeaveOneSpeakerOut"
    form = "OAF_back_angry.wav: speaker OAF or YAF, word, emotion angry disgust fear happy neutral ps sad"
    pattern = re.compile(
        r"(?:.*/)?(?P<speaker>OAF|OA|YAF)_(?P<word>[a-z]+)_(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)",
        re.IGNORECASE,
    )

    @property
    def classes(self) -> tuple[str, ...]:
        """The seven acted emotions in alphabetical order; pleasant surprise is called surprised."""
        return tuple(sorted(_EMOTIONS.values()))

    @property
    def expected(self) -> Expected:
        """200 words in seven emotions by two speakers; durations and rates are those that EmoBox lists."""
        classes = dict.fromkeys(_EMOTIONS.values(), 400)
        return Expected(
            2800,
            {"OAF": 1400, "YAF": 1400},
            classes=classes,
            minutes=95.9,
            cells={(speaker, label): 200 for speaker in ("OAF", "YAF") for label in classes},
            sampling_rates=(24414, 96000),
            seconds=(1.254, 2.985),
            speaker_seconds={"OAF": 2827.8, "YAF": 2926.6},
        )

    def _row(self, found: re.Match[str], path: str) -> Utterance:
        speaker = {"OA": "OAF"}.get(found["speaker"].upper(), found["speaker"].upper())
        word, emotion = found["word"].lower(), found["emotion"].lower()
        return Utterance(
            id=f"{speaker}_{word}_{emotion}",
            path=path,
            speaker=speaker,
            sex="female",
            sentence=word,
            transcript=f"Say the word {word}",
            language="en",
            style="acted",
            label=_EMOTIONS[emotion],
            raw_label=emotion,
        )
