from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from ser_toolkit.corpora.table import TableCorpus
from ser_toolkit.errors import CorpusError, RecipeError

FULL = """id,path,start,end,speaker,sex,session,label,transcript,valence,arousal,votes_angry,votes_sad,fold
a,one.wav,0.5,2.25,s1,F,x,angry,"Well, no.",1.5,4,3,1,train
b,one.wav,2.25,3,s2,male,x,sad,,2,,0,0,test
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("one.wav", "two.wav", "sub/three.wav"):
        (tmp_path / name).touch()
    return tmp_path


def write(root: Path, text: str, name: str = "table.csv") -> str:
    (root / name).write_text(text, encoding="utf-8")
    return name


def read(root: Path, text: str, **options):
    return TableCorpus(write(root, text), **options).utterances(root)


def test_every_column_becomes_a_field(root):
    first, second = read(root, FULL)
    assert (first.id, first.path, first.start, first.end) == ("a", "one.wav", 0.5, 2.25)
    assert (first.speaker, first.sex, first.session, first.label, first.fold) == ("s1", "female", "x", "angry", "train")
    assert (first.transcript, first.valence, first.arousal, first.dominance) == ("Well, no.", 1.5, 4.0, None)
    assert first.votes == {"angry": 3, "sad": 1}
    assert (second.transcript, second.arousal, second.votes, second.sex) == (None, None, None, "male")


@pytest.mark.parametrize("kind", ["tsv", "parquet"])
def test_other_kinds_of_file_read_the_same(root, kind):
    expected = read(root, FULL)
    frame = pd.read_csv(root / "table.csv")
    if kind == "tsv":
        frame.to_csv(root / "table.tsv", sep="\t", index=False)
    else:
        frame.to_parquet(root / "table.parquet")
    assert TableCorpus(f"table.{kind}").utterances(root) == expected


def test_parquet_speaker_numbers_stay_whole(root):
    frame = pd.DataFrame({"path": ["one.wav", "two.wav"], "speaker": [3, None], "label": ["a", "b"]})
    frame.to_parquet(root / "table.parquet")
    first, second = TableCorpus("table.parquet", unknown_speakers=True).utterances(root)
    assert (first.speaker, second.speaker) == ("3", None)


def test_columns_are_renamed_and_ids_made(root):
    text = "\ufefffile;who,emotion,wav_file\nx,sad,sub\\three.wav\nx,angry,one.wav\n".replace("file;", "")
    rows = read(root, text, columns={"path": "wav_file", "speaker": "who", "label": "emotion"})
    assert [(row.id, row.path, row.speaker, row.label) for row in rows] == [
        ("sub/three", "sub/three.wav", "x", "sad"),
        ("one", "one.wav", "x", "angry"),
    ]


def test_segments_of_one_file_have_their_own_ids(root):
    rows = read(root, "path,start,end,speaker,label\none.wav,0,1.5,s,a\none.wav,1.5,,s,b\n")
    assert [row.id for row in rows] == ["one:0-1.5", "one:1.5-"]


def test_class_order(root):
    text = "path,speaker,label\none.wav,s,sad\ntwo.wav,s,angry\n"
    found, given = TableCorpus(write(root, text)), TableCorpus("table.csv", classes=["sad", "angry", "happy"])
    assert found.read(root).classes == ("angry", "sad")
    with pytest.raises(CorpusError, match="They are the labels found"):
        _ = found.classes  # reading changes no corpus
    assert given.classes == given.read(root).classes == ("sad", "angry", "happy")  # an order that was given is kept


def test_absolute_paths(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "t.csv").write_text(f"path,speaker,label\n{root}/sub/three.wav,s,a\n")
    (row,) = TableCorpus(str(elsewhere / "t.csv")).utterances(root)
    assert row.path == "sub/three.wav"
    with pytest.raises(CorpusError, match="outside the corpus root"):
        TableCorpus(str(elsewhere / "t.csv")).utterances(elsewhere)


def test_votes_or_dimensions_stand_in_for_labels(root):
    corpus = TableCorpus(write(root, "path,speaker,votes_sad,votes_angry\none.wav,s,1,2\n"))
    listing = corpus.read(root)
    (row,) = listing.rows
    assert (row.label, row.votes) == (None, {"sad": 1, "angry": 2})
    assert listing.classes == ("angry", "sad")
    (row,) = read(root, "path,speaker,label,valence\none.wav,s,,0.5\n", dimension_range=(-1, 1))
    assert (row.label, row.valence) == (None, 0.5)


def test_unknown_speakers_must_be_asked_for(root):
    text = "path,label\none.wav,a\n"
    with pytest.raises(CorpusError, match=r"no column 'speaker'.*unknown_speakers=true"):
        read(root, text)
    corpus = TableCorpus(write(root, text), unknown_speakers=True)
    listing = corpus.read(root)
    rows = listing.rows
    assert rows[0].speaker is None
    assert listing.notes(rows) == ["The speaker of 1 of 1 utterances is unknown."]
    with pytest.raises(CorpusError, match=r"row 1 has no speaker. Fill the cell"):
        read(root, "path,speaker,label\none.wav,,a\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pth,speaker,label\none.wav,s,a\n", "no column 'path'. Did you mean pth"),
        ("path,speaker,labels\none.wav,s,a\n", "nothing about emotion.*Did you mean labels"),
        ("path,speaker,label\none.wav,s,\n", "row 1 has an empty label"),
        ("path,speaker,valence,arousal\none.wav,s,,\n", "row 1 has no rating of valence or arousal. Fill"),
        ("path,speaker,label,valence\none.wav,s,,\n", "row 1 has an empty label and no rating of valence. Fill"),
        ("path,speaker,label\none.wav,s,a\n,s,a\n", "row 2 has no audio file"),
        ("path,speaker,label\none.wav,s,a\none.wav,s,b\n", r"row 2 is the utterance one again \(.*row 1\)"),
        (
            "path,speaker,label\none.wav,s,a\nnone.wav,s,a\nnil.wav,s,b\n",
            "row 2 names the recording none.wav, which.*So do 1 more rows",
        ),
        ("path,speaker,label,start,end\none.wav,s,a,2,1\n", "row 1 has start 2.0 and end 1.0"),
        ("path,speaker,label,start,end\none.wav,s,a,-1,1\n", "row 1 has start -1.0"),
        ("path,speaker,label,start\none.wav,s,a,early\n", "row 1: start holds 'early'"),
        ("path,speaker,label,start\none.wav,s,a,inf\n", "row 1: start holds 'inf'"),
        ('path,speaker,label,start\none.wav,s,a,"0,5"\n', "row 1: start holds '0,5'"),
        ("path,speaker,label,votes_a\none.wav,s,a,-1\n", "negative number of votes"),
        ("path,speaker,label,sex\none.wav,s,a,1\n", "the sex '1'"),
        ("path,speaker,label\none.wav,s\n", "row 1 has 2 cells and the header 3"),
        ("path,speaker,label,label\none.wav,s,a,b\n", "more than one column called label"),
        ("path,speaker,label\n", "no rows"),
        ("", "is empty"),
    ],
)
def test_wrong_tables_are_named(root, text, message):
    with pytest.raises(CorpusError, match=rf"table\.csv.*{message}"):
        read(root, text)


def test_the_first_of_many_rows_is_named(root):
    text = "path,speaker,label\n" + "".join(f"gone{number}.wav,s,a\n" for number in range(7))
    with pytest.raises(
        CorpusError, match=r"row 1 names the recording gone0.wav, .*relative to data.root. So do 6 more"
    ):
        read(root, text)


def test_wrong_options_are_named(root):
    text = "path,speaker,label,valence\none.wav,s,a,9\n"
    with pytest.raises(RecipeError, match=r"'speeker', which is no field. Did you mean speaker"):
        TableCorpus("table.csv", columns={"speeker": "who"})
    with pytest.raises(RecipeError, match="dimension_range"):
        TableCorpus("table.csv", dimension_range=(5.0, 1.0))
    with pytest.raises(CorpusError, match=r"no column 'emotion' \(for label\)"):
        read(root, text, columns={"label": "emotion"})
    with pytest.raises(CorpusError, match=r"row 1 has the label 'a', which is none of the classes b\. Add"):
        read(root, text, classes=["b"])
    with pytest.raises(CorpusError, match=r"row 1 has valence outside dimension_range \[1, 5\]"):
        read(root, text, dimension_range=(1.0, 5.0))
    with pytest.raises(CorpusError, match="no file at"):
        TableCorpus("absent.csv").utterances(root)
    with pytest.raises(CorpusError, match="unknown kind"):
        TableCorpus(write(root, text, "table.xlsx")).utterances(root)


def test_latin1_text_is_refused_in_one_line(root):
    (root / "table.csv").write_bytes("path,speaker,label\none.wav,s,wütend\n".encode("latin-1"))
    with pytest.raises(CorpusError, match="Expected UTF-8"):
        TableCorpus("table.csv").utterances(root)


def test_listing_corpora_imports_neither_torch_nor_pandas():
    code = "import sys, ser_toolkit.corpora; print([m for m in ('torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "mark", "said"),
    [
        ("t.csv", ";", "semicolons, expected commas in a .csv"),
        ("t.csv", "\t", "tabs, expected commas"),
        ("t.tsv", ",", "commas, expected tabs in a .tsv"),
    ],
)
def test_another_separator_is_named(root, name, mark, said):
    write(root, FULL.replace('"Well, no."', "").replace(",", mark), name)
    with pytest.raises(CorpusError, match=f"separated by {said}"):
        TableCorpus(name).utterances(root)


def test_paths_do_not_lead_out_of_the_root(root):
    def rows(path, place):
        return TableCorpus(write(root, f"path,speaker,label\n{path},a,sad\n")).utterances(place)

    for path in ("../one.wav", f"{root}/../one.wav", "sub/../../one.wav"):
        with pytest.raises(CorpusError, match=r"row 1 has the path .*outside the corpus root"):
            rows(path, root)
    for path in ("sub/../one.wav", f"{root}/sub/../one.wav"):
        assert (root / rows(path, root / "sub" / "..")[0].path).is_file()


def test_dimensions_alone_have_no_classes_unless_they_are_given(root):
    text = "path,speaker,valence\none.wav,a,0.5\n"
    corpus = TableCorpus(write(root, text))
    with pytest.raises(CorpusError, match=r"no classes are given"):
        _ = corpus.classes
    assert corpus.read(root).classes == ()
    assert read(root, text, classes=["angry"])[0].valence == 0.5


def test_a_name_that_no_file_can_have_is_named(root):
    with pytest.raises(CorpusError, match="row 1 names the recording xxx"):
        read(root, f"path,speaker,label\n{'x' * 300}.wav,a,sad\n")


def test_a_parquet_column_of_bytes_is_named(root):
    pd.DataFrame({"path": ["one.wav"], "speaker": ["a"], "label": ["b"], "audio": [b"\xff"]}).to_parquet(
        root / "t.parquet"
    )
    with pytest.raises(CorpusError, match=r"a column of bytes.*HuggingFaceAudio"):
        TableCorpus("t.parquet").utterances(root)
