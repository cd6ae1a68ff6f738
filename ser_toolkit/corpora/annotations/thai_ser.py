"""Files of THAI-SER: names of recordings, the annotators' answers, and the actors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ser_toolkit.corpora.layouts.named_files import relative_audio
from ser_toolkit.errors import CorpusError, nearest
from ser_toolkit.terms import listed

#: Emotions in the order of their numbers in names of scripted recordings.
EMOTIONS = ("neutral", "angry", "happy", "sad", "frustrated")
#: Answers that name no emotion.
_NO_EMOTION = ("none", "other")
_FORM = "s001_con_actor001_impro1_1.flac or s001_con_actor001_script1_2_3a.flac"
_NAME = re.compile(
    r"(?P<kind>[sz])(?P<number>\d{3})_(?P<microphone>con|clip|middle|mic)_actor(?P<actor>\d{3})_"
    r"(?P<what>impro\d+|script[123])_(?P<rest>\d+|[12]_[1-5][ab])"
)
_SESSIONS = {"s": ("studio", 80), "z": ("zoom", 20)}
_PER_FOLD = 10  # eight folds of studio recordings, then two of Zoom


@dataclass(frozen=True)
class RecordingName:
    """The parts of a recording's file name.

    Args:
        kind: ``s`` studio or ``z`` Zoom.
        number: of the recording session, 1-80 or 1-20.
        microphone: ``con``, ``clip``, ``middle`` or, in Zoom recordings, ``mic``.
        actor: ``001`` to ``200``.
        what: ``impro7`` or ``script2``.
        rest: number of the utterance, or repetition, emotion and intensity.
    """

    kind: str
    number: int
    microphone: str
    actor: str
    what: str
    rest: str

    @classmethod
    def named(cls, file: str) -> RecordingName | None:
        """The recording of a file name with its suffix; None where it is not named like one."""
        found = _NAME.fullmatch(file.rpartition(".")[0])
        if found is None or found["what"].startswith("script") != ("_" in found["rest"]):
            return None
        number = int(found["number"])
        zoom = found["kind"] == "z"
        if not 1 <= number <= _SESSIONS[found["kind"]][1] or zoom != (found["microphone"] == "mic"):
            return None
        return cls(found["kind"], number, found["microphone"], found["actor"], found["what"], found["rest"])

    @property
    def is_zoom(self) -> bool:
        """Whether the session was recorded over Zoom; otherwise in a studio."""
        return self.kind == "z"

    def at(self, microphone: str) -> RecordingName:
        """The same speech at another microphone."""
        return replace(self, microphone=microphone)

    @property
    def as_labelled(self) -> RecordingName:
        """The recording of the same speech that the label file names."""
        return self if self.is_zoom else self.at("con")

    @property
    def file(self) -> str:
        """Name of the file in the release."""
        return f"{self.kind}{self.number:03d}_{self.microphone}_actor{self.actor}_{self.what}_{self.rest}.flac"

    @property
    def utterance(self) -> str:
        """The name without its microphone: the same for all recordings of an utterance."""
        return f"{self.kind}{self.number:03d}_actor{self.actor}_{self.what}_{self.rest}"

    @property
    def session(self) -> str:
        """Name of the session's folder in the release, such as ``studio001``."""
        return f"{_SESSIONS[self.kind][0]}{self.number:03d}"

    @property
    def fold(self) -> str:
        """Ten sessions each in the authors' numbering: 0-7 studio, 8 and 9 Zoom."""
        return str((self.number - 1) // _PER_FOLD + (8 if self.is_zoom else 0))

    @property
    def sentence(self) -> str | None:
        """Number of the sentence, for scripted speech."""
        return self.what.removeprefix("script") if self.what.startswith("script") else None

    @property
    def dialogue(self) -> str | None:
        """The improvised scene, which both actors of the session play."""
        return None if self.sentence else f"{self.session}_{self.what}"

    @property
    def turn(self) -> str:
        """Actor, and number of the utterance in the recording."""
        return f"actor{self.actor}_{self.rest}"


@dataclass(frozen=True)
class Annotation:
    """An entry of the label file on one utterance.

    Args:
        assigned: emotion asked of the actor.
        answers: the emotions that each annotator named, lowercase; ``none`` and ``other`` are no emotions.
    """

    assigned: str
    answers: tuple[tuple[str, ...], ...]


def recordings(root: Path) -> dict[RecordingName, str]:
    """Path of each recording, relative to the root; of copies the upper one.

    Raises:
        CorpusError: there is no audio, or a file of another name.
    """
    found: dict[RecordingName, str] = {}
    strange = []
    for path in relative_audio(root, "THAI-SER", _FORM, (".flac", ".wav")):
        recording = RecordingName.named(path.rpartition("/")[2])
        if recording is None:
            strange.append(path)
        else:
            found.setdefault(recording, path)
    if strange:
        raise CorpusError(
            f"THAI-SER: {listed(strange)} under {root} {'is' if len(strange) == 1 else 'are'} not named like a "
            f"recording of it (expected {_FORM}). Move what belongs to no or another corpus out of the folder."
        )
    return found


def read_annotations(file: Path) -> dict[RecordingName, Annotation]:
    """Entries of ``emotion_label.json`` by recording.

    Raises:
        CorpusError: the file is no such JSON, or a name, emotion or answer in it is unknown.
    """
    found: dict[RecordingName, Annotation] = {}
    entries = _json(file)
    if not isinstance(entries, dict) or not entries:
        raise CorpusError(f"THAI-SER: {file} holds no labels. Expected the names of recordings with a list each.")
    for name, entry in entries.items():
        recording = RecordingName.named(name)
        if recording is None:
            raise CorpusError(f"THAI-SER: {file} has an entry for {name!r}. Expected names such as {_FORM}.")
        try:
            assigned, answers = entry[0]["assigned_emo"], entry[0]["annotated"]
            words = [[str(word).strip().lower() for word in answer] for answer in answers]
        except (KeyError, IndexError, TypeError):
            raise CorpusError(
                f"THAI-SER: {file} has no assigned_emo and annotated for {name}. Expected a list with one dictionary, "
                'such as [{"assigned_emo": "Neutral", "annotated": [["Neutral"], ["Angry", "Sad"]]}].'
            ) from None
        assigned = str(assigned).strip().lower()
        _check(file, name, [assigned], EMOTIONS)
        _check(file, name, [word for answer in words for word in answer], (*EMOTIONS, *_NO_EMOTION))
        found[recording] = Annotation(assigned, tuple(tuple(answer) for answer in words))
    return found


def _check(file: Path, name: str, words: Sequence[str], known: Sequence[str]) -> None:
    strange = next((word for word in words if word not in known), None)
    if strange is not None:
        raise CorpusError(f"THAI-SER: {file} gives {name} the emotion {strange!r}. {nearest(strange, known)}")


def read_sexes(file: Path) -> Mapping[str, str]:
    """Sex by actor, ``001`` to ``200``; empty where there is no such file.

    Raises:
        CorpusError: the file is no such JSON.
    """
    if not file.is_file():
        return {}
    entries = _json(file)
    try:
        return {str(actor["Actor's ID"]): str(actor["Sex"]).lower() for actor in entries["data"]}
    except (KeyError, TypeError):
        raise CorpusError(
            f'THAI-SER: {file} does not list actors. Expected {{"data": [{{"Actor\'s ID": "001", "Sex": "Male"}}]}}.'
        ) from None


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise CorpusError(f"THAI-SER: {file} is no JSON: {error}. Get it again from the release.") from error
