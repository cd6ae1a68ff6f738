"""MELD: utterances of the series Friends, in dialogues, with seven emotions.

The label is the majority of three annotators (their single answers are not published), in a CSV file for each of the
official partitions: columns Sr No., Utterance, Speaker, Emotion, Sentiment, Dialogue_ID, Utterance_ID, Season, Episode,
StartTime, EndTime. Sentiment and times are not used. Layout of ``MELD.Raw``, once its archives are unpacked::

    train/train_sent_emo.csv            train/train_splits/dia0_utt0.mp4
    dev_sent_emo.csv                    dev_splits_complete/dia0_utt0.mp4
    test_sent_emo.csv                   output_repeated_splits_test/dia0_utt0.mp4

Tables and folders may lie in the root or up to two levels down. Files of other names (``final_videos_testdia...``,
``._dia...``) belong to no utterance and are not read. The clips are videos with sound in up to six channels: extract
each as ``dia0_utt0.wav`` (or ``.flac``) beside it, or install ``ser-toolkit[video]`` to have the videos themselves read
where no such file is. Two rows have no usable video and are left out: train dia125_utt3 (damaged) and dev dia110_utt7
(missing).

The speaker is the character. The main six are heard in all partitions: the official split shares speakers.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from ser_toolkit.corpora.base import Corpus, Expected, Listing, Utterance
from ser_toolkit.errors import CorpusError, nearest
from ser_toolkit.terms import listed

_EMOTIONS = {
    "anger": "angry",
    "disgust": "disgusted",
    "fear": "fearful",
    "joy": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprise": "surprised",
}
_FOLDERS = {
    "train": ("train_splits", "train"),
    "dev": ("dev_splits_complete", "dev"),
    "test": ("output_repeated_splits_test", "test"),
}
_SEXES = {
    **dict.fromkeys(("Chandler", "Joey", "Ross"), "male"),
    **dict.fromkeys(("Monica", "Phoebe", "Rachel"), "female"),
}
_UNUSABLE = ("train_dia125_utt3", "dev_dia110_utt7")
_COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "Season", "Episode")
_AUDIO, _VIDEO = (".wav", ".flac"), (".mp4",)
_EXTRACT = 'for f in *.mp4; do ffmpeg -i "$f" -ac 1 -ar 16000 "${f%.mp4}.wav"; done'
_EXPECTED = Expected(
    utterances=13706,
    classes={
        "angry": 1607, "disgusted": 361, "fearful": 358, "happy": 2308, "neutral": 6434, "sad": 1002, "surprised": 1636,
    },
    minutes=728.5,
)  # fmt: skip


class MELD(Corpus):
    """Multimodal EmotionLines Dataset: English, a television series, 13706 utterances in 7 classes, official split."""

    name = "MELD"
    licence = "GPL-3.0 for the annotations; the recordings belong to the owners of the series"
    citation = (
        "S. Poria, D. Hazarika, N. Majumder, G. Naik, E. Cambria, R. Mihalcea. MELD: a multimodal multi-party dataset "
        "for emotion recognition in conversations. ACL 2019, 527-536. doi:10.18653/v1/P19-1050"
    )
    homepage = "https://affective-meld.github.io"
    verified = "real metadata"
    label_rule = "the majority of three annotators, as the corpus gives it; joy is called happy"
    file_name = re.compile(r"dia\d+_utt\d+")
    default_protocol = "OfficialFolds"

    @property
    def classes(self) -> tuple[str, ...]:
        """The seven emotions in alphabetical order."""
        return tuple(sorted(_EMOTIONS.values()))

    @property
    def expected(self) -> Expected:
        """9988 + 1108 + 2610 utterances; minutes are the sum of the durations that EmoBox lists."""
        return _EXPECTED

    def read(self, root: Path) -> Listing:
        """The rows of the three tables in their order, without the two that have no usable video.

        Raises:
            CorpusError: a partition's table or folder is missing, a cell or emotion is unknown, or utterances have no
                extracted audio.
        """
        if not root.is_dir():
            raise CorpusError(f"{self.name}: no folder at {root}. Give the corpus folder with data.root=PATH.")
        places = [root, *_folders(root), *(inner for folder in _folders(root) for inner in _folders(folder))]
        rows: list[Utterance] = []
        for part in _FOLDERS:
            table = _first(places, (f"{part}_sent_emo.csv",), Path.is_file)
            folder = _first(places, _FOLDERS[part], _holds_clips)
            if table is None or folder is None:
                what = f"table {part}_sent_emo.csv" if table is None else f"folder {_FOLDERS[part][0]} of clips"
                raise CorpusError(
                    f"{self.name}: the {part} partition is missing: there is no {what} in {root} or up to two levels "
                    "down. Expected MELD.Raw with its archives unpacked."
                )
            rows += _partition(part, table, folder, root)
        note = f"Left out, because their video is damaged or missing: {', '.join(_UNUSABLE)}."
        return Listing(rows, lambda _: [note])


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] not in "._")


def _first(places: Sequence[Path], names: Sequence[str], good: Callable[[Path], bool]) -> Path | None:
    """The first place that holds one of the names, preferring the earlier name."""
    return next((place / name for name in names for place in places if good(place / name)), None)


def _holds_clips(folder: Path) -> bool:
    return folder.is_dir() and any(entry.name.startswith("dia") for entry in os.scandir(folder))


def _partition(part: str, table: Path, folder: Path, root: Path) -> list[Utterance]:
    present = set(os.listdir(folder))
    suffixes = _AUDIO + _VIDEO if find_spec("av") else _AUDIO
    rows, silent = [], []
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise CorpusError(
                f"MELD: {table} has no column {', '.join(missing)}. Expected the original table with the columns "
                f"{', '.join(_COLUMNS)}."
            )
        for number, line in enumerate(reader, start=1):
            name = f"dia{line['Dialogue_ID']}_utt{line['Utterance_ID']}"
            if f"{part}_{name}" in _UNUSABLE:
                continue
            sound = next((name + suffix for suffix in suffixes if name + suffix in present), None)
            if sound is None:
                silent.append(name)
            else:
                path = (folder / sound).relative_to(root).as_posix()
                rows.append(_row(line, f"{table}, row {number}", part, name, path))
    if silent:
        kinds = (
            "they are videos only" if all(f"{name}.mp4" in present for name in silent) else "no file at all for some"
        )
        raise CorpusError(
            f"MELD: {len(silent)} of {len(silent) + len(rows)} {part} utterances have no WAV or FLAC file in {folder} "
            f"({listed(silent)}; {kinds}). Extract the sound there: {_EXTRACT}; or pip install 'ser-toolkit[video]'."
        )
    return rows


def _row(line: dict[str, str], where: str, part: str, name: str, path: str) -> Utterance:
    emotion = line["Emotion"].strip().lower()
    if emotion not in _EMOTIONS:
        raise CorpusError(f"MELD: {where} has the emotion {line['Emotion']!r}. {nearest(emotion, _EMOTIONS)}")
    dialogue, _, turn = name.partition("_")
    speaker = line["Speaker"].strip()
    return Utterance(
        id=f"{part}_{name}",
        path=path,
        speaker=speaker or None,
        sex=_SEXES.get(speaker),
        session=f"s{int(line['Season']):02d}e{int(line['Episode']):02d}",
        dialogue=f"{part}_{dialogue}",
        turn=turn,
        transcript=line["Utterance"],
        language="en",
        style="scripted",
        label=_EMOTIONS[emotion],
        raw_label=emotion,
        fold=part,
    )
