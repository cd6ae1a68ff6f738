"""SUBESCO, SUST Bangla Emotional Speech Corpus: twenty actors, ten sentences, seven emotions, five takes.

The label is the acted emotion in the file name. Layout: one folder of files such as ``F_02_MONIKA_S_1_NEUTRAL_5.wav``:
sex, number and name of the speaker, sentence, emotion, take; 44.1 and 48 kHz are mixed. In some copies a name has a
stray bracket (``F_02_MONIKA_S_2_SURPRISE_3].wav``). The listening test is published apart from the recordings.
"""

from __future__ import annotations

import re

from ser_toolkit.corpora.base import Expected, Utterance
from ser_toolkit.corpora.layouts.named_files import NamedFiles

_EMOTIONS = {
    "ANGRY": "angry",
    "DISGUST": "disgusted",
    "FEAR": "fearful",
    "HAPPY": "happy",
    "NEUTRAL": "neutral",
    "SAD": "sad",
    "SURPRISE": "surprised",
}
_SPEAKERS = tuple(f"{sex}_{number:02d}" for sex in "FM" for number in range(1, 11))

# Five folds of four speakers each, as EmoBox (Ma et al. 2024) tests them.
_FOLDS = (
    "F_03 M_03 M_08 M_09",
    "F_01 F_04 F_10 M_07",
    "F_06 F_08 M_05 M_06",
    "F_05 F_07 F_09 M_04",
    "F_02 M_01 M_02 M_10",
)
_FOLD_OF = {speaker: str(fold) for fold, speakers in enumerate(_FOLDS, start=1) for speaker in speakers.split()}


class SUBESCO(NamedFiles):
    """SUST Bangla Emotional Speech Corpus: Bangla, acted, 7000 utterances of 20 speakers in 7 classes."""

    name = "SUBESCO"
    licence = "CC BY 4.0"
    citation = (
        "S. Sultana, M. S. Rahman, M. R. Selim, M. Z. Iqbal. SUST Bangla Emotional Speech Corpus (SUBESCO): an "
        "audio-only emotional speech corpus for Bangla. PLoS ONE 16(4), e0250173, 2021. "
        "doi:10.1371/journal.pone.0250173"
    )
    homepage = "https://zenodo.org/records/4526477"
    verified = "documentation only"
    label_rule = "the emotion asked of the actor, from the file name"
    default_protocol = "OfficialFolds"
    form = "F_02_MONIKA_S_1_NEUTRAL_5.wav: sex, speaker 01-10 and name, sentence 1-10, one of seven emotions, take 1-5"
    pattern = re.compile(
        r"(?:.*/)?(?P<speaker>[FM]_\d\d)_(?P<name>[A-Z]+)_S_(?P<sentence>\d+)_(?P<emotion>[A-Z]+)_(?P<take>[1-5])\]?",
        re.IGNORECASE,
    )

    @property
    def classes(self) -> tuple[str, ...]:
        """The seven acted emotions in alphabetical order."""
        return tuple(sorted(_EMOTIONS.values()))

    @property
    def expected(self) -> Expected:
        """Ten sentences, seven emotions and five takes by each speaker; durations are those that EmoBox lists.

        The paper says 7 hours 40 minutes 40 seconds, two per cent less.
        """
        return Expected(
            7000,
            dict.fromkeys(_SPEAKERS, 350),
            classes=dict.fromkeys(_EMOTIONS.values(), 1000),
            minutes=469.9,
            cells={(speaker, label): 50 for speaker in _SPEAKERS for label in _EMOTIONS.values()},
            sampling_rates=(44100, 48000),
            seconds=(2.752, 6.026),
        )

    def _row(self, found: re.Match[str], path: str) -> Utterance | None:
        speaker, emotion, sentence = found["speaker"].upper(), found["emotion"].upper(), int(found["sentence"])
        if speaker not in _FOLD_OF or emotion not in _EMOTIONS or not 1 <= sentence <= 10:
            return None
        return Utterance(
            id=f"{speaker}_{found['name'].upper()}_S_{sentence}_{emotion}_{found['take']}",
            path=path,
            speaker=speaker,
            sex="female" if speaker[0] == "F" else "male",
            sentence=str(sentence),
            language="bn",
            style="acted",
            label=_EMOTIONS[emotion],
            raw_label=emotion,
            fold=_FOLD_OF[speaker],
        )
