"""EMOVO: six Italian actors speak fourteen sentences (some of them nonsense) in seven emotions.

The label is the acted emotion in the file name. Layout: one folder a speaker with files such as ``f1/dis-f1-b1.wav``
(emotion, speaker, sentence), 48 kHz. The listening test that came with the corpus is not part of it.
"""

from __future__ import annotations

import re

from ser_toolkit.corpora.base import Expected, Utterance
from ser_toolkit.corpora.layouts.named_files import NamedFiles

_EMOTIONS = {
    "dis": "disgusted",
    "gio": "happy",  # gioia
    "neu": "neutral",
    "pau": "fearful",  # paura
    "rab": "angry",  # rabbia
    "sor": "surprised",
    "tri": "sad",
}
_SPEAKERS = ("f1", "f2", "f3", "m1", "m2", "m3")
_SENTENCES = {
    "b1": "Gli operai si alzano presto.",
    "b2": "I vigili sono muniti di pistola.",
    "b3": "La cascata fa molto rumore.",
    "d1": "Sabato sera cosa farà?",
    "d2": "Porti con te quella cosa?",
    "l1": "L'autunno prossimo Tony partirà per la Spagna: nella prima metà di ottobre.",
    "l2": "Ora prendo la felpa di là ed esco per fare una passeggiata.",
    "l3": "Un attimo dopo s'è incamminato... ed è inciampato.",
    "l4": "Vorrei il numero telefonico del Signor Piatti.",
    "n1": "La casa forte vuole col pane.",
    "n2": "La forza trova il passo e l'aglio rosso.",
    "n3": "Il gatto sta scorrendo nella pera.",
    "n4": "Insalata pastasciutta coscia d'agnello limoncello.",
    "n5": "Uno quarantatré dieci mille cinquantasette venti.",
}


class EMOVO(NamedFiles):
    """EMOVO Corpus: Italian, acted, 588 utterances of 6 speakers in 7 classes."""

    name = "EMOVO"
    licence = "not stated in its documentation; used for research"
    citation = (
        "G. Costantini, I. Iaderola, A. Paoloni, M. Todisco. EMOVO corpus: an Italian emotional speech database. "
        "LREC 2014, 3501-3504"
    )
    homepage = "http://voice.fub.it/activities/corpora/emovo/index.html"
    verified = "documentation only"
    label_rule = "the emotion asked of the actor, from the file name"
    default_protocol = "LeaveOneSpeakerOut"
    form = "dis-f1-b1.wav: emotion dis gio neu pau rab sor tri, speaker f1-f3 m1-m3, sentence b1-b3 d1-d2 l1-l4 n1-n5"
    pattern = re.compile(
        r"(?:.*/)?(?P<emotion>dis|gio|neu|pau|rab|sor|tri)-(?P<speaker>[fm][123])-(?P<sentence>[bdln]\d)\s*",
        re.IGNORECASE,
    )

    @property
    def classes(self) -> tuple[str, ...]:
        """The seven acted emotions in alphabetical order; gioia (joy) is called happy."""
        return tuple(sorted(_EMOTIONS.values()))

    @property
    def expected(self) -> Expected:
        """Fourteen sentences in seven emotions by six speakers; durations and rate are those that EmoBox lists."""
        return Expected(
            588,
            dict.fromkeys(_SPEAKERS, 98),
            classes=dict.fromkeys(_EMOTIONS.values(), 84),
            minutes=30.59,
            cells={(speaker, label): 14 for speaker in _SPEAKERS for label in _EMOTIONS.values()},
            sampling_rates=(48000,),
            seconds=(1.291, 13.995),
            speaker_seconds=dict(zip(_SPEAKERS, (314.1, 272.4, 309.7, 336.4, 309.9, 292.7), strict=True)),
        )

    def _row(self, found: re.Match[str], path: str) -> Utterance | None:
        emotion, speaker, sentence = (found[part].lower() for part in ("emotion", "speaker", "sentence"))
        if sentence not in _SENTENCES:
            return None
        return Utterance(
            id=f"{emotion}-{speaker}-{sentence}",
            path=path,
            speaker=speaker,
            sex="female" if speaker[0] == "f" else "male",
            sentence=sentence,
            transcript=_SENTENCES[sentence],
            language="it",
            style="acted",
            label=_EMOTIONS[emotion],
            raw_label=emotion,
        )
