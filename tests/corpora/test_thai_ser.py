from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from corpus_replicas import notes_of, thai_ser, touch

from ser_toolkit.corpora.annotations.thai_ser import RecordingName, read_sexes
from ser_toolkit.corpora.base import Rating, deviations
from ser_toolkit.corpora.thai_ser import THAISER
from ser_toolkit.data.prepare import table_from_rows
from ser_toolkit.errors import CorpusError, RecipeError
from ser_toolkit.protocols.splits import OfficialFolds

# The label file as it is documented: three to eight annotators, of whom each may name several emotions.
LABELS: dict[str, Any] = {
    "s001_con_actor001_script2_1_3b.flac": ("Happy", [["Happy"], ["Happy"], ["Happy"], ["Neutral"]]),
    "s001_con_actor002_impro4_12.flac": ("Frustrated", [["Angry"], ["Angry", "Frustrated"], ["Frustrated"]]),
    "s001_con_actor002_impro4_13.flac": ("Frustrated", [["Angry", "Other"], ["Angry"], ["Angry"]]),
    "s018_con_actor036_script3_2_1a.flac": ("Neutral", [["None"], ["Neutral"], ["Neutral"]]),
    "s080_con_actor159_impro1_1.flac": ("Neutral", [["Other"], ["None"]]),
    "z020_mic_actor200_script1_2_4a.flac": ("Sad", [["Sad"], ["Sad"], ["Sad"], ["Neutral", "Sad"]]),
}
# Name, actor, sex, session, scene, sentence, style, fold, perceived label, typed by hand from the rule of 71 %.
ROWS = [
    ("s001_actor001_script2_1_3b", "001", "male", "studio001", None, "2", "scripted", "0", "happy"),
    ("s001_actor002_impro4_12", "002", "female", "studio001", "studio001_impro4", None, "improvised", "0", None),
    ("s001_actor002_impro4_13", "002", "female", "studio001", "studio001_impro4", None, "improvised", "0", "angry"),
    ("s018_actor036_script3_2_1a", "036", None, "studio018", None, "3", "scripted", "1", None),
    ("s080_actor159_impro1_1", "159", None, "studio080", "studio080_impro1", None, "improvised", "7", None),
    ("z020_actor200_script1_2_4a", "200", None, "zoom020", None, "1", "scripted", "9", "sad"),
]
PEOPLE = [{"Actor's ID": "001", "Sex": "Male", "Age": 30}, {"Actor's ID": "002", "Sex": "Female", "Age": 22}]


def folder_of(name: str) -> str:
    kind, microphone = ("studio" if name[0] == "s" else "zoom"), name.split("_")[1]
    return f"{kind}{name[1:4]}/{microphone}/{name}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    touch(tmp_path, [folder_of(name) for name in LABELS])
    write_labels(tmp_path, LABELS)
    (tmp_path / "actor_demography.json").write_text(json.dumps({"data": PEOPLE}), encoding="utf-8")
    return tmp_path


def write_labels(root: Path, labels: dict[str, Any]) -> None:
    entries = {
        name: [{"assigned_emo": asked, "majority_emo": "x", "annotated": answers, "agreement": 0.5}]
        for name, (asked, answers) in labels.items()
    }
    (root / "emotion_label.json").write_text(json.dumps(entries), encoding="utf-8")


def test_rows_say_what_names_and_label_file_say(root: Path) -> None:
    rows = THAISER().utterances(root)
    found = [(r.id, r.speaker, r.sex, r.session, r.dialogue, r.sentence, r.style, r.fold, r.label) for r in rows]
    assert found == ROWS
    assert rows[0].path == "studio001/con/s001_con_actor001_script2_1_3b.flac"
    assert (rows[0].raw_label, rows[0].turn, rows[0].language) == ("happy", "actor001_1_3b", "th")
    assert (rows[0].transcript or "").startswith("อ่านหนังสือพิมพ์")
    assert (rows[1].turn, rows[1].transcript) == ("actor002_12", None)


