from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import soundfile
from generic_replicas import CLASSES, FEATURES, ROWS, audiofolder, hub, saved, saved_splits, table, tone

from ser_toolkit.corpora.huggingface import HuggingFaceAudio
from ser_toolkit.corpora.layouts import huggingface_unpack as _hf_unpack
from ser_toolkit.errors import CorpusError, RecipeError

LAYOUTS = {
    "metadata.csv": lambda root: audiofolder(root, "csv"),
    "metadata.jsonl": lambda root: audiofolder(root, "jsonl"),
    "metadata.parquet": lambda root: audiofolder(root, "parquet"),
    "shards": hub,
    "save_to_disk": saved,
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def read(root: Path, **options):
    return HuggingFaceAudio(**options).utterances(root)


def write(root: Path, text: str, name: str = "metadata.csv", recordings=("a", "b")) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for stem in recordings:
        (root / f"{stem}.wav").write_bytes(tone(0))
    (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_says_the_same(layout: str, tmp_path: Path) -> None:
    root = LAYOUTS[layout](tmp_path / "set")
    corpus = HuggingFaceAudio()
    listing = corpus.read(root)
    rows = listing.rows
    assert listing.classes == ("angry", "sad")
    said = [(row.label, row.speaker, row.sex, row.transcript) for row in rows]
    sexes = {"F": "female", "M": "male"}
    assert said == [(CLASSES[r["emotion"]], r["speaker_id"], sexes[r["gender"]], r["text"]) for r in ROWS]
    assert len({row.id for row in rows}) == len(rows)
    for number, row in enumerate(rows):
        content = (root / row.path).read_bytes()
        assert content in (tone(number), tone(number, "FLAC")), "another recording"
        assert Path(row.path).suffix == (".flac" if content.startswith(b"fLaC") else ".wav")


def test_shards_are_one_sequence(tmp_path: Path) -> None:
    rows = read(hub(tmp_path / "set", shards=3))
    assert [row.id for row in rows] == [f"train-{k:06d}" for k in range(8)]
    assert {row.fold for row in rows} == {"train"}


def test_splits_are_folds(tmp_path: Path) -> None:
    audiofolder(tmp_path / "a" / "train", rows=ROWS[:4])
    audiofolder(tmp_path / "a" / "dev", rows=ROWS[4:6], first=4)
    audiofolder(tmp_path / "a" / "test", rows=ROWS[6:], first=6)
    rows = read(tmp_path / "a")
    assert [row.fold for row in rows] == ["train"] * 4 + ["dev"] * 2 + ["test"] * 2
    assert rows[4].id == "dev/wav/4"
    assert [row.id for row in read(tmp_path / "a", splits=["test"])] == ["test/wav/6", "test/wav/7"]
    with pytest.raises(CorpusError, match=r"no split 'tset'. Did you mean test"):
        read(tmp_path / "a", splits=["tset"])
    assert [row.fold for row in read(saved_splits(tmp_path / "b"))] == ["train"] * 6 + ["test"] * 2
    hub(tmp_path / "c", ROWS[:4], shards=1, split="cafe")
    hub(tmp_path / "c", ROWS[4:], shards=1, split="validation")
    assert [row.fold for row in read(tmp_path / "c")] == ["dev"] * 4 + ["cafe"] * 4


def test_one_folder_of_another_name_is_no_split(tmp_path: Path) -> None:
    assert read(audiofolder(tmp_path / "set"))[0].fold is None
    assert read(tmp_path)[0].fold is None
    audiofolder(tmp_path / "other" / "test")
    assert read(tmp_path / "other")[0].fold == "test"


def test_a_split_column_is_the_fold_where_folders_are_no_splits(tmp_path: Path) -> None:
    rows = read(write(tmp_path, "file_name,label,speaker,split\na.wav,x,s,train\nb.wav,y,t,validation\n"))
    assert [row.fold for row in rows] == ["train", "dev"]


def test_columns_can_be_named_and_words_mapped(tmp_path: Path) -> None:
    header = "audio_file_name,feeling,who,act,votes_wut,votes_trauer,lang"
    text = f"{header}\na.wav,wut,1,0.5,2,1,German\nb.wav,trauer,2,,,,tlh\n"
    corpus = HuggingFaceAudio(
        emotion="feeling",
        speaker="who",
        language="lang",
        columns={"arousal": "act"},
        mapping={"wut": "angry", "trauer": None},
        classes=["sad", "angry"],
        dimension_range=(0.0, 1.0),
    )
    listing = corpus.read(write(tmp_path, text))
    first, second = listing.rows
    assert listing.classes == ("sad", "angry")
    assert (first.label, first.raw_label, first.speaker, first.arousal) == ("angry", "wut", "1", 0.5)
    assert (first.votes, first.language, first.sex) == ({"angry": 2.0, "(trauer)": 1.0}, "de", None)
    assert (second.label, second.raw_label, second.arousal, second.votes) == (None, "trauer", None, None)
    assert second.language == "tlh"
    assert listing.notes([first, second]) == ["The label of 1 of 2 utterances is unknown."]


def test_a_class_label_of_minus_one_is_not_labelled(tmp_path: Path) -> None:
    rows = read(hub(tmp_path, [{**ROWS[0], "emotion": -1}, *ROWS[1:]]))
    assert [row.label for row in rows[:3]] == [None, "sad", "angry"]
    assert rows[0].raw_label is None


def test_numbers_stay_whole_beside_empty_cells(tmp_path: Path) -> None:
    rows = [{"emotion": 0, "speaker_id": 3}, {"emotion": 1, "speaker_id": None}]
    hub(tmp_path, rows, shards=1)
    assert [row.speaker for row in read(tmp_path, unknown_speakers=True)] == ["3", None]
    hub(tmp_path / "floats", [{"emotion": 0, "speaker_id": 3.0}, {"emotion": 1, "speaker_id": float("nan")}], shards=1)
    assert [row.speaker for row in read(tmp_path / "floats", unknown_speakers=True)] == ["3", None]
    with pytest.raises(CorpusError, match=r"train-00000-of-00001.parquet, row 2 has no speaker"):
        read(tmp_path)


def test_names_of_recordings_in_a_table_of_text(tmp_path: Path) -> None:
    audiofolder(tmp_path)
    (tmp_path / "metadata.csv").unlink()
    lines = [{"emotion": "sad", "path": f"wav/{k}.wav", "speaker": f"s{k}"} for k in range(8)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(lines), tmp_path / "train.parquet")
    assert [row.path for row in read(tmp_path)] == [line["path"] for line in lines]


def test_a_recording_that_is_named_and_not_embedded_lies_beside_the_file(tmp_path: Path) -> None:
    hub(tmp_path, ROWS[:2], shards=1)
    file = tmp_path / "data" / "train-00000-of-00001.parquet"
    made = pyarrow.parquet.read_table(file)
    named = [{"bytes": None, "path": "x.wav"}, {"bytes": tone(1), "path": "y.wav"}]
    made = made.set_column(0, "audio", pyarrow.array(named, type=made.schema.field("audio").type))
    pyarrow.parquet.write_table(made, file)
    with pytest.raises(CorpusError, match=r"row 1 names the recording x.wav, which does not exist"):
        read(tmp_path)
    (tmp_path / "data" / "x.wav").write_bytes(tone(0))
    first, second = read(tmp_path)
    assert first.path == "data/x.wav"
    assert soundfile.info(second.path).frames == 1600


@pytest.mark.parametrize("name", ["/etc/hostname", "../outside.wav", "000001.wav"])
def test_a_name_in_the_data_is_no_file_of_this_machine_or_of_the_cache(name: str, tmp_path: Path) -> None:
    hub(tmp_path / "set", ROWS[:2], shards=1)
    file = tmp_path / "set" / "data" / "train-00000-of-00001.parquet"
    made = pyarrow.parquet.read_table(file)
    cells = [{"bytes": None, "path": name}, {"bytes": tone(1), "path": None}]
    made = made.set_column(0, "audio", pyarrow.array(cells, type=made.schema.field("audio").type))
    pyarrow.parquet.write_table(made, file)
    where = _hf_unpack._folder(file, "audio").parent
    where.mkdir(parents=True)
    (where / "outside.wav").write_bytes(tone(0))
    with pytest.raises(CorpusError, match=r"row 1 names the (file|recording)"):
        read(tmp_path / "set")


def test_files_that_are_no_speech_are_not_taken_for_it(tmp_path: Path) -> None:
    made = table(ROWS[:2])
    picture = pyarrow.array([{"bytes": b"x", "path": None}] * 2, type=made.schema.field("audio").type)
    features = {"image": {"_type": "Image"}, "clip": FEATURES["audio"], "emotion": FEATURES["emotion"]}
    made = made.rename_columns(["clip", *made.column_names[1:]]).add_column(0, "image", picture)
    made = made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(made, tmp_path / "train.parquet")
    assert Path(read(tmp_path)[1].path).read_bytes() == tone(1)


# --- unpacking --------------------------------------------------------------------------------------------------------


def test_recordings_are_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub(tmp_path / "set")
    first = read(tmp_path / "set")
    monkeypatch.setattr(_hf_unpack, "_cells", lambda *_: pytest.fail("unpacked again"))
    assert read(tmp_path / "set") == first


def test_a_file_that_changed_is_unpacked_anew(tmp_path: Path) -> None:
    second = read(saved(tmp_path / "set"))[1]
    assert Path(second.path).read_bytes() == tone(1)
    file = tmp_path / "set" / "data-00000-of-00001.arrow"
    content = file.read_bytes()
    file.write_bytes(content.replace(tone(1), tone(3)))
    assert file.stat().st_size == len(content), "told by its time alone"
    os.utime(file, ns=(1, 1))
    assert Path(read(tmp_path / "set")[1].path).read_bytes() == tone(3)


def test_what_was_interrupted_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub(tmp_path / "set", shards=1)
    whole, written = _hf_unpack.write_bytes, []

    def full(path: Path, content: bytes, durable: bool) -> None:
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(path.name)
        whole(path, content, durable)

    monkeypatch.setattr(_hf_unpack, "write_bytes", full)
    with pytest.raises(CorpusError, match=r"cannot unpack .*No space left.*SER_CACHE"):
        read(tmp_path / "set")
    again: list[str] = []
    monkeypatch.setattr(
        _hf_unpack, "write_bytes", lambda path, content, durable: (again.append(path.name), whole(path, content))
    )
    rows = read(tmp_path / "set")
    assert not set(again) & set(written), "written twice"
    assert [Path(row.path).read_bytes() for row in rows[:2]] == [tone(0, "FLAC"), tone(1)]


@pytest.mark.parametrize("harm", ["cut", "removed"])
def test_a_damaged_cache_is_mended(harm: str, tmp_path: Path) -> None:
    hub(tmp_path / "set")
    path = Path(read(tmp_path / "set")[2].path)
    path.write_bytes(b"RIFF") if harm == "cut" else path.unlink()
    assert read(tmp_path / "set")[2].path == str(path)
    assert path.read_bytes() == tone(2, "FLAC")


def test_few_recordings_are_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub(tmp_path / "set", shards=1)
    monkeypatch.setattr(_hf_unpack, "_BATCH", 2)
    sizes = []
    batches = pyarrow.parquet.ParquetFile.iter_batches

    def counted(self, **options):
        for batch in batches(self, **options):
            sizes.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "iter_batches", counted)
    read(tmp_path / "set")
    assert sizes == [2, 2, 2, 2]


# --- what is wrong ----------------------------------------------------------------------------------------------------

HEAD = "file_name,emotion,speaker\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEAD}a.wav,sad,s\ngone.wav,sad,s\nnil.wav,sad,s\n", "row 2 names the recording gone.wav.*1 more rows"),
        (f"{HEAD}a.wav,sad,s\na.wav,angry,s\n", r"row 2 is the utterance a again \(.*row 1\)"),
        (f"{HEAD}/etc/a.wav,sad,s\n", "row 1 names the file '/etc/a.wav'.*below the folder"),
        (f"{HEAD}a.wav,sad,s\n../b.wav,sad,s\n", "row 2 names the file '../b.wav'"),
        (f"{HEAD}C:\\b.wav,sad,s\n", "row 1 names the file 'C:"),
        (f"{HEAD},sad,s\n", "row 1 names no recording"),
        (f"{HEAD}a.wav,sad\n", "row 1 has 2 cells and the header 3"),
        (f"{HEAD}a.wav,,s\n", "no row .* has a label, votes or dimensions"),
        (f"{HEAD}a.wav,sad,\n", "row 1 has no speaker.*unknown_speakers=true"),
        ("file_name,emotion\na.wav,sad\n", r"no column of speakers. Its columns: file_name, emotion.*speaker=NAME"),
        ("file_name,mood,speaker\na.wav,sad,s\n", r"nothing about emotion. Its columns: file_name, mood.*emotion=NAME"),
        ("name,emotion,speaker\na.wav,sad,s\n", r"no column of audio or file names. Its columns: name"),
        ("file_name,emotion,speaker,valence\na.wav,sad,s,high\n", "row 1: valence holds 'high'"),
        ("file_name,emotion,speaker,votes_sad\na.wav,sad,s,-1\n", "row 1: votes_sad holds -1: expected a number of"),
    ],
)
def test_wrong_metadata_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=message):
        read(write(tmp_path, text))


