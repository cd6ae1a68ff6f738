from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpus_replicas import PODCAST_HEADER, notes_of, touch

from ser_toolkit.corpora import msp_podcast
from ser_toolkit.corpora.base import Rating
from ser_toolkit.corpora.msp_podcast import MSPPodcast
from ser_toolkit.data.prepare import table_from_rows
from ser_toolkit.errors import CorpusError, RecipeError, SplitError
from ser_toolkit.protocols.splits import OfficialFolds

CONSENSUS = (
    PODCAST_HEADER
    + """MSP-PODCAST_0001_0008.wav,N,2.2,4.0,2.6,30,Male,Train
MSP-PODCAST_0001_0009.wav,H,3.777778,5.555556,3.777778,39,Female,Train
MSP-PODCAST_0002_0011_0002.wav,C,4.125,2.75,4.0,Unknown,Unknown,Development
MSP-PODCAST_0003_0013.wav,X,3.0,3.75,3.166667,39,Female,Test1
MSP-PODCAST_0003_0016.wav,O,2.4,4.2,2.8,12,Male,Test1
MSP-PODCAST_0004_0020.wav,U,5.4,4.2,2.8,12,Male,Test2
"""
)
DETAILED = """FileName,EmoDetail
MSP-PODCAST_0001_0008.wav,"WORKER00000001; Neutral; Neutral,Concerned; A:2.000000; V:4.000000; D:3.000000;"
MSP-PODCAST_0001_0008.wav,"WORKER00000002; Neutral; A:2.000000; V:4.000000; D:2.000000;"
MSP-PODCAST_0001_0008.wav,"WORKER00000003; Other-V: calm; Neutral; A:3.000000; V:4.000000; D:2.000000;"
MSP-PODCAST_0003_0013.wav,"WORKER00000001; Surprise; Excited; A:3.000000; V:4.000000; D:3.000000;"
MSP-PODCAST_0003_0013.wav,"WORKER00000009; Fear; Fear; A:3.000000; V:3.500000; D:3.000000;"
"""
# Name, speaker, sex, podcast, turn, label, (valence, arousal, dominance), fold: typed by hand from the table above.
ROWS = [
    ("0001_0008", "30", "male", "0001", "0008", "neutral", (4.0, 2.2, 2.6), "train"),
    ("0001_0009", "39", "female", "0001", "0009", "happy", (5.555556, 3.777778, 3.777778), "train"),
    ("0002_0011_0002", None, None, "0002", "0011_0002", "contemptuous", (2.75, 4.125, 4.0), "dev"),
    ("0003_0013", "39", "female", "0003", "0013", None, (3.75, 3.0, 3.166667), "test1"),
    ("0003_0016", "12", "male", "0003", "0016", "other", (4.2, 2.4, 2.8), "test1"),
    ("0004_0020", "12", "male", "0004", "0020", "surprised", (4.2, 5.4, 2.8), "test2"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    touch(tmp_path, [f"Audios/MSP-PODCAST_{row[0]}.wav" for row in ROWS])
    touch(tmp_path, ["Audios/MSP-PODCAST_0009_0001.wav", "Audios/MSP-PODCAST_0009_0002.wav"])  # blind
    (tmp_path / "Labels").mkdir()
    (tmp_path / "Labels" / "labels_consensus.csv").write_text(CONSENSUS)
    (tmp_path / "Labels" / "labels_detailed.csv").write_text(DETAILED)
    return tmp_path


def as_json(root: Path) -> None:
    """The same labels as the JSON files have them."""
    header, *lines = [line.split(",") for line in CONSENSUS.strip().split("\n")]
    consensus = {line[0]: dict(zip(header[1:], line[1:], strict=True)) for line in lines}
    worker = {"EmoClass_Major": "Neutral", "EmoClass_Second": "Neutral,Sad", "EmoAct": "2", "EmoVal": 4, "EmoDom": 3}
    detailed = {"MSP-PODCAST_0001_0008.wav": {"WORKER00000001": worker, "WORKER00000002": worker}}
    for kind, content in (("consensus", consensus), ("detailed", detailed)):
        (root / "Labels" / f"labels_{kind}.csv").unlink()
        (root / "Labels" / f"labels_{kind}.json").write_text(json.dumps(content))


def test_rows_say_what_the_tables_say(root: Path) -> None:
    rows = MSPPodcast("all").utterances(root)
    found = [
        (
            r.id.removeprefix("MSP-PODCAST_"),
            *(r.speaker, r.sex, r.dialogue, r.turn, r.label),
            (r.valence, r.arousal, r.dominance),
            r.fold,
        )
        for r in rows
    ]
    assert found == ROWS
    assert rows[0].path == "Audios/MSP-PODCAST_0001_0008.wav"
    assert [row.raw_label for row in rows] == list("NHCXOU")
    assert rows[0].votes == {"neutral": 2, "other": 1}
    assert rows[3].votes == {"surprised": 1, "fearful": 1}
    assert (rows[1].votes, rows[0].ratings) == (None, ())


def test_single_raters_on_demand(root: Path) -> None:
    rows = MSPPodcast("all", raters=True).utterances(root)
    assert rows[0].ratings == (
        Rating("WORKER00000001", ("neutral",), valence=4, arousal=2, dominance=3),
        Rating("WORKER00000002", ("neutral",), valence=4, arousal=2, dominance=2),
        Rating("WORKER00000003", ("other",), valence=4, arousal=3, dominance=2),
    )
    assert rows[3].ratings[1].valence == 3.5


def test_class_sets_and_what_they_leave_out(root: Path) -> None:
    eight, four = MSPPodcast(), MSPPodcast("four")
    rows = eight.utterances(root)
    assert [row.label for row in rows] == ["neutral", "happy", "contemptuous", "surprised"]
    assert len(eight.classes) == 8
    assert notes_of(eight, root) == [
        "Partitions: 1 dev, 2 test1, 1 test2, 2 train: the sizes of no release known here.",
        "The speaker of 1 of 4 utterances is unknown (1 in dev).",
        "3 of 4 utterances have no answers of workers: is the detailed file complete?",
        "The class set eight leaves out 2 turns: 1 no agreement, 1 other.",
    ]
    assert [row.label for row in four.utterances(root)] == ["neutral", "happy"]


def test_the_official_split_is_told_that_speakers_are_unknown(root: Path) -> None:
    table = table_from_rows(MSPPodcast("four").utterances(root))
    table.loc[len(table)] = table.iloc[0]
    table["id"] = [f"{k}" for k in range(len(table))]
    table["fold"] = ["train", "train", "test1"]
    with pytest.raises(SplitError, match="share speakers"):
        OfficialFolds(dev="none").folds(table)
    with pytest.raises(SplitError, match="unknown"):
        OfficialFolds(dev="none").folds(table.assign(speaker=[None, "39", "30"]))
    (fold,) = OfficialFolds(dev="none", leak="unknown speakers").folds(table.assign(speaker=[None, "39", "30"]))
    assert (fold.name, len(fold.train), len(fold.test)) == ("test1", 2, 1)


def test_json_files_say_the_same(root: Path) -> None:
    from_csv = MSPPodcast("all").utterances(root)
    as_json(root)
    from_json = MSPPodcast("all", raters=True).utterances(root)
    assert [(r.id, r.label, r.speaker, r.valence, r.fold) for r in from_json] == [
        (r.id, r.label, r.speaker, r.valence, r.fold) for r in from_csv
    ]
    assert from_json[0].votes == {"neutral": 2}
    assert from_json[0].ratings[1] == Rating("WORKER00000002", ("neutral",), valence=4, arousal=2, dominance=3)


def test_columns_and_spellings_of_other_releases(root: Path) -> None:
    labels = root / "Labels"
    (labels / "labels_consensus.csv").rename(labels / "labels_concensus.csv")
    (root / "Audios").rename(root / "Audio")
    (labels / "labels_detailed.csv").write_text(
        "FileName,WorkerID,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom\n"
        'MSP-PODCAST_0001_0008.wav,WORKER00000001,Sad,"Sad,Tired",2,,3\n'
    )
    row = MSPPodcast("all", raters=True).utterances(root)[0]
    assert row.path == "Audio/MSP-PODCAST_0001_0008.wav"
    assert (row.votes, row.ratings) == ({"sad": 1}, (Rating("WORKER00000001", ("sad",), arousal=2, dominance=3),))


def test_votes_are_not_needed(root: Path) -> None:
    (root / "Labels" / "labels_detailed.csv").unlink()
    assert {row.votes for row in MSPPodcast("all").utterances(root)} == {None}


def test_the_blind_partition(root: Path) -> None:
    rows = MSPPodcast(test3=True).utterances(root)
    blind = [row for row in rows if row.fold == "test3"]
    assert [(row.id, row.label, row.speaker) for row in blind] == [
        ("MSP-PODCAST_0009_0001", None, None),
        ("MSP-PODCAST_0009_0002", None, None),
    ]
    (root / "Partitions.txt").write_text("Train; MSP-PODCAST_0009_0001.wav\nTest3; MSP-PODCAST_0009_0002.wav\n\n")
    rows = MSPPodcast(test3=True).utterances(root)
    assert [row.id for row in rows if row.fold == "test3"] == ["MSP-PODCAST_0009_0002"]
    (root / "Partitions.txt").write_text("Train; MSP-PODCAST_0001_0008.wav\n")
    with pytest.raises(CorpusError, match="no recording of the blind partition Test3"):
        MSPPodcast(test3=True).utterances(root)


def test_the_blind_partition_goes_by_its_names_and_alone(root: Path) -> None:
    touch(root, ["Audios/MSP-PODCAST_test3_0002.wav", "Audios/MSP-PODCAST_test3_0001.wav"])
    for row in ROWS:
        (root / "Audios" / f"MSP-PODCAST_{row[0]}.wav").unlink()
    names = ["MSP-PODCAST_test3_0001", "MSP-PODCAST_test3_0002"]  # not the two that merely have no label
    assert [(row.id, row.fold) for row in MSPPodcast().blind(root)] == [(name, "test3") for name in names]
    (root / "Partitions.txt").write_text("Train; MSP-PODCAST_0001_0008.wav\n")
    assert [row.id for row in MSPPodcast().blind(root)] == names
    assert MSPPodcast.file_name.fullmatch(names[0])
    (root / "Partitions.txt").write_text("Test3; MSP-PODCAST_test3_0002.wav\n" * 2)
    assert [row.id for row in MSPPodcast().blind(root)] == names[1:], "a recording is predicted once"
    (root / "Partitions.txt").write_text("Test3; MSP-PODCAST_test3_0003.wav\n")
    with pytest.raises(CorpusError, match=r"test3_0003\.wav.*Audios again"):
        MSPPodcast().blind(root)


def test_another_release_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CorpusError, match=r"not that of release 1\.11: train has 2, expected 84030; dev has 1"):
        MSPPodcast(release="1.11").utterances(root)
    assert MSPPodcast("all", release="1.11").expected.utterances == 149307
    monkeypatch.setitem(msp_podcast._SIZES, "1.11", {"train": 2, "dev": 1, "test1": 2, "test2": 1})
    corpus = MSPPodcast(release="1.11")
    assert notes_of(corpus, root)[0].endswith("release 1.11.")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",N,2.2", ",Z,2.2", "the class 'Z'"),
        ("Male,Train", "Male,Test9", "the partition 'Test9'"),
        (",N,2.2,", ",N,high,", "EmoAct 'high'. Expected a number from 1 to 7"),
        (",N,2.2,", ",N,7.5,", "EmoAct '7.5'"),
        ("SpkrID", "Speaker", "no column SpkrID"),
    ],
)
def test_edited_labels_are_named(root: Path, old: str, new: str, message: str) -> None:
    file = root / "Labels" / "labels_consensus.csv"
    file.write_text(CONSENSUS.replace(old, new, 1))
    with pytest.raises(CorpusError, match=r"labels_consensus\.csv.*" + message):
        MSPPodcast().utterances(root)


def test_wrong_folders_say_what_to_do(root: Path) -> None:
    (root / "Audios" / "MSP-PODCAST_0001_0009.wav").unlink()
    with pytest.raises(CorpusError, match=r"1 of 4 utterances have no audio .*0001_0009\.wav\. Copy .*Audios again"):
        MSPPodcast().utterances(root)
    (root / "Labels" / "labels_detailed.csv").write_text("FileName,Something\na,b\n")
    with pytest.raises(CorpusError, match="Expected FileName with EmoDetail"):
        MSPPodcast().utterances(root)
    (root / "Labels" / "labels_consensus.csv").unlink()
    with pytest.raises(CorpusError, match=r"no labels_consensus\.csv or labels_consensus\.json"):
        MSPPodcast().utterances(root)
    (root / "Audios").rename(root / "Sounds")
    with pytest.raises(CorpusError, match="has no Audios"):
        MSPPodcast().utterances(root)
    with pytest.raises(RecipeError, match="Did you mean eight"):
        MSPPodcast("eightt")  # type: ignore[arg-type]