def test_annotators_become_votes_and_ratings(root: Path) -> None:
    rows = {row.id: row for row in THAISER().utterances(root)}
    assert rows["s001_actor001_script2_1_3b"].votes == {"happy": 3, "neutral": 1}
    assert rows["s001_actor002_impro4_12"].votes == {"angry": 1.5, "frustrated": 1.5}
    assert rows["s001_actor002_impro4_13"].votes == {"angry": 3}, "other beside an emotion does not count"
    assert rows["s018_actor036_script3_2_1a"].votes == {"neutral": 2, "other": 1}
    assert rows["s080_actor159_impro1_1"].votes == {"other": 2}
    assert rows["s001_actor002_impro4_12"].ratings == (
        Rating("annotator 1", ("angry",)),
        Rating("annotator 2", ("angry", "frustrated")),
        Rating("annotator 3", ("frustrated",)),
    )


@pytest.mark.parametrize(("agreement", "labels"), [
    (0.66, ["happy", None, "angry", "neutral", None, "sad"]),
    (0.76, [None, None, "angry", None, None, "sad"]),
    (0.875, [None, None, "angry", None, None, "sad"]),  # 3.5 of 4 are enough for exactly this
    (0.01, ["happy", None, "angry", "neutral", None, "sad"]),  # a tie never has a label
])  # fmt: skip
def test_a_label_needs_agreement(root: Path, agreement: float, labels: list[str | None]) -> None:
    assert [row.label for row in THAISER(agreement=agreement).utterances(root)] == labels


def test_the_assigned_emotion_and_reports(root: Path) -> None:
    corpus = THAISER(labels="assigned")
    listing = corpus.read(root)
    rows = listing.rows
    assert [row.label for row in rows] == ["happy", "frustrated", "frustrated", "neutral", "neutral", "sad"]
    assert listing.notes(rows) == []
    perceived = THAISER()
    (said,) = notes_of(perceived, root)
    assert said.startswith("3 of 6 utterances have no emotion that 71% of their annotators heard")
    assert [row.id for row in THAISER(zoom=False).utterances(root)] == [row[0] for row in ROWS[:5]]


def test_other_microphones_share_the_label(root: Path) -> None:
    touch(root, [folder_of("s001_clip_actor001_script2_1_3b.flac"), folder_of("s001_clip_actor001_impro9_1.flac")])
    corpus = THAISER("clip", labels="assigned")
    listing = corpus.read(root)
    rows = listing.rows
    assert [row.path for row in rows] == [
        "studio001/clip/s001_clip_actor001_script2_1_3b.flac",
        "zoom020/mic/z020_mic_actor200_script1_2_4a.flac",
    ]
    assert rows[0].id == "s001_actor001_script2_1_3b"
    assert listing.notes(rows) == [
        "4 labelled utterances have no recording of the microphone clip.",
        "1 recordings have no entry in the label file and are left out.",
    ]
    assert corpus.expected.utterances is None


def test_the_published_size() -> None:
    expected = THAISER().expected
    assert (expected.utterances, expected.minutes) == (27854, 41 * 60 + 36)
    assert THAISER(zoom=False).expected.utterances is None


def test_ten_published_folds_of_ten_sessions() -> None:
    names = [f"s{n:03d}_con_actor001_impro1_1.flac" for n in range(1, 81)]
    names += [f"z{n:03d}_mic_actor161_impro1_1.flac" for n in range(1, 21)]
    found = [recording.fold for name in names if (recording := RecordingName.named(name))]
    assert Counter(found) == {str(fold): 10 for fold in range(10)}
    assert found[9:11] == ["0", "1"]
    assert found[80:91:10] == ["8", "9"]