def test_wrong_options_are_named(tmp_path: Path) -> None:
    write(tmp_path, f"{HEAD}a.wav,sad,s\nb.wav,wut,s\n")
    with pytest.raises(CorpusError, match=r"no column 'feeling' \(for label\). .*Known: emotion, file_name, speaker"):
        read(tmp_path, emotion="feeling")
    with pytest.raises(CorpusError, match=r"row 2 has the label 'wut', .*classes sad.*mapping=\{wut: CLASS\}"):
        read(tmp_path, classes=["sad"])
    with pytest.raises(RecipeError, match="columns names 'speeker', which is no field"):
        HuggingFaceAudio(columns={"speeker": "x"})
    with pytest.raises(RecipeError, match="dimension_range"):
        HuggingFaceAudio(dimension_range=(1.0, 0.0))
    with pytest.raises(CorpusError, match=r"row 1 has valence outside dimension_range \[0, 1\]"):
        read(write(tmp_path, "file_name,speaker,valence\na.wav,s,3\n"), dimension_range=(0.0, 1.0))


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no metadata.csv.* \(found: none\)"):
        read(tmp_path)
    saved(tmp_path / "x" / "set")
    with pytest.raises(CorpusError, match=rf"one level down: give data.root={tmp_path / 'x' / 'set'}"):
        read(tmp_path / "x")
    write(tmp_path / "y" / "angry", "", "notes.txt")
    with pytest.raises(CorpusError, match=r"read by data.corpus=FolderCorpus"):
        read(tmp_path / "y")
    write(tmp_path / "z", f"{HEAD}a.wav,sad,s\n")
    (tmp_path / "z" / "metadata.jsonl").write_text("{}\n")
    with pytest.raises(CorpusError, match=r"has metadata.csv, metadata.jsonl. Keep one"):
        read(tmp_path / "z")


