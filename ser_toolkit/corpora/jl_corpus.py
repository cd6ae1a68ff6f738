"""JL corpus: four New Zealand speakers, fifteen sentences with balanced long vowels, ten emotions.

The label is the acted emotion in the file name. Layout: ``Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/`` with
files such as ``female1_angry_10a_1.wav``: speaker, emotion, sentence and session letter, repetition. The text files
beside them and the perception test are not used.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from ser_toolkit.corpora.base import Expected, Listing, Utterance
from ser_toolkit.corpora.layouts.named_files import NamedFiles
from ser_toolkit.errors import RecipeError, nearest

ClassSet = Literal["all", "primary", "secondary"]

_SETS = {
    "primary": ("angry", "excited", "happy", "neutral", "sad"),
    "secondary": ("anxious", "apologetic", "assertive", "concerned", "encouraging"),
}
_SPEAKERS = ("female1", "female2", "male1", "male2")
#: Fifteen sentences, two sessions, two repetitions.
_TAKES = 60


class JLCorpus(NamedFiles):
    """JL corpus: New Zealand English, acted, 2400 utterances of 4 speakers in 5 primary and 5 secondary emotions.

    Args:
        class_set: ``all`` ten emotions, the five ``primary`` or the five ``secondary`` ones.
    """

    name = "JL-Corpus"
    licence = "CC0 1.0"
    citation = (
        "J. James, L. Tian, C. I. Watson. An open source emotional speech corpus for human robot interaction "
        "applications. Interspeech 2018, 2768-2772. doi:10.21437/Interspeech.2018-1349"
    )
    homepage = "https://github.com/tli725/JL-Corpus"
    verified = "documentation only"
    label_rule = "the emotion asked of the actor, from the file name"
    default_protocol = "LeaveOneSpeakerOut"
    form = "female1_angry_10a_1.wav: speaker, one of ten emotions, sentence 1-15 and session a or b, repetition 1 or 2"
    pattern = re.compile(
        r"(?:.*/)?(?P<speaker>(?:fe)?male[12])_(?P<emotion>[a-z]+)_(?P<sentence>\d+)(?P<session>[ab])_(?P<take>[12])",
        re.IGNORECASE,
    )

    def __init__(self, class_set: ClassSet = "all") -> None:
        if class_set not in ("all", *_SETS):
            raise RecipeError(f"JL-Corpus: class set {class_set!r} is unknown. {nearest(class_set, ('all', *_SETS))}")
        self.class_set = class_set

    @property
    def classes(self) -> tuple[str, ...]:
        """The emotions of the class set in alphabetical order."""
        return _SETS.get(self.class_set) or tuple(sorted(_SETS["primary"] + _SETS["secondary"]))

    @property
    def expected(self) -> Expected:
        """240 utterances an emotion; durations are those that EmoBox lists of the whole."""
        speakers = dict.fromkeys(_SPEAKERS, _TAKES * len(self.classes))
        classes = dict.fromkeys(self.classes, _TAKES * len(_SPEAKERS))
        whole = self.class_set == "all"
        return Expected(
            sum(speakers.values()),
            speakers,
            classes=classes,
            minutes=84.7 if whole else None,
            cells={(speaker, label): _TAKES for speaker in _SPEAKERS for label in self.classes},
            sampling_rates=(44100,),
            seconds=(1.2, 3.75) if whole else None,
            speaker_seconds=dict(zip(_SPEAKERS, (1401.1, 1200.5, 1240.3, 1241.2), strict=True)) if whole else {},
        )

    def read(self, root: Path) -> Listing:
        """The recordings of the class set; see ``NamedFiles.read``."""
        return Listing([row for row in super().read(root).rows if row.label in self.classes])

    def _row(self, found: re.Match[str], path: str) -> Utterance | None:
        speaker, emotion, session = (found[part].lower() for part in ("speaker", "emotion", "session"))
        if emotion not in _SETS["primary"] + _SETS["secondary"] or not 1 <= int(found["sentence"]) <= 15:
            return None
        return Utterance(
            id=f"{speaker}_{emotion}_{found['sentence']}{session}_{found['take']}",
            path=path,
            speaker=speaker,
            sex=speaker[:-1],
            sentence=found["sentence"],
            language="en",
            style="acted",
            label=emotion,
            raw_label=emotion,
        )