def test_published_folds_share_no_speaker(tmp_path: Path) -> None:
    table = table_from_rows(THAISER().utterances(thai_ser().write(tmp_path)))
    folds = OfficialFolds().folds(table)
    assert [len(fold.test) for fold in folds] == [20, 20, 20, 20]


@pytest.mark.parametrize("name", [
    "s081_con_actor001_impro1_1", "z021_mic_actor001_impro1_1", "s001_mic_actor001_impro1_1",
    "z001_con_actor1_impro1_1", "s001_con_actor001_script4_1_1a", "s001_con_actor001_script1_1_6a",
    "s001_con_actor001_impro1_1_1a", "speech",
])  # fmt: skip
def test_other_names_are_refused(root: Path, name: str) -> None:
    touch(root, [f"{name}.flac"])
    with pytest.raises(CorpusError, match=f"{name}.flac under .* is not named like a recording"):
        THAISER().utterances(root)


def test_incomplete_copies_are_named(root: Path) -> None:
    (root / folder_of("s001_con_actor002_impro4_13.flac")).unlink()
    with pytest.raises(CorpusError, match=r"1 recordings of .* missing .*: s001_con_actor002_impro4_13\.flac"):
        THAISER().utterances(root)
    for name in [name for name in LABELS if name.startswith("s001")]:
        (root / folder_of(name)).unlink(missing_ok=True)
    corpus = THAISER()
    listing = corpus.read(root)
    rows = listing.rows
    assert "3 labelled utterances are of 1 sessions that are not there: studio001." in listing.notes(rows)
    assert deviations(rows, corpus.expected) == ["3 utterances in all, expected 27854"]
    touch(root, [folder_of("s018_con_actor036_impro1_7.flac")])
    assert "1 recordings have no entry in the label file and are left out." in notes_of(corpus, root)


def test_bad_label_files_are_named(root: Path) -> None:
    name = "s001_con_actor001_script2_1_3b.flac"
    write_labels(root, {name: ("Happy", [["Hapy"]])})
    with pytest.raises(CorpusError, match=r"gives s001_con.* the emotion 'hapy'\. Did you mean happy"):
        THAISER().utterances(root)
    write_labels(root, {name: ("None", [["Happy"]])})
    with pytest.raises(CorpusError, match="the emotion 'none'"):
        THAISER().utterances(root)
    write_labels(root, {"a.flac": ("Happy", [["Happy"]])})
    with pytest.raises(CorpusError, match=r"has an entry for 'a\.flac'"):
        THAISER().utterances(root)
    write_labels(root, {"s079_con_actor157_impro1_1.flac": ("Happy", [["Happy"]])})
    with pytest.raises(CorpusError, match="no labelled recording of the microphone con"):
        THAISER().utterances(root)
    labels = root / "emotion_label.json"
    labels.write_text(json.dumps({name: [{"assigned_emo": "Happy"}]}), encoding="utf-8")
    with pytest.raises(CorpusError, match=f"no assigned_emo and annotated for {name}"):
        THAISER().utterances(root)
    labels.write_text("{}", encoding="utf-8")
    with pytest.raises(CorpusError, match="holds no labels"):
        THAISER().utterances(root)
    labels.write_text("{", encoding="utf-8")
    with pytest.raises(CorpusError, match="is no JSON"):
        THAISER().utterances(root)
    labels.unlink()
    with pytest.raises(CorpusError, match=r"has no emotion_label\.json"):
        THAISER().utterances(root)


def test_bad_actors_and_options_are_named(root: Path) -> None:
    people = root / "actor_demography.json"
    people.write_text('{"actors": []}', encoding="utf-8")
    with pytest.raises(CorpusError, match="does not list actors"):
        THAISER().utterances(root)
    people.unlink()
    assert read_sexes(people) == {}
    with pytest.raises(RecipeError, match=r"microphone 'mid' is unknown\. Did you mean middle"):
        THAISER("mid")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=r"agreement is 71.* at most 1"):
        THAISER(agreement=71)
