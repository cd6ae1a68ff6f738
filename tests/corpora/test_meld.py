from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from corpus_replicas import MELD_HEADER, meld, notes_of, touch

from ser_toolkit.corpora.meld import MELD
from ser_toolkit.data.prepare import table_from_rows
from ser_toolkit.errors import CorpusError, SplitError
from ser_toolkit.protocols.splits import OfficialFolds

# Rows as the published tables have them, and what they say, typed by hand.
TRAIN = MELD_HEADER + (
    "1,also I was the point person on my company’s transition from the KL-5 to GR-6 system.,Chandler,neutral,neutral,"
    '0,0,8,21,"00:16:16,059","00:16:21,731"\n'
    '2,"Wow, you must’ve had your hands full.",The Interviewer,joy,positive,0,1,8,21,"00:16:21,940","00:16:23,442"\n'
    '4,It is not there.,Monica,anger,negative,125,3,3,9,"00:16:21,940","00:16:23,442"\n'
)
DEV = MELD_HEADER + (
    '1,"Oh my God, he’s lost it.",Phoebe,sadness,negative,0,0,4,7,"00:20:57,256","00:21:00,049"\n'
    '2,Missing.,Ross,fear,negative,110,7,4,7,"00:20:57,256","00:21:00,049"\n'
)
TEST = MELD_HEADER + (
    '1,Why?,Mark,surprise,positive,0,0,3,19,"00:14:38,127","00:14:40,378"\n'
    '2,Ew.,Rachel,disgust,negative,0,1,3,19,"00:14:38,127","00:14:40,378"\n'
)
ROWS = [
    ("train_dia0_utt0", "Chandler", "male", "neutral", "s08e21", "train_dia0", "utt0", "train"),
    ("train_dia0_utt1", "The Interviewer", None, "happy", "s08e21", "train_dia0", "utt1", "train"),
    ("dev_dia0_utt0", "Phoebe", "female", "sad", "s04e07", "dev_dia0", "utt0", "dev"),
    ("test_dia0_utt0", "Mark", None, "surprised", "s03e19", "test_dia0", "utt0", "test"),
    ("test_dia0_utt1", "Rachel", "female", "disgusted", "s03e19", "test_dia0", "utt1", "test"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The release as its archives unpack, with the files in it that belong to no utterance."""
    names = [
        "train/train_splits/dia0_utt0.wav",
        "train/train_splits/dia0_utt0.mp4",
        "train/train_splits/dia0_utt1.flac",
        "train/train_splits/dia125_utt3.mp4",
        "dev_splits_complete/dia0_utt0.wav",
        "output_repeated_splits_test/dia0_utt0.wav",
        "output_repeated_splits_test/dia0_utt1.wav",
        "output_repeated_splits_test/final_videos_testdia0_utt1.mp4",
        "output_repeated_splits_test/._dia0_utt1.mp4",
    ]
    touch(tmp_path, names)
    (tmp_path / "train" / "train_sent_emo.csv").write_text(TRAIN, encoding="utf-8")
    (tmp_path / "dev_sent_emo.csv").write_text(DEV, encoding="utf-8")
    (tmp_path / "test_sent_emo.csv").write_text(TEST, encoding="utf-8")
    return tmp_path


def test_rows_say_what_the_tables_say(root: Path) -> None:
    rows = MELD().utterances(root)
    found = [(r.id, r.speaker, r.sex, r.label, r.session, r.dialogue, r.turn, r.fold) for r in rows]
    assert found == ROWS
    assert [row.path for row in rows[:3]] == [
        "train/train_splits/dia0_utt0.wav",
        "train/train_splits/dia0_utt1.flac",
        "dev_splits_complete/dia0_utt0.wav",
    ]
    assert rows[1].transcript == "Wow, you must’ve had your hands full."
    assert (rows[1].raw_label, rows[1].language) == ("joy", "en")
    assert notes_of(MELD(), root) == [
        "Left out, because their video is damaged or missing: train_dia125_utt3, dev_dia110_utt7."
    ]


def test_tables_and_folders_may_lie_elsewhere(root: Path) -> None:
    above = root / "above" / "MELD.Raw"
    above.mkdir(parents=True)
    for entry in list(root.iterdir()):
        if entry.name != "above":
            entry.rename(above / entry.name)
    (above / "train" / "train_sent_emo.csv").rename(above / "train_sent_emo.csv")
    rows = MELD().utterances(root / "above")
    assert [row.id for row in rows] == [row[0] for row in ROWS]
    assert rows[0].path == "MELD.Raw/train/train_splits/dia0_utt0.wav"


def test_published_counts() -> None:
    expected = MELD().expected
    assert expected.utterances == 13706 == 9988 + 1108 + 2610 == sum(expected.classes.values())
    assert expected.classes["happy"] == 2308


def test_the_official_split_is_told_to_leak(tmp_path: Path) -> None:
    table = table_from_rows(MELD().utterances(meld().write(tmp_path)))
    (fold,) = OfficialFolds(leak="main characters").folds(table)
    assert Counter(map(len, (fold.train, fold.dev, fold.test))) == {7: 3}
    with pytest.raises(SplitError, match="share speakers"):
        OfficialFolds().folds(table)


def test_videos_alone_are_answered_with_a_command(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ser_toolkit.corpora.meld.find_spec", lambda name: None)
    file = root / "train" / "train_splits" / "dia0_utt0.wav"
    file.unlink()
    with pytest.raises(
        CorpusError, match=r"1 of 2 train utterances .*dia0_utt0; they are videos only.*ffmpeg -i.*\[video\]"
    ):
        MELD().utterances(root)
    (root / "train" / "train_splits" / "dia0_utt0.mp4").unlink()
    with pytest.raises(CorpusError, match="no file at all for some"):
        MELD().utterances(root)


def test_videos_are_read_where_they_can_be_decoded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ser_toolkit.corpora.meld.find_spec", lambda name: object())
    folder = root / "train" / "train_splits"
    assert MELD().utterances(root)[0].path.endswith("dia0_utt0.wav")
    (folder / "dia0_utt0.wav").unlink()
    assert MELD().utterances(root)[0].path == "train/train_splits/dia0_utt0.mp4"


def test_bad_copies_are_named(root: Path) -> None:
    table = root / "dev_sent_emo.csv"
    table.write_text(DEV.replace("sadness", "sorrow"), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"dev_sent_emo\.csv, row 1 has the emotion 'sorrow'"):
        MELD().utterances(root)
    table.write_text(DEV.replace("Dialogue_ID", "Dialogue"), encoding="utf-8")
    with pytest.raises(CorpusError, match="no column Dialogue_ID"):
        MELD().utterances(root)
    table.unlink()
    with pytest.raises(CorpusError, match=r"dev partition is missing: there is no table dev_sent_emo\.csv"):
        MELD().utterances(root)
    table.write_text(DEV, encoding="utf-8")
    (root / "output_repeated_splits_test").rename(root / "elsewhere")
    with pytest.raises(CorpusError, match="test partition is missing: there is no folder output_repeated_splits_test"):
        MELD().utterances(root)
    with pytest.raises(CorpusError, match="no folder at"):
        MELD().utterances(root / "nowhere")
