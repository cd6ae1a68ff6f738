"""Small data sets in public formats, built without the libraries of these formats: what those write, byte for byte.

The layouts were copied from files that ``datasets`` 3.6 and ``audformat`` 1.4.3 wrote; both read these replicas alike.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import soundfile

CLASSES = ["angry", "sad"]
#: Four speakers who say something in both classes: enough for folds of speakers.
ROWS = [
    {"emotion": k % 2, "speaker_id": f"s{k // 2}", "gender": "FM"[k // 2 % 2], "text": f"words {k}"} for k in range(8)
]
FEATURES = {
    "audio": {"sampling_rate": 16000, "_type": "Audio"},
    "emotion": {"names": CLASSES, "_type": "ClassLabel"},
    "speaker_id": {"dtype": "string", "_type": "Value"},
    "gender": {"dtype": "string", "_type": "Value"},
    "text": {"dtype": "string", "_type": "Value"},
}


def tone(number: int, container: str = "WAV") -> bytes:
    """A tenth of a second, each number another one."""
    time = np.arange(1600) / 16000
    noise = np.random.default_rng(number).standard_normal(len(time))
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(2 * np.pi * (100 + 10 * number) * time) + 0.01 * noise, 16000, format=container)
    return file.getvalue()


def table(rows: Sequence[dict[str, Any]], first: int = 0, features: dict[str, Any] | None = None) -> pyarrow.Table:
    """Rows with embedded audio (FLAC and WAV by turns) and the features that ``datasets`` keeps in the schema."""
    kinds = ("FLAC", "WAV")
    audio = [{"bytes": tone(k, kinds[k % 2]), "path": None} for k in range(first, first + len(rows))]
    struct = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    columns = {"audio": pyarrow.array(audio, type=struct)}
    columns |= {name: pyarrow.array([row[name] for row in rows]) for name in rows[0]}
    made = pyarrow.table(columns)
    about = {"info": {"features": features or {name: FEATURES[name] for name in columns if name in FEATURES}}}
    return made.replace_schema_metadata({"huggingface": json.dumps(about)})


def hub(root: Path, rows: Sequence[dict[str, Any]] = ROWS, shards: int = 2, split: str = "train") -> Path:
    """Parquet shards of one split as they lie on the hub."""
    (root / "data").mkdir(parents=True, exist_ok=True)
    size = -(-len(rows) // shards)
    for k in range(shards):
        part = table(rows[k * size : (k + 1) * size], first=k * size)
        pyarrow.parquet.write_table(part, root / "data" / f"{split}-{k:05d}-of-{shards:05d}.parquet", row_group_size=2)
    return root


def saved(root: Path, rows: Sequence[dict[str, Any]] = ROWS, first: int = 0) -> Path:
    """What ``Dataset.save_to_disk`` writes."""
    root.mkdir(parents=True, exist_ok=True)
    name = "data-00000-of-00001.arrow"
    made = table(rows, first)
    with pyarrow.OSFile(str(root / name), "wb") as file, pyarrow.ipc.new_stream(file, made.schema) as stream:
        stream.write_table(made, max_chunksize=3)
    state = {"_data_files": [{"filename": name}], "_fingerprint": "0", "_format_type": None, "_split": None}
    (root / "state.json").write_text(json.dumps(state))
    (root / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    return root


def saved_splits(root: Path) -> Path:
    """What ``DatasetDict.save_to_disk`` writes."""
    saved(root / "train", ROWS[:6])
    saved(root / "test", ROWS[6:], first=6)
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    return root


def audiofolder(root: Path, kind: str = "csv", rows: Sequence[dict[str, Any]] = ROWS, first: int = 0) -> Path:
    """``metadata.csv``, ``.jsonl`` or ``.parquet`` beside a folder of recordings."""
    (root / "wav").mkdir(parents=True, exist_ok=True)
    lines = []
    for k, row in enumerate(rows, start=first):
        (root / "wav" / f"{k}.wav").write_bytes(tone(k))
        lines.append({"file_name": f"wav/{k}.wav", **row, "emotion": CLASSES[row["emotion"]]})
    if kind == "csv":
        cells = [",".join(str(line[name]) for name in line) for line in lines]
        (root / "metadata.csv").write_text("\n".join([",".join(lines[0]), *cells]) + "\n")
    elif kind == "jsonl":
        (root / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(lines), root / "metadata.parquet")
    return root


AUDFORMAT_HEADER = """\
name: mini
source: x
usage: unrestricted
languages: [deu]
media:
  mic: {type: other, format: wav, channels: 1, sampling_rate: 16000}
