"""EmoDB, the Berlin Database of Emotional Speech: ten actors, ten German sentences, seven emotions.

The label is the acted emotion in the file name. The 535 published utterances were chosen so that at least 80 % of 20
listeners recognised them and 60 % found them natural. ``erkennung.txt`` gives these two percentages; it is not read,
because a percentage of correct answers does not tell *which* other classes were heard, and is therefore no vote.
"""

from __future__ import annotations

import re

from ser_toolkit.corpora.base import Expected, Utterance
from ser_toolkit.corpora.layouts.named_files import NamedFiles

_EMOTIONS = {
    "W": "angry",  # Wut
    "L": "bored",  # Langeweile
    "E": "disgusted",  # Ekel
    "A": "fearful",  # Angst
    "F": "happy",  # Freude
    "T": "sad",  # Trauer
    "N": "neutral",
}
_SEXES = {
    **dict.fromkeys(("03", "10", "11", "12", "15"), "male"),
    **dict.fromkeys(("08", "09", "13", "14", "16"), "female"),
}
_SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
# Utterances by speaker, in the order of _EMOTIONS, and seconds, counted from the published files.
_CELLS = {
    "03": (14, 5, 1, 4, 7, 7, 11), "08": (12, 10, 0, 6, 11, 9, 10), "09": (13, 4, 8, 1, 4, 4, 9),
    "10": (10, 8, 1, 8, 4, 3, 4), "11": (11, 8, 2, 10, 8, 7, 9), "12": (12, 5, 2, 6, 2, 4, 4),
    "13": (12, 10, 8, 7, 10, 5, 9), "14": (16, 8, 8, 12, 8, 10, 7), "15": (13, 9, 5, 8, 6, 4, 11),
    "16": (14, 14, 11, 7, 11, 9, 5),
}  # fmt: skip
_SECONDS = {
    "03": 129.6, "08": 177.8, "09": 117.5, "10": 91.5, "11": 159.0, "12": 100.3, "13": 160.5, "14": 193.9,
    "15": 139.9, "16": 217.0,
}  # fmt: skip
_EXPECTED = Expected(
    utterances=535,
    speakers={
        "03": 49, "08": 58, "09": 43, "10": 38, "11": 55, "12": 35, "13": 61, "14": 69, "15": 56, "16": 71,
    },
    classes={"angry": 127, "bored": 81, "disgusted": 46, "fearful": 69, "happy": 71, "neutral": 79, "sad": 62},
    minutes=24.8,
    cells={
        (speaker, label): count
        for speaker, counts in _CELLS.items()
        for label, count in zip(_EMOTIONS.values(), counts, strict=True)
    },
    sampling_rates=(16000,),
    seconds=(1.226, 8.978),
    speaker_seconds=_SECONDS,
)  # fmt: skip


class EmoDB(NamedFiles):
    """Berlin Database of Emotional Speech: German, acted, 535 utterances of 10 speakers in 7 classes."""

    name = "EmoDB"
    licence = "freely available for research"
    citation = (
        "F. Burkhardt, A. Paeschke, M. Rolfes, W. F. Sendlmeier, B. Weiss. "
        "A database of German emotional speech. Interspeech 2005, 1517-1520. doi:10.21437/Interspeech.2005-446"
    )
    homepage = "http://emodb.bilderbar.info"
    verified = "real audio"
    label_rule = "the acted emotion, from the file name"
    default_protocol = "LeaveOneSpeakerOut"
    form = (
        f"03a01Fa.wav: speaker ({' '.join(sorted(_SEXES))}), sentence ({' '.join(_SENTENCES)}), emotion letter (one of "
        "W L E A F T N), version letter"
    )
    # The emotion letter is the first of the German word.
    pattern = re.compile(r"(?:.*/)?(?P<name>(?P<speaker>\d\d)(?P<sentence>[ab]\d\d)(?P<emotion>[WLEAFTN])[a-z])")

    @property
    def classes(self) -> tuple[str, ...]:
        """The seven acted emotions in alphabetical order."""
        return tuple(sorted(_EMOTIONS.values()))

    @property
    def expected(self) -> Expected:
        """Counts and duration of the published 535 utterances."""
        return _EXPECTED

    def _row(self, found: re.Match[str], path: str) -> Utterance | None:
        if found["speaker"] not in _SEXES or found["sentence"] not in _SENTENCES:
            return None
        return Utterance(
            id=found["name"],
            path=path,
            speaker=found["speaker"],
            sex=_SEXES[found["speaker"]],
            sentence=found["sentence"],
            transcript=_SENTENCES[found["sentence"]],
            language="de",
            style="acted",
            label=_EMOTIONS[found["emotion"]],
            raw_label=found["emotion"],
        )
