"""Files of CMU-MOSEI: the table of segments, the official parts, transcripts, and the annotators' answers."""

from __future__ import annotations

import ast
import csv
import re
import wave
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_toolkit.corpora.base import Rating, visible_files
from ser_toolkit.errors import CorpusError

#: Class by the name of its column in the table, in the order of the corpus's own file.
EMOTIONS = {
    "happy": "happy",
    "sad": "sad",
    "anger": "angry",
    "surprise": "surprised",
    "disgust": "disgusted",
    "fear": "fearful",
}
#: Class by the name of its column in the annotators' files.
_ANSWERS = {
    "happiness": "happy",
    "sadness": "sad",
    "anger": "angry",
    "surprise": "surprised",
    "disgust": "disgusted",
    "fear": "fearful",
}
_HIGHEST = 3.0
PARTS = {"0": "train", "1": "dev", "2": "test"}
_LISTS = {"standard_train_fold": "train", "standard_valid_fold": "dev", "standard_test_fold": "test"}
_TIMES = ("file", "index", "start", "end")
_STRONGEST = ("label6", "label7")

#: A segment by its video, start and end, as the table and the transcripts both have them.
Stretch = tuple[str, str, str]


@dataclass(frozen=True)
class RatedSegment:
    """One row of the table.

    Args:
        video: name of the video, and of its recording.
        index: place of the segment among the labelled ones of its video, which is not its clip number.
        start: in seconds; negative in a few rows.
        end: in seconds.
        sentiment: -3 to 3.
        intensities: 0 to 3 by class; empty where the table gives the strongest emotion alone.
        strongest: class of s3prl's ``label6``, where the table has it.
        part: ``train``, ``dev``, ``test``, None where the table gives none.
    """

    video: str
    index: str
    start: float
    end: float
    sentiment: float
    intensities: Mapping[str, float]
    strongest: str | None
    part: str | None

    @property
    def stretch(self) -> Stretch:
        """Key of the segment in the transcripts."""
        return _stretch(self.video, self.start, self.end)


@dataclass(frozen=True)
class Clip:
    """A line of a transcript: clip number, and the words."""

    number: str
    words: str


def _stretch(video: str, start: float, end: float) -> Stretch:
    return video, f"{start:.3f}", f"{end:.3f}"


def read_segments(table: Path, intensities: bool) -> list[RatedSegment]:
    """Rows of ``CMU_MOSEI_Labels.csv`` in their order.

    Args:
        table: the file.
        intensities: whether the columns of the six emotions and of sentiment are wanted, or label6 and label7.

    Raises:
        CorpusError: a column is missing, a cell is no number or out of range, or a segment is there twice.
    """
    wanted = (*_TIMES, "sentiment", *EMOTIONS) if intensities else (*_TIMES, *_STRONGEST)
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or ()
        missing = [column for column in wanted if column not in columns]
        if missing:
            advice = (
                "it is made from CMU_MOSEI_Labels.csd by the script in recipes/cmu_mosei/README.md; with the table of "
                "s3prl take labels=label6"
                if intensities
                else "s3prl's table has them; with a table of intensities take labels=intensities"
            )
            raise CorpusError(f"CMU-MOSEI: {table} has no column {', '.join(missing)}: {advice}.")
        rows = [_segment(cells, f"{table}, row {number}", intensities) for number, cells in enumerate(reader, start=1)]
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if (row.video, row.index) in seen:
            raise CorpusError(f"CMU-MOSEI: {table} has segment {row.index} of {row.video} more than once.")
        seen.add((row.video, row.index))
    return rows


def _segment(cells: Mapping[str, str], where: str, intensities: bool) -> RatedSegment:
    start, end = _number(cells, "start", where), _number(cells, "end", where)
    if not end > max(start, 0.0):
        raise CorpusError(f"CMU-MOSEI: {where} goes from {start:g} to {end:g} s. Expected an end after the start.")
    names = list(EMOTIONS.values())
    return RatedSegment(
        video=cells["file"],
        index=cells["index"],
        start=start,
        end=end,
        sentiment=_number(cells, "sentiment" if intensities else "label7", where, -_HIGHEST, _HIGHEST),
        intensities={
            label: _number(cells, column, where, 0, _HIGHEST) for column, label in EMOTIONS.items() if intensities
        },
        strongest=None if intensities else names[int(_number(cells, "label6", where, 0, len(names) - 1))],
        part=PARTS.get((cells.get("split") or "").strip()),
    )


