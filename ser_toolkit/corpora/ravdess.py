"""RAVDESS, its audio alone: 24 actors speak and sing two English statements with up to eight emotions, two intensities.

The label is the emotion that the actor was asked for, from the file name. Not used: the videos, and the listeners'
ratings, which are published apart from the recordings.

Layout: what ``Audio_Speech_Actors_01-24.zip`` and ``Audio_Song_Actors_01-24.zip`` unpack to, ``Actor_01`` ...
``Actor_24`` with files such as ``03-01-06-01-02-01-12.wav``. The actors' folders may lie in the root, or one level down
(one folder for each archive), or both; the same file name in two places is one recording, and the upper copy is read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from ser_toolkit.corpora.base import Corpus, Expected, Listing, Utterance, other_formats, visible_files
from ser_toolkit.corpora.layouts.unlisted_files import unlisted_files
from ser_toolkit.errors import CorpusError, RecipeError, nearest
from ser_toolkit.terms import counted

Channel = Literal["speech", "song", "both"]
Calm = Literal["keep", "neutral", "drop"]
Folds = Literal["emobox", "pepino2021", "peft_ser"]

_EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgusted",
    "08": "surprised",
}
_CHANNELS = {"01": "speech", "02": "song"}
_ONLY_SPOKEN = ("disgusted", "surprised")
_STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
_ACTORS = tuple(f"{number:02d}" for number in range(1, 25))
_WITHOUT_SONG = "18"
_NEUTRAL, _STRONG = "01", "02"

_FILE_NAME = re.compile(
    r"03-(?P<channel>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])-(?P<statement>0[12])-(?P<repetition>0[12])"
    r"-(?P<actor>\d\d)"
)
_FORM = (
    "03-01-06-01-02-01-12.wav: modality 03 (audio alone), channel 01 speech or 02 song, emotion 01-08 (in song 01-06), "
    "intensity 01 or 02 (neutral only 01), statement 01 or 02, repetition 01 or 02, actor 01-24"
)
#: Two statements, each repeated twice, in every emotion and intensity.
_TAKES = 4
_SPEECH_MINUTES = 88.8
#: By actor, as EmoBox lists them.
_SPEECH_SECONDS = (
    "225.0 227.3 225.4 217.8 224.1 227.1 225.0 223.6 209.3 224.9 206.3 225.2 199.7 220.8 210.0 223.8 220.2 225.0 232.3 "
    "223.6 235.4 223.3 216.8 237.2"
)

# Published lists of actors. Numbers are folds of a cross-validation; words are partitions of a single split.
_FOLDS: Mapping[str, Mapping[str, str]] = {
    "emobox": {
        "1": "01 11 20 21",
        "2": "04 10 12 14",
        "3": "08 09 19 23",
        "4": "03 05 07 24",
        "5": "02 15 16 18",
        "6": "06 13 17 22",
    },
    "pepino2021": {"train": " ".join(_ACTORS[:20]), "dev": "21 22", "test": "23 24"},
    "peft_ser": {str(k + 1): " ".join(_ACTORS[5 * k : 5 * k + 5]) for k in range(5)},
}


class RAVDESS(Corpus):
    """Ryerson Audio-Visual Database: English, acted, 1440 spoken and 1012 sung recordings of 24 actors in 8 classes.

    Args:
        channel: spoken recordings, sung ones, or both. Nobody sang disgusted or surprised, and actor 18 did not sing.
        calm: ``keep`` it apart, count it as ``neutral`` (7 classes, as Pepino et al. 2021 do), or ``drop`` it.
        folds: whose published lists of actors stand in the fold column, for ``OfficialFolds``. ``emobox``: six folds
            of four actors (Ma et al. 2024). ``pepino2021``: actors 1-20, 21-22 and 23-24. ``peft_ser``: five
            folds of successive actors (Feng and Narayanan 2023).
    """

    name = "RAVDESS"
    licence = "CC BY-NC-SA 4.0"
    citation = (
        "S. R. Livingstone, F. A. Russo. The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS): A "
        "dynamic, multimodal set of facial and vocal expressions in North American English. PLoS ONE 13(5), e0196391, "
        "2018. doi:10.1371/journal.pone.0196391"
    )
    homepage = "https://zenodo.org/records/1188976"
    verified = "documentation only"
    label_rule = "the emotion asked of the actor, from the file name"
    default_protocol = "OfficialFolds"
    file_name = _FILE_NAME

    def __init__(self, channel: Channel = "speech", calm: Calm = "keep", folds: Folds = "emobox") -> None:
        for option, value, known in (
            ("channel", channel, (*_CHANNELS.values(), "both")),
            ("calm", calm, ("keep", "neutral", "drop")),
            ("folds", folds, tuple(_FOLDS)),
        ):
            if value not in known:
                raise RecipeError(f"RAVDESS: {option} {value!r} is unknown. {nearest(value, known)}")
        self.channel = channel
        self.calm = calm
        self.folds = folds
        self._fold_of = {actor: fold for fold, actors in _FOLDS[folds].items() for actor in actors.split()}

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes under ``channel`` and ``calm`` in alphabetical order."""
        spoken = self.channel != "song"
        labels = {self._label(emotion) for emotion in _EMOTIONS.values() if spoken or emotion not in _ONLY_SPOKEN}
        return tuple(sorted(label for label in labels if label is not None))

    @property
    def expected(self) -> Expected:
        """Counts of the complete corpus under the options; minutes are known of the spoken part as a whole."""
        speakers: Counter[str] = Counter()
        classes: Counter[str] = Counter()
        cells: Counter[tuple[str, str]] = Counter()
        for actor, emotion in self._recorded():
            label = self._label(emotion)
            if label is not None:
                count = _TAKES * (1 if emotion == "neutral" else 2)
                speakers[actor] += count
                classes[label] += count
                cells[actor, label] += count
        spoken = self.channel == "speech" and self.calm != "drop"
        return Expected(
            utterances=speakers.total(),
            speakers=speakers,
            classes=classes,
            minutes=_SPEECH_MINUTES if spoken else None,
            cells=cells,
            sampling_rates=(48000,),
            seconds=(2.936, 5.272) if spoken else None,
            speaker_seconds=dict(zip(_ACTORS, map(float, _SPEECH_SECONDS.split()), strict=True)) if spoken else {},
        )

    def read(self, root: Path) -> Listing:
        """One row for each recording of the channel, by name.

        Raises:
            CorpusError: there is no ``Actor_XX`` folder, no recording of the channel in them, a file name of another
                form, or a file in another actor's folder.
        """
        folders = _actor_folders(root)
        rows: dict[str, Utterance] = {}
        strange: dict[str, str] = {}
        files = [file for folder in folders for file in visible_files(folder, ".wav")]
        for file in files:
            found = _FILE_NAME.fullmatch(file.stem)
            path = file.relative_to(root).as_posix()
            if found is None or not _exists(found):
                strange[path] = ""
            elif file.parent.name != f"Actor_{found['actor']}":
                strange[path] = f"it is by actor {found['actor']}"
            elif self.channel in (_CHANNELS[found["channel"]], "both"):
                rows.setdefault(file.stem, self._row(found, path))
        if strange:
            raise unlisted_files(type(self), root, strange, len(files), _FORM)
        if not files:
            raise CorpusError(
                f"{self.name}: no WAV file in {folders[0]}{_and_siblings(folders)}.{other_formats(root, '.wav')} "
                f"Expected files named like {_FORM}."
            )
        if not rows:
            raise CorpusError(
                f"{self.name}: none of the {len(files)} WAV files in {folders[0]}{_and_siblings(folders)} "
                f"is {'a recording' if self.channel == 'both' else self.channel}. Expected files named like {_FORM}. "
                "Choose with data.corpus.channel=speech, song or both."
            )
        return Listing([rows[name] for name in sorted(rows) if rows[name].label is not None])

    def _recorded(self) -> Iterator[tuple[str, str]]:
        """Actor and emotion of all that was recorded of the wanted channel."""
        for channel in _CHANNELS.values():
            if self.channel not in (channel, "both"):
                continue
            for actor in _ACTORS:
                for emotion in _EMOTIONS.values():
                    if channel == "speech" or (actor != _WITHOUT_SONG and emotion not in _ONLY_SPOKEN):
                        yield actor, emotion

    def _label(self, emotion: str) -> str | None:
        if emotion != "calm" or self.calm == "keep":
            return emotion
        return "neutral" if self.calm == "neutral" else None

    def _row(self, found: re.Match[str], path: str) -> Utterance:
        actor = found["actor"]
        return Utterance(
            id=found[0],
            path=path,
            speaker=actor,
            sex="male" if int(actor) % 2 else "female",
            sentence=found["statement"],
            transcript=_STATEMENTS[found["statement"]],
            language="en",
            style="acted",
            label=self._label(_EMOTIONS[found["emotion"]]),
            raw_label=f"{found['emotion']}-{found['intensity']}",
            fold=self._fold_of[actor],
        )


