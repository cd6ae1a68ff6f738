from __future__ import annotations

import wave
from collections import Counter
from pathlib import Path

import pytest
from corpus_replicas import MOSEI_HEADER, cmu_mosei, notes_of, touch

from ser_toolkit.corpora.base import Rating, deviations
from ser_toolkit.corpora.cmu_mosei import CMUMOSEI
from ser_toolkit.data.prepare import table_from_rows
from ser_toolkit.errors import CorpusError, RecipeError
from ser_toolkit.protocols.splits import OfficialFolds

# Means of three annotators as the label file has them: sentiment, happy, sad, anger, surprise, disgust, fear.
TABLE = MOSEI_HEADER + (
    "-3g_A,0,82.753,100.555,1.0,0.6666667,0.0,0.0,0.0,0.0,0.0\n"
    "-3g_A,1,-0.457596371882,1.77959183673,-1.0,0.0,1.0,1.0,0.0,0.333333,0.0\n"
    "-3g_A,2,4.84,14.052,0.333333,0.0,0.0,0.0,0.0,0.0,0.0\n"
    "81406,0,0.0,9.213,-2.666667,0.0,0.0,0.3333333,0.0,1.3333333,0.0\n"
    "b__c_,0,3.144,10.57,0.0,0.0,0.0,0.0,0.0,0.0,0.3333333\n"
    "b__c_,1,16.803,25.785,0.0,0.0,0.0,0.0,3.0,0.0,1.0\n"
    "nowhere,0,0.0,2.0,0.0,1.0,0.0,0.0,0.0,0.0,0.0\n"
)
LISTS = (
    "standard_train_fold=['-3g_A', 'not labelled']\n\nstandard_test_fold=['b__c_']\n\nstandard_valid_fold=['81406']\n"
)
# Segment, start, end, part, label, sentiment, typed by hand.
ROWS = [
    ("-3g_A_0", 82.753, 100.555, "train", "happy", 1.0),
    ("-3g_A_1", 0.0, 1.77959183673, "train", None, -1.0),
    ("-3g_A_2", 4.84, 14.052, "train", None, 0.333333),
    ("81406_0", 0.0, 9.213, "dev", "disgusted", -2.666667),
    ("b__c__0", 3.144, 10.57, "test", "fearful", 0.0),
    ("b__c__1", 16.803, 25.785, "test", "surprised", 0.0),
]
# Of s3prl's table: label6 counts from happy, label7 is rounded sentiment, split 0 train, 1 dev, 2 test, 3 none.
S3PRL = (
    ",file,index,start,end,label2a,label2b,label6,label7,split\n"
    "0,-3g_A,0,82.753,100.555,1,1,0,1,0\n1,81406,0,0.0,9.213,0,-1,4,-3,1\n2,b__c_,0,3.144,10.57,1,0,5,0,2\n"
    "3,nowhere,0,-0.5,2.0,1,0,0,0,3\n"
)
TRANSCRIPTS = {
    "-3g_A": "-3g_A___4___82.753___100.555___I said ___ wow \n-3g_A___x\n-3g_A___2___-0.457596___1.779592___Hello\n",
    "b__c_": "b__c____0___3.144___10.57___Oh no\n",
}
ANSWERS = (
    "HITId,WorkerId,Input.VIDEO_ID,Input.CLIP,Answer.anger,Answer.disgust,Answer.fear,Answer.happiness,"
    "Answer.sadness,Answer.sentiment,Answer.surprise\n"
    "H1,W1,-3g_A,4,0,0,0,2,0,1,0\nH1,W2,batch/-3g_A,4,0,0,0,1,0,1,3\nH1,W3,-3g_A,4,0,0,0,0,0,,0\n"
    "H2,W1,b__c_,0,0,0,1,0,0,-1,0\n"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The raw data with its folder Raw, and the two small files beside it."""
    touch(
        tmp_path, [f"Raw/Audio/Full/WAV_16000/{video}.wav" for video in ("-3g_A", "81406", "b__c_", "nowhere", "more")]
    )
    (tmp_path / "CMU_MOSEI_Labels.csv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "cmu_mosei_std_folds.py").write_text(LISTS, encoding="utf-8")
    return tmp_path


def with_answers(root: Path) -> Path:
    texts = {f"Raw/Transcript/Segmented/Combined/{video}.txt": text for video, text in TRANSCRIPTS.items()}
    texts |= {"Raw/Labels/5000_batch_raw.csv": ANSWERS, "Raw/Labels/notes.csv": "a,b\n1,2\n"}
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_rows_say_what_table_and_lists_say(root: Path) -> None:
    rows = CMUMOSEI().utterances(root)
    assert [(r.id, r.start, r.end, r.fold, r.label, r.valence) for r in rows] == ROWS
    first = rows[0]
    assert (first.path, first.speaker, first.dialogue) == ("Raw/Audio/Full/WAV_16000/-3g_A.wav", "-3g_A", "-3g_A")
    assert (first.language, first.style, first.transcript, first.turn) == ("en", "natural", None, None)


def test_several_emotions_are_shares_of_their_intensities(root: Path) -> None:
    rows = {row.id: row.votes for row in CMUMOSEI().utterances(root)}
    assert rows["-3g_A_0"] == {"happy": 1.0}
    assert rows["-3g_A_1"] == pytest.approx({"sad": 3 / 7, "angry": 3 / 7, "disgusted": 1 / 7}, abs=1e-6)
    assert rows["-3g_A_2"] is None
    assert rows["b__c__1"] == pytest.approx({"surprised": 0.75, "fearful": 0.25})


def test_neutral_is_where_no_emotion_was_found(root: Path) -> None:
    corpus = CMUMOSEI(class_set="seven")
    listing = corpus.read(root)
    rows = listing.rows
    assert [row.label for row in rows] == ["happy", None, "neutral", "disgusted", "fearful", "surprised"]
    assert rows[2].votes == {"neutral": 1.0}
    assert corpus.classes == ("angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised")
    assert "1 of 6 segments have no label: two emotions are equally strong." in listing.notes(rows)


def test_reports_are_told_what_was_assumed_and_left_out(root: Path) -> None:
    corpus = CMUMOSEI()
    assert notes_of(corpus, root) == [
        "Valence is the sentiment of what is said, from -3 to 3.",
        "The speaker is the video: who speaks in several videos is not known, so that parts may share speakers.",
        "2 of 6 segments have no label: two emotions are equally strong, or none was found.",
        "1 segments of the table are in no official part and are left out.",
        "2 recordings have no labelled segment in an official part.",
    ]


def test_single_answers_are_found_through_the_transcripts(root: Path) -> None:
    corpus = CMUMOSEI(votes="raters")
    listing = corpus.read(with_answers(root))
    rows = {row.id: row for row in listing.rows}
    happy = rows["-3g_A_0"]
    assert (happy.turn, happy.transcript, happy.label) == ("4", "I said ___ wow", "happy")
    assert happy.votes == {"happy": 1.5, "surprised": 0.5}
    assert happy.ratings == (
        Rating("W1", ("happy",), valence=1.0),
        Rating("W2", ("happy", "surprised"), valence=1.0),
        Rating("W3"),
    )
    assert (rows["b__c__0"].votes, rows["b__c__0"].transcript) == ({"fearful": 1}, "Oh no")
    assert (rows["-3g_A_1"].transcript, rows["-3g_A_1"].votes, rows["-3g_A_1"].ratings) == ("Hello", None, ())
    seven = CMUMOSEI(class_set="seven", votes="raters").utterances(root)[0]
    assert (seven.ratings[2], seven.votes) == (
        Rating("W3", ("neutral",)),
        {"happy": 1.5, "neutral": 1, "surprised": 0.5},
    )
    assert "4 of 6 segments have no single answers." in listing.notes(listing.rows)


def test_the_strongest_emotion_of_s3prl(root: Path) -> None:
    (root / "CMU_MOSEI_Labels.csv").write_text(S3PRL, encoding="utf-8")
    (root / "cmu_mosei_std_folds.py").unlink()
    corpus = CMUMOSEI(labels="label6")
    listing = corpus.read(root)
    rows = listing.rows
    assert [(r.id, r.fold, r.label, r.valence, r.votes) for r in rows] == [
        ("-3g_A_0", "train", "happy", 1.0, None),
        ("81406_0", "dev", "disgusted", -3.0, None),
        ("b__c__0", "test", "fearful", 0.0, None),
    ]
    assert any("label6 calls a segment happy where no emotion was found" in said for said in listing.notes(rows))


def test_published_counts(root: Path) -> None:
    assert CMUMOSEI().expected.utterances == 22860 == 16327 + 1871 + 4662
    counts = CMUMOSEI(labels="label6").expected.classes
    assert sum(counts.values()) == 22860
    assert max(counts, key=lambda label: counts[label]) == "happy"
    assert deviations(CMUMOSEI().utterances(root), CMUMOSEI().expected) == ["6 utterances in all, expected 22860"]


def test_official_parts(tmp_path: Path) -> None:
    table = table_from_rows(CMUMOSEI().utterances(cmu_mosei().write(tmp_path)))
    (fold,) = OfficialFolds(leak="videos").folds(table)
    assert Counter(map(len, (fold.train, fold.dev, fold.test))) == {6: 3}
    assert Counter(table["label"]) == dict.fromkeys(CMUMOSEI().classes, 3)


def test_segments_that_s3prl_cut(root: Path) -> None:
    (root / "Raw/Audio/Full").rename(root / "elsewhere")
    names = [f"{part}/{name}" for name, _, _, part, *_ in ROWS]
    touch(root, [f"Raw/Audio/Segmented_Audio/{name}.wav" for name in names])
    rows = CMUMOSEI().utterances(root)
    assert [row.path for row in rows] == [f"Raw/Audio/Segmented_Audio/{name}.wav" for name in names]
    assert {(row.start, row.end) for row in rows} == {(None, None)}


def test_the_folder_raw_may_be_the_root(root: Path) -> None:
    (root / "CMU_MOSEI_Labels.csv").rename(root / "Raw" / "CMU_MOSEI_Labels.csv")
    assert [row.id for row in CMUMOSEI().utterances(root)] == [row[0] for row in ROWS]
    (root / "cmu_mosei_std_folds.py").rename(root / "Raw" / "cmu_mosei_std_folds.py")
    rows = CMUMOSEI(votes="raters").utterances(with_answers(root) / "Raw")
    assert (rows[0].path, rows[0].turn, len(rows[0].ratings)) == ("Audio/Full/WAV_16000/-3g_A.wav", "4", 3)


def test_a_segment_ends_with_its_recording_at_the_latest(root: Path) -> None:
    with wave.open(str(root / "Raw/Audio/Full/WAV_16000/b__c_.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 16000 * 9))
    rows = {row.id: row.end for row in CMUMOSEI().utterances(root)}
    assert rows["b__c__0"] == 9.0
    assert rows["b__c__1"] == 25.785, "it begins behind the end: the manifest says so"
    assert rows["81406_0"] == 9.213


@pytest.mark.parametrize(("old", "new", "said"), [
    ("1.0,0.6666667", "1.0,3.5", r"row 1 has happy '3\.5'\. Expected a number from 0 to 3"),
    ("100.555,1.0", "100.555,-4", "row 1 has sentiment '-4'. Expected a number from -3 to 3"),
    ("82.753", "late", "row 1 has start 'late'. Expected a number"),
    ("100.555", "80", "row 1 goes from 82.753 to 80 s"),
    ("-3g_A,1,", "-3g_A,0,", "has segment 0 of -3g_A more than once"),
    (",sad,", ",sorrow,", "has no column sad: it is made from .*csd .*labels=label6"),
])  # fmt: skip
def test_bad_tables_are_named(root: Path, old: str, new: str, said: str) -> None:
    (root / "CMU_MOSEI_Labels.csv").write_text(TABLE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(CorpusError, match=said):
        CMUMOSEI().utterances(root)


def test_bad_copies_are_named(root: Path) -> None:
    lists, table = root / "cmu_mosei_std_folds.py", root / "CMU_MOSEI_Labels.csv"
    with pytest.raises(CorpusError, match=r"no column label6, label7.*labels=intensities"):
        CMUMOSEI(labels="label6").utterances(root)
    with pytest.raises(CorpusError, match=r"votes=raters needs .*the transcripts say when"):
        CMUMOSEI(votes="raters").utterances(root)
    (with_answers(root) / "Raw/Labels/5000_batch_raw.csv").unlink()
    with pytest.raises(CorpusError, match=r"no answers of annotators \(found: notes\.csv\)"):
        CMUMOSEI(votes="raters").utterances(root)
    (root / "Raw/Audio/Full/WAV_16000/81406.wav").unlink()
    with pytest.raises(CorpusError, match=r"1 of 6 utterances have no audio .*81406\.wav"):
        CMUMOSEI().utterances(root)
    lists.write_text("standard_train_fold=['a']", encoding="utf-8")
    with pytest.raises(CorpusError, match="has no list standard_valid_fold"):
        CMUMOSEI().utterances(root)
    lists.unlink()
    with pytest.raises(CorpusError, match=r"no official parts: there is no cmu_mosei_std_folds\.py"):
        CMUMOSEI().utterances(root)
    lists.write_text(LISTS, encoding="utf-8")
    (root / "Raw/Audio").rename(root / "Audio")
    with pytest.raises(CorpusError, match="has neither Raw/Audio/Full/WAV_16000 nor Raw/Audio/Segmented_Audio"):
        CMUMOSEI().utterances(root)
    table.unlink()
    with pytest.raises(CorpusError, match=r"has no CMU_MOSEI_Labels\.csv\. Make it from"):
        CMUMOSEI().utterances(root)


def test_bad_options_are_named() -> None:
    with pytest.raises(RecipeError, match=r"class_set 'sevn' is unknown\. Did you mean seven"):
        CMUMOSEI(class_set="sevn")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="labels=label6 knows neither segments without emotion nor annotators"):
        CMUMOSEI(labels="label6", class_set="seven")