def _number(
    cells: Mapping[str, str], column: str, where: str, low: float = -float("inf"), high: float = float("inf")
) -> float:
    text = cells[column] or ""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        between = "" if high == float("inf") else f" from {low:g} to {high:g}"
        raise CorpusError(f"CMU-MOSEI: {where} has {column} {text!r}. Expected a number{between}.")
    return value


def read_parts(file: Path) -> dict[str, str]:
    """Part by video, from the lists of the SDK's ``cmu_mosei_std_folds.py``; the file is read, not run.

    Raises:
        CorpusError: the file does not hold the three lists.
    """
    parts: dict[str, str] = {}
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    for name, part in _LISTS.items():
        found = re.search(rf"^{name}\s*=\s*(\[[^\]]*\])", text, re.MULTILINE)
        try:
            videos = ast.literal_eval(found[1]) if found else None
        except (SyntaxError, ValueError):
            videos = None
        if videos is None:
            raise CorpusError(f"CMU-MOSEI: {file} has no list {name}. Get it again from the CMU-MultimodalSDK.")
        parts.update(dict.fromkeys(map(str, videos), part))
    return parts


def read_transcripts(folder: Path) -> dict[Stretch, Clip]:
    """Lines of ``VIDEO.txt`` files, ``VIDEO___CLIP___START___END___words``; empty without such a folder."""
    found: dict[Stretch, Clip] = {}
    for file in visible_files(folder, ".txt") if folder.is_dir() else ():
        for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
            # Names of videos and words may hold underscores: the name is known, and the words come last.
            cells = line.rstrip("\r").removeprefix(f"{file.stem}___").split("___", 3)
            start, end = (_given(cells[1]), _given(cells[2])) if len(cells) == 4 else (None, None)
            if start is not None and end is not None:
                found[_stretch(file.stem, start, end)] = Clip(cells[0], cells[3].strip())
    return found


def read_answers(folder: Path) -> dict[tuple[str, str], list[Rating]]:
    """Single answers by video and clip number, from the CSV files of the crowd-sourcing site.

    Raises:
        CorpusError: there is no such file, or none has the columns.
    """
    wanted = ("Input.VIDEO_ID", "Input.CLIP", "WorkerId", "Answer.sentiment", *(f"Answer.{name}" for name in _ANSWERS))
    found: dict[tuple[str, str], list[Rating]] = {}
    files = visible_files(folder, ".csv") if folder.is_dir() else []
    for file in files:
        for cells in _rows_with(file, wanted):
            # Some files give the folder of the video before its name.
            key = cells["Input.VIDEO_ID"].rpartition("/")[2], cells["Input.CLIP"]
            found.setdefault(key, []).append(_rating(cells))
    if not found:
        seen = ", ".join(file.name for file in files) or "no CSV file"
        raise CorpusError(
            f"CMU-MOSEI: {folder} has no answers of annotators (found: {seen}). Expected the CSV files of the raw data "
            f"with the columns {', '.join(wanted)}, or take votes=intensities."
        )
    return found


def _rows_with(file: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Rows of a CSV file that has the columns; nothing of another file."""
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as text:
        reader = csv.DictReader(text)
        if set(columns) <= set(reader.fieldnames or ()):
            yield from ({column: (row[column] or "").strip() for column in columns} for row in reader)


def _rating(cells: Mapping[str, str]) -> Rating:
    labels = tuple(label for name, label in _ANSWERS.items() if (_given(cells[f"Answer.{name}"]) or 0) > 0)
    return Rating(cells["WorkerId"], labels, valence=_given(cells["Answer.sentiment"]))


def _given(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def seconds_of(file: Path) -> float | None:
    """Length by the header of a WAV file; None where the file is of another kind."""
    try:
        with wave.open(str(file), "rb") as header:
            return header.getnframes() / header.getframerate()
    except (wave.Error, EOFError):
        return None
