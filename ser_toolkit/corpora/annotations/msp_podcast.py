"""The label files of MSP-Podcast: consensus, and each worker's answer. Formats: see msp_podcast.py."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ser_toolkit.corpora.base import Rating
from ser_toolkit.errors import CorpusError

#: The corpus's letters as full words.
CODES = {
    "A": "angry",
    "S": "sad",
    "H": "happy",
    "U": "surprised",
    "F": "fearful",
    "D": "disgusted",
    "C": "contemptuous",
    "N": "neutral",
    "O": "other",
}
#: The letter of turns on which no plurality of the workers agreed.
NO_AGREEMENT = "X"
_WORDS = {
    "angry": "angry",
    "sad": "sad",
    "happy": "happy",
    "surprise": "surprised",
    "fear": "fearful",
    "disgust": "disgusted",
    "contempt": "contemptuous",
    "neutral": "neutral",
}
CONSENSUS_COLUMNS = ("EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
_WORKER_COLUMNS = ("Workers", "WorkerID", "Name")
_DIMENSION = re.compile(r"\b([AVD]):\s*(\d+(?:\.\d+)?)")


def label_file(root: Path, kind: str) -> Path | None:
    """``Labels/labels_KIND`` as CSV or else JSON; releases before 1.9 spell consensus as concensus."""
    spellings = ("consensus", "concensus") if kind == "consensus" else (kind,)
    names = [f"labels_{spelling}{suffix}" for suffix in (".csv", ".json") for spelling in spellings]
    return next((root / "Labels" / name for name in names if (root / "Labels" / name).is_file()), None)


def blind_files(root: Path, partition: str) -> list[str] | None:
    """Files of a partition in ``Partitions.txt`` (lines like ``Test3; MSP-PODCAST_0001_0008.wav``); None without it."""
    lists = [root / name for name in ("Partitions.txt", "Partition.txt") if (root / name).is_file()]
    if not lists:
        return None
    lines = (line.split(";") for line in lists[0].read_text(encoding="utf-8", errors="replace").split("\n"))
    cells = ([cell.strip() for cell in line] for line in lines if len(line) >= 2)
    return [file for part, file, *_ in cells if part == partition]


def read_consensus(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """File name and cells of each turn, in the file's order.

    Raises:
        CorpusError: the file is no such table, or a column is missing.
    """
    if file.suffix == ".json":
        for name, cells in _json(file).items():
            cells = cells[0] if isinstance(cells, list) else cells
            _require(file, cells, CONSENSUS_COLUMNS)
            yield name, {column: str(cells[column]).strip() for column in CONSENSUS_COLUMNS}
        return
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as text:
        reader = csv.DictReader(text)
        _require(file, reader.fieldnames or (), ("FileName", *CONSENSUS_COLUMNS))
        for line in reader:
            yield line["FileName"].strip(), {column: (line[column] or "").strip() for column in CONSENSUS_COLUMNS}


def read_ratings(file: Path, dimensions: bool = True) -> Iterator[tuple[str, Rating]]:
    """File name and rating of each worker's answer, in the file's order.

    Args:
        file: the detailed labels, CSV or JSON.
        dimensions: read valence, arousal and dominance as well, which takes most of the time.

    Raises:
        CorpusError: the file is no such table.
    """
    if file.suffix == ".json":
        for name, workers in _json(file).items():
            for worker, answer in _answers(workers):
                yield name, _from_cells(worker, answer)
        return
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as text:
        reader = csv.DictReader(text)
        columns = reader.fieldnames or ()
        _require(file, columns, ("FileName",))
        who = next((column for column in _WORKER_COLUMNS if column in columns), None)
        if "EmoClass_Major" in columns and who is not None:
            for line in reader:
                yield line["FileName"].strip(), _from_cells(line[who], line)
        elif "EmoDetail" in columns:
            for line in reader:
                if not line["EmoDetail"]:
                    raise CorpusError(f"MSP-Podcast: {file} has no answer for {line['FileName']}. Copy the file again.")
                yield line["FileName"].strip(), _from_text(line["EmoDetail"], dimensions)
        else:
            raise CorpusError(
                f"MSP-Podcast: {file} has the columns {', '.join(columns)}. Expected FileName with EmoDetail, or with "
                f"EmoClass_Major and one of {', '.join(_WORKER_COLUMNS)}."
            )


def _answers(workers: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Workers by name, or a list of them that carry their names."""
    if isinstance(workers, dict) and isinstance(workers.get("Workers"), list):
        workers = workers["Workers"]
    if isinstance(workers, list):
        yield from ((str(answer.get("Name", "")), answer) for answer in workers)
    else:
        yield from workers.items()


def _from_cells(worker: str, cells: Mapping[str, Any]) -> Rating:
    valence, arousal, dominance = (_number(cells.get(column)) for column in ("EmoVal", "EmoAct", "EmoDom"))
    return Rating(worker.strip(), _primary(str(cells.get("EmoClass_Major") or "")), valence, arousal, dominance)


def _from_text(text: str, dimensions: bool) -> Rating:
    """``WORKER00000001; Neutral; Neutral,Concerned; A:4.0; V:5.0; D:4.0;``, where the third part may be missing."""
    worker, _, rest = text.partition(";")
    if not dimensions:
        return Rating(worker.strip(), _primary(rest.partition(";")[0]))
    given = {dimension: float(value) for dimension, value in _DIMENSION.findall(rest)}
    return Rating(worker.strip(), _primary(rest.partition(";")[0]), given.get("V"), given.get("A"), given.get("D"))


def _primary(word: str) -> tuple[str, ...]:
    """One of the eight emotions; everything that workers wrote instead (``Other-bored``) is other."""
    word = word.strip().lower()
    return (_WORDS.get(word, "other"),) if word else ()


def _number(value: Any) -> float | None:
    try:
        return None if value in (None, "") else float(value)
    except ValueError:
        return None


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorpusError(f"MSP-Podcast: {file} cannot be read as JSON: {error}. Copy it again.") from error
    if not isinstance(found, dict):
        raise CorpusError(f"MSP-Podcast: {file} is no object with a key for each file. Copy it again.")
    return found


def _require(file: Path, found: Any, columns: tuple[str, ...]) -> None:
    missing = [column for column in columns if column not in found]
    if missing:
        raise CorpusError(
            f"MSP-Podcast: {file} has no column {', '.join(missing)}. Expected the original file with "
            f"{', '.join(columns)}."
        )
