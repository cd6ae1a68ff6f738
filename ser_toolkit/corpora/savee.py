"""SAVEE, Surrey Audio-Visual Expressed Emotion: four British men speak TIMIT sentences in seven emotions.

The label is the acted emotion in the file name. Source: ``Info.txt`` of the release (speakers DC, JE, JK, KL; the first
letters are the emotion, the digits the sentence: ``d03.wav`` is the third disgust sentence; 15 sentences an emotion, 30
neutral). Not used: the videos, the face markers and the phonetic transcriptions.

Layout: ``AudioData/DC/a01.wav``, or ``DC_a01.wav`` as in copies that are passed on.
"""

from __future__ import annotations

import re

from ser_toolkit.corpora.base import Expected, Utterance
from ser_toolkit.corpora.layouts.named_files import NamedFiles

_EMOTIONS = {
    "a": "angry",
    "d": "disgusted",
    "f": "fearful",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprised",
}
_SPEAKERS = ("DC", "JE", "JK", "KL")
_SENTENCES = {label: 30 if label == "neutral" else 15 for label in _EMOTIONS.values()}


class SAVEE(NamedFiles):
    """Surrey Audio-Visual Expressed Emotion: English, acted, 480 utterances of 4 men in 7 classes."""

    name = "SAVEE"
    licence = "by registration at the University of Surrey, for research"
    citation = (
        "S. Haq, P. J. B. Jackson. Speaker-dependent audio-visual emotion recognition. AVSP 2009, 53-58; S. Haq, "
        "P. J. B. Jackson. Multimodal emotion recognition. In W. Wang (ed.), Machine Audition, IGI Global 2010, 398-423"
    )
    homepage = "http://kahlan.eps.surrey.ac.uk/savee/"
    verified = "documentation only"
    label_rule = "the emotion asked of the actor, from the file name"
    default_protocol = "LeaveOneSpeakerOut"
    form = "DC/a01.wav or DC_a01.wav: speaker DC, JE, JK or KL, emotion a d f h n sa su, sentence 01-15 (neutral 01-30)"
    pattern = re.compile(r"(?:.*/)?(?P<speaker>DC|JE|JK|KL)[/_](?P<emotion>sa|su|[adfhn])(?P<number>\d\d)")

    @property
    def classes(self) -> tuple[str, ...]:
        """The seven acted emotions in alphabetical order."""
        return tuple(sorted(_EMOTIONS.values()))

    @property
    def expected(self) -> Expected:
        """Counts as documented; durations and rate are those that EmoBox lists."""
        classes = {label: 4 * count for label, count in _SENTENCES.items()}
        return Expected(
            480,
            dict.fromkeys(_SPEAKERS, 120),
            classes=classes,
            minutes=30.72,
            cells={(speaker, label): count for speaker in _SPEAKERS for label, count in _SENTENCES.items()},
            sampling_rates=(44100,),
            seconds=(1.631, 7.139),
            speaker_seconds={"DC": 465.3, "JE": 495.5, "JK": 482.1, "KL": 400.1},
        )

    def _row(self, found: re.Match[str], path: str) -> Utterance | None:
        label = _EMOTIONS[found["emotion"]]
        if not 1 <= int(found["number"]) <= _SENTENCES[label]:
            return None
        code = found["emotion"] + found["number"]
        return Utterance(
            id=f"{found['speaker']}_{code}",
            path=path,
            speaker=found["speaker"],
            sex="male",
            sentence=code,
            language="en",
            style="acted",
            label=label,
            raw_label=found["emotion"],
        )
