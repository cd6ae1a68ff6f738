"""THAI-SER: pairs of Thai actors read three sentences and improvise fifteen scenes, rated by a crowd.

The label is the emotion that at least 71 % of an utterance's annotators heard (the authors' rule and threshold in
github.com/vistec-AI/vistec-ser, ``thaiser.py``); the emotion asked of the actor is an option. Layout (README of the
release, ``README_TH-1.md``; the archives unpack in one way or the other, folders are not read)::

    emotion_label.json       {"s001_con_actor001_impro1_1.flac": [{"assigned_emo": "Neutral", "majority_emo": "Angry",
                             "annotated": [["Angry"], ["Angry", "Frustrated"]], "agreement": 0.75}]}
    actor_demography.json    {"data": [{"Actor's ID": "001", "Sex": "Male", "Age": 30}]}
    studio1-10/studio001/con/s001_con_actor001_script1_2_3a.flac        or studio001/con/...
    zoom1-10/zoom001/mic/z001_mic_actor..._impro15_4.flac

A name says: recording s001-s080 (studio) or z001-z020 (Zoom), microphone, actor, and the sentence, repetition, emotion
(1 neutral, 2 angry, 3 happy, 4 sad, 5 frustrated) and intensity (a, b), or the scene and the number of the utterance.
Studios have three microphones, of which ``con`` (a condenser, half a metre away) alone is in the label file; ``clip``
(on the shirt) and ``middle`` (between the actors) are other recordings of the same speech and share its label. Zoom has
one, ``mic``. Each recording session has two actors of its own.

An annotator may name several emotions: each counts 1/k. None and Other count as other, and not at all beside an
emotion. Annotators are not named: ``annotator 1`` is the first in the list, not one person. ``raw_label`` keeps the
emotion asked of the actor. ``majority_emo``, ``agreement`` and ages are not used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from ser_toolkit.corpora.annotations.thai_ser import (
    EMOTIONS,
    Annotation,
    RecordingName,
    read_annotations,
    read_sexes,
    recordings,
)
from ser_toolkit.corpora.base import Corpus, Expected, Listing, Rating, Utterance, require_directory
from ser_toolkit.errors import CorpusError, RecipeError, nearest
from ser_toolkit.terms import listed

Microphone = Literal["con", "clip", "middle"]
Labels = Literal["perceived", "assigned"]

_MICROPHONES = ("con", "clip", "middle")
_LABELS = ("perceived", "assigned")
_OTHER = "other"
_ROUNDING = 1e-9
# Sentences that the actors read (README of the release).
_SENTENCES = {
    "1": "พรุ่งนี้มันวันหยุดราชการนะรู้รึยัง หยุดยาวด้วย",
    "2": "อ่านหนังสือพิมพ์วันนี้รึยัง รู้ไหมเรื่องนั้นกลายเป็นข่าวใหญ่ไปแล้ว",
    "3": "ก่อนหน้านี้ก็ยังเห็นทำตัวปกติดี ใครจะไปรู้หล่ะ ว่าเค้าคิดแบบนั้น",
}


class THAISER(Corpus):
    """THAI-SER: Thai, read and improvised, 27854 utterances of 200 actors in 100 recordings, five classes.

    Args:
        microphone: of the studio recordings: ``con`` is the labelled one; of ``clip`` and ``middle`` a part is missing.
        labels: ``perceived`` by the annotators, or ``assigned`` to the actor.
        agreement: share of the annotators, above 0 to 1, that a perceived label needs; the authors take 0.71.
            Utterances below it, and ties, stay without a label, for rules that use votes.
        zoom: whether to read the twenty Zoom recordings.
    """

    name = "THAI-SER"
    licence = "CC BY-SA 4.0"
    citation = (
        "J. Wongpithayadisai, C. Chaksangchaichot, S. Sangnark, P. Prakrankamanant, K. Gangwanpongpun, "
        "S. Boonpunmongkol, P. Milindasuta, D. Na-Pombejra, S. Nutanong, E. Chuangsuwanich. THAI Speech Emotion "
        "Recognition (THAI-SER) corpus. arXiv:2507.09618, 2025"
    )
    homepage = "https://github.com/vistec-AI/dataset-releases/releases/tag/v1"
    verified = "documentation only"
    label_rule = "the emotion that at least 71 % of the annotators heard; labels=assigned: the one asked of the actor"
    default_protocol = "OfficialFolds"

    def __init__(
        self,
        microphone: Microphone = "con",
        labels: Labels = "perceived",
        agreement: float = 0.71,
        zoom: bool = True,
    ) -> None:
        for option, value, known in (("microphone", microphone, _MICROPHONES), ("labels", labels, _LABELS)):
            if value not in known:
                raise RecipeError(f"THAI-SER: {option} {value!r} is unknown. {nearest(value, known)}")
        if not 0 < agreement <= 1:
            raise RecipeError(f"THAI-SER: agreement is {agreement}. Expected a share above 0, at most 1.")
        self.microphone = microphone
        self.labels = labels
        self.agreement = agreement
        self.zoom = zoom

    @property
    def classes(self) -> tuple[str, ...]:
        """The five emotions in alphabetical order."""
        return tuple(sorted(EMOTIONS))

    @property
    def expected(self) -> Expected:
        """27854 utterances in 41 h 36 min (Wongpithayadisai et al. 2025); parts of them are not published."""
        return Expected(27854, minutes=2496) if self.zoom and self.microphone == "con" else Expected()

    def read(self, root: Path) -> Listing:
        """The labelled utterances by name. Sessions of which nothing is there are left out; notes name them.

        Raises:
            CorpusError: the label file or all audio is missing, a name or answer in it is unknown, or labelled
                recordings are missing in a session that is there.
        """
        require_directory(root, "emotion_label.json", corpus=self.name)
        annotations = read_annotations(root / "emotion_label.json")
        paths = recordings(root)
        sexes = read_sexes(root / "actor_demography.json")
        here = {recording.session for recording in paths}
        rows, silent, without, elsewhere = [], [], 0, Counter[str]()
        for labelled, annotation in annotations.items():
            if labelled.is_zoom and not self.zoom:
                continue
            recording = labelled if labelled.is_zoom else labelled.at(self.microphone)
            if recording in paths:
                rows.append(self._row(recording, paths[recording], annotation, sexes))
            elif recording.session not in here:
                elsewhere[recording.session] += 1
            elif recording == labelled:
                silent.append(recording.file)
            else:
                without += 1
        if silent:
            raise CorpusError(
                f"{self.name}: {len(silent)} recordings of {root / 'emotion_label.json'} are missing in sessions that "
                f"are there: {listed(sorted(silent))}. Unpack the archives of the release again."
            )
        if not rows:
            raise CorpusError(
                f"{self.name}: {root} has no labelled recording of the microphone {self.microphone}. Unpack the "
                "archives studio1-10.zip ... zoom11-20.zip there."
            )
        nameless = sum(self._reads(one) and one.as_labelled not in annotations for one in paths)
        notes = self._notes(rows, without, elsewhere, nameless)
        return Listing(sorted(rows, key=lambda row: row.id), lambda _: notes)

    def _reads(self, recording: RecordingName) -> bool:
        """Whether the options ask for recordings of this kind and microphone."""
        return self.zoom if recording.is_zoom else recording.microphone == self.microphone

    def _row(self, recording: RecordingName, path: str, annotation: Annotation, sexes: Mapping[str, str]) -> Utterance:
        votes = _votes(annotation.answers)
        label = annotation.assigned if self.labels == "assigned" else self._perceived(votes)
        return Utterance(
            id=recording.utterance,
            path=path,
            speaker=recording.actor,
            sex=sexes.get(recording.actor),
            session=recording.session,
            dialogue=recording.dialogue,
            turn=recording.turn,
            sentence=recording.sentence,
            transcript=_SENTENCES.get(recording.sentence or ""),
            language="th",
            style="scripted" if recording.sentence else "improvised",
            label=label,
            raw_label=annotation.assigned,
            votes=votes or None,
            ratings=tuple(
                Rating(f"annotator {number}", _counted(words))
                for number, words in enumerate(annotation.answers, start=1)
            ),
            fold=recording.fold,
        )

    def _perceived(self, votes: Mapping[str, float]) -> str | None:
        """The emotion with most votes, where it has enough of them and no other has as many."""
        most = max((votes.get(emotion, 0.0) for emotion in EMOTIONS), default=0.0)
        best = [emotion for emotion in EMOTIONS if votes.get(emotion, 0.0) > most - _ROUNDING]
        enough = most >= self.agreement * sum(votes.values()) - _ROUNDING
        return best[0] if most > 0 and enough and len(best) == 1 else None

    def _notes(
        self,
        rows: Sequence[Utterance],
        without: int,
        elsewhere: Mapping[str, int],
        nameless: int,
    ) -> list[str]:
        notes = []
        disputed = sum(row.label is None for row in rows)
        if disputed:
            notes.append(
                f"{disputed} of {len(rows)} utterances have no emotion that {self.agreement:.0%} of their annotators "
                "heard, and no label."
            )
        if without:
            notes.append(f"{without} labelled utterances have no recording of the microphone {self.microphone}.")
        if elsewhere:
            notes.append(
                f"{sum(elsewhere.values())} labelled utterances are of {len(elsewhere)} sessions that are not there: "
                f"{listed(sorted(elsewhere))}."
            )
        if nameless:
            notes.append(f"{nameless} recordings have no entry in the label file and are left out.")
        return notes


def _counted(words: Sequence[str]) -> tuple[str, ...]:
    """Emotions that an annotator's answer counts for: those named, or other where there is none."""
    return tuple(word for word in words if word in EMOTIONS) or (_OTHER,)


def _votes(answers: Sequence[Sequence[str]]) -> dict[str, float]:
    votes: Counter[str] = Counter()
    for words in map(_counted, answers):
        for word in words:
            votes[word] += 1 / len(words)  # type: ignore[assignment]
    return {word: float(count) for word, count in sorted(votes.items())}