def _exists(found: re.Match[str]) -> bool:
    """Whether the corpus has such a recording: nobody is strongly neutral, and song has six emotions."""
    if found["actor"] not in _ACTORS or (found["emotion"] == _NEUTRAL and found["intensity"] == _STRONG):
        return False
    return _CHANNELS[found["channel"]] == "speech" or _EMOTIONS[found["emotion"]] not in _ONLY_SPOKEN


def _and_siblings(folders: list[Path]) -> str:
    return f" and {counted(len(folders) - 1, 'more folder')} of actors" if len(folders) > 1 else ""


def _actor_folders(root: Path) -> list[Path]:
    """The actors' folders of the root, then those one level down."""
    if not root.is_dir():
        raise CorpusError(f"RAVDESS: no folder at {root}. Give the corpus folder with data.root=PATH.")
    folders = [*sorted(root.glob("Actor_[0-9][0-9]")), *sorted(root.glob("*/Actor_[0-9][0-9]"))]
    folders = [folder for folder in folders if folder.is_dir()]
    if folders:
        return folders
    deeper = next(iter(sorted(root.glob("*/*/Actor_[0-9][0-9]"))), None)
    if deeper is not None:
        advice = f"They lie deeper: give data.root={deeper.parent.parent}."
    elif re.fullmatch(r"Actor_\d\d", root.name):
        advice = f"This is one actor's folder: give data.root={root.parent}."
    else:
        advice = "Unpack Audio_Speech_Actors_01-24.zip (and Audio_Song_Actors_01-24.zip) there."
    seen = ", ".join(sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))[:8]) or "nothing"
    raise CorpusError(
        f"RAVDESS: {root} has no folder Actor_01 ... Actor_24, nor one level down (found: {seen}). {advice}"
    )