def test_one_damaged_byte_is_named(tmp_path: Path) -> None:
    file = audiofolder(tmp_path, "parquet") / "metadata.parquet"
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(file), file, compression="none", use_dictionary=False)
    file.write_bytes(file.read_bytes().replace(b"wav/0.wav", b"wav/\xac.wav"))
    with pytest.raises(CorpusError, match=r"metadata.parquet cannot be read"):
        read(tmp_path)
    (saved(tmp_path / "b") / "state.json").write_text('{"_data_files": [{"file": "x"}]}')
    with pytest.raises(CorpusError, match=r"state.json does not list data files"):
        read(tmp_path / "b")


def test_a_name_that_no_file_can_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"row 1 names the recording x+.wav, which does not exist"):
        read(write(tmp_path, f"file_name,emotion,speaker\n{'x' * 300}.wav,sad,a\n"))


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    hub(tmp_path / "a", shards=3)
    (tmp_path / "a" / "data" / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(CorpusError, match=r"lacks train-00001-of-00003\. Complete"):
        read(tmp_path / "a")
    with pytest.raises(CorpusError, match="no split 'test'"):
        read(tmp_path / "a", splits=["test"])
    hub(tmp_path / "a", shards=1, split="test")
    assert len(read(tmp_path / "a", splits=["test"])) == 8, "what is not asked for need not be complete"
    (tmp_path / "a" / "data" / "test-00000-of-00001.parquet").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CorpusError, match=r"test-00000-of-00001.parquet is a pointer of Git LFS.*git lfs pull"):
        read(tmp_path / "a", splits=["test"])
    saved(tmp_path / "b")
    (tmp_path / "b" / "data-00000-of-00001.arrow").write_bytes(b"x" * 50)
    with pytest.raises(CorpusError, match=r"data-00000-of-00001.arrow cannot be read"):
        read(tmp_path / "b")
    (tmp_path / "b" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(CorpusError, match=r"state.json names data-00000-of-00001.arrow, not found"):
        read(tmp_path / "b")
    hub(tmp_path / "c")
    (tmp_path / "c" / "data" / "train-00001-of-00002.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorpusError, match=r"train-00001-of-00002.parquet cannot be read"):
        read(tmp_path / "c")
    write(tmp_path / "d", '{"file_name": "a.wav"}\n{"file_name"\n', "metadata.jsonl")
    with pytest.raises(CorpusError, match=r"metadata.jsonl, line 2 is no JSON"):
        read(tmp_path / "d")
    write(tmp_path / "e", '{"file_name": "a.wav", "emotion": ["sad"], "speaker": "s"}\n', "metadata.jsonl")
    with pytest.raises(CorpusError, match=r"metadata.jsonl, row 1: emotion holds \['sad'\]: expected one value"):
        read(tmp_path / "e")


@pytest.mark.parametrize("other", ["train-00000-of-00001-0a1b2c3d.parquet", "train-00000-of-00003.parquet"])
def test_two_versions_of_a_split_are_refused(other: str, tmp_path: Path) -> None:
    """What is left when the owner of a dataset pushes it again: the utterances would be there twice."""
    hub(tmp_path, ROWS[:2], shards=1)
    old = tmp_path / "data" / "train-00000-of-00001.parquet"
    (tmp_path / "data" / other).write_bytes(old.read_bytes())
    with pytest.raises(CorpusError, match=r"split train in two versions: train-00000\S+ and train-00000\S+ are the"):
        read(tmp_path)


def test_what_macos_adds_to_archives_is_no_split(tmp_path: Path) -> None:
    audiofolder(tmp_path)
    write(tmp_path / "__MACOSX", "x\n", "metadata.csv")
    assert len(read(tmp_path)) == 8


def test_several_configurations_are_refused(tmp_path: Path) -> None:
    hub(tmp_path / "de", shards=1)
    hub(tmp_path / "en", shards=1)
    for name in ("de", "en"):
        (tmp_path / name / "data" / "train-00000-of-00001.parquet").rename(tmp_path / name / "train.parquet")
    with pytest.raises(CorpusError, match="in de, en: several configurations"):
        read(tmp_path)
    assert len(read(tmp_path / "de")) == 8


def test_arrays_lists_and_unknown_class_numbers_are_refused(tmp_path: Path) -> None:
    columns = {"audio": [[0.0, 0.1], [0.2]], "emotion": ["sad", "sad"], "speaker": ["a", "b"], "many": [["x"], ["y"]]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "train.parquet")
    with pytest.raises(CorpusError, match=r"audio is not audio that can be read.*cast the column to Audio"):
        read(tmp_path)
    hub(tmp_path / "b", [{**ROWS[0], "emotion": 2}, ROWS[1]], shards=1)
    with pytest.raises(CorpusError, match=r"row 1: emotion is class 2, and there are 2 \(angry, sad\)"):
        read(tmp_path / "b")
    made = table(ROWS[:1]).append_column("many", pyarrow.array([["x"]]))
    pyarrow.parquet.write_table(made, tmp_path / "b" / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(CorpusError, match=r"many \(for label\) holds lists or audio"):
        read(tmp_path / "b", emotion="many")


def test_features_are_those_of_the_file(tmp_path: Path) -> None:
    """A class that no row has is not found, and its number still means it."""
    features = {**FEATURES, "emotion": {"names": ["calm", "angry", "sad"], "_type": "ClassLabel"}}
    made = table(ROWS[:2], features=features)
    assert json.loads(made.schema.metadata[b"huggingface"])["info"]["features"]["emotion"]["names"][0] == "calm"
    pyarrow.parquet.write_table(made, tmp_path / "train.parquet")
    assert [row.label for row in read(tmp_path)] == ["calm", "angry"]


def test_listing_corpora_imports_neither_pyarrow_nor_yaml() -> None:
    code = "import sys, ser_toolkit.corpora; print([m for m in ('pyarrow', 'pandas', 'yaml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