raters:
  a: {type: human}
  b: {type: human}
  c: {type: human}
  gold: {type: human}
schemes:
  arousal: {dtype: float, minimum: -1, maximum: 1}
  confidence: {dtype: float, minimum: 0, maximum: 1}
  emotion:
    dtype: str
    labels:
      anger: {description: hot}
      boredom: {}
      neutral: {}
  gender:
    dtype: str
    labels: [female, male, other]
  speaker: {dtype: int, labels: speaker}
  transcription:
    dtype: str
    labels: {a01: Der Lappen liegt, b02: Das will sie}
splits:
  test: {type: test}
  train: {type: train}
tables:
  emotion:
    type: filewise
    columns:
      emotion: {scheme_id: emotion, rater_id: gold}
  emotion.categories.test.gold_standard:
    type: filewise
    split_id: test
    columns:
      emotion: {scheme_id: emotion, rater_id: gold}
      emotion.confidence: {scheme_id: confidence, rater_id: gold}
  emotion.categories.train.gold_standard:
    type: filewise
    split_id: train
    columns:
      emotion: {scheme_id: emotion, rater_id: gold}
      emotion.confidence: {scheme_id: confidence, rater_id: gold}
  files:
    type: filewise
    columns:
      speaker: {scheme_id: speaker}
      transcription: {scheme_id: transcription}
  segments:
    type: segmented
    columns:
      arousal.a: {scheme_id: arousal, rater_id: a}
      arousal.b: {scheme_id: arousal, rater_id: b}
      emotion.a: {scheme_id: emotion, rater_id: a}
      emotion.b: {scheme_id: emotion, rater_id: b}
      emotion.c: {scheme_id: emotion, rater_id: c}
misc_tables:
  speaker:
    levels: {speaker: int}
    columns:
      gender: {scheme_id: gender}
"""
AUDFORMAT_TABLES = {
    "emotion": "file,emotion\nwav/0.wav,anger\nwav/1.wav,boredom\nwav/2.wav,neutral\nwav/3.wav,anger\n"
    "wav/4.wav,boredom\nwav/5.wav,neutral\n",
    "emotion.categories.test.gold_standard": "file,emotion,emotion.confidence\nwav/4.wav,boredom,0.5\nwav/5.wav,,0.5\n",
    "emotion.categories.train.gold_standard": "file,emotion,emotion.confidence\nwav/0.wav,anger,0.9\n"
    "wav/1.wav,boredom,1.0\nwav/2.wav,neutral,0.8\nwav/3.wav,anger,0.7\n",
    "files": "file,speaker,transcription\nwav/0.wav,3,a01\nwav/1.wav,3,b02\nwav/2.wav,8,a01\nwav/3.wav,8,b02\n"
    "wav/4.wav,9,a01\nwav/5.wav,9,b02\n",
    "segments": "file,start,end,arousal.a,arousal.b,emotion.a,emotion.b,emotion.c\n"
    "wav/0.wav,0 days 00:00:00.000000,0 days 00:00:00.050000,0.5,0.25,anger,anger,boredom\n"
    "wav/0.wav,0 days 00:00:00.050000,,-0.5,,anger,boredom,\n"
    "wav/2.wav,0 days 00:00:00,,,,neutral,,\n",
    "speaker": "speaker,gender\n3,male\n8,female\n9,\n",
}


def audformat(root: Path, kind: str = "csv", sound: bool = True) -> Path:
    """A database with a gold standard in two splits, speakers in a misc table, and segments of three raters."""
    (root / "wav").mkdir(parents=True, exist_ok=True)
    for k in range(6):
        (root / "wav" / f"{k}.wav").write_bytes(tone(k) if sound else b"")
    (root / "db.yaml").write_text(AUDFORMAT_HEADER, encoding="utf-8")
    for name, text in AUDFORMAT_TABLES.items():
        if kind == "csv":
            (root / f"db.{name}.csv").write_text(text, encoding="utf-8")
        else:
            pyarrow.parquet.write_table(_typed(text), root / f"db.{name}.parquet")
    return root


def _typed(text: str) -> pyarrow.Table:
    """Cells with the types that audformat stores: times as nanoseconds, labels as a dictionary."""
    import pandas as pd

    frame = pd.read_csv(io.StringIO(text))
    for column in frame.columns:
        if column in ("start", "end"):
            frame[column] = pd.to_timedelta(frame[column])
        elif column.startswith(("emotion.a", "emotion.b")) or column == "emotion":
            frame[column] = frame[column].astype("category")
    return pyarrow.Table.from_pandas(frame, preserve_index=False)
