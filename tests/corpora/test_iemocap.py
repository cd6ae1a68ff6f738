"""The fixture text is typed from the release's documented format, and the expected rows are typed by hand beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_replicas import notes_of

from ser_toolkit.corpora.base import Rating, deviations
from ser_toolkit.corpora.iemocap import IEMOCAP
from ser_toolkit.errors import CorpusError, RecipeError

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
IMPROVISED = (
    HEADER
    + """[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 3.5000, 4.5000]
C-E2:\tNeutral;\t()
C-E3:\tNeutral state;\t()
C-E4:\tAnger; Frustration;\t(fed up (a bit), Sadness; val 5)
C-F1:\tExcited;\t(curious)
A-E3:\tval 3; act 2; dom  1;\t()
A-E4:\tval 2; act 3; dom  ;\t(val 5)
A-F1:\tval 1; act 5; dom  4;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M003\texc\t[4.0000, 4.5000, 3.0000]
C-E1:\tHappiness; Excited;\t()
C-E2:\tExcited;\t()
C-E4:\t;\t()
C-M1:\tExcited;\t()

[12.0000 - 14]\tSes01F_impro01_F001\txxx\t[2.0000, 2.0000, 2.0000]   \t
C-E1:\tSadness;\t()
C-E2:\tOther;\t(resigned)
C-E4:\tFear;\t()
"""
)
SCRIPTED = (
    HEADER
    + """[0.1000 - 2.0000]\tSes02M_script01_1b_F012\tfru\t[2.0000, 3.0000, 3.0000]
C-E1:\tFrustration;\t()
C-E2:\tFrustration;\t()
C-E5:\tDisgust;\t()
A-E1:\tval 2; act 3; dom  3;\t()

[3.0000 - 4.0000]\tSes02M_script01_1b_MXX0\thap\t[4.0000, 3.0000, 3.0000]
C-E1:\tHappiness;\t()
C-E2:\tHappiness;\t()
C-E5:\tSurprise;\t()
"""
)
OTHERS = {3: "sad", 4: "ang", 5: "neu"}
WORDS = """Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
M: [LAUGHTER]
Ses01F_impro01_M003 [010.0100-011.3925]: Do you have your forms? [LAUGHTER]

"""


def write_dialogue(root: Path, session: int, dialogue: str, text: str) -> None:
    folder = root / f"Session{session}"
    (folder / "dialog" / "EmoEvaluation").mkdir(parents=True, exist_ok=True)
    (folder / "dialog" / "EmoEvaluation" / f"{dialogue}.txt").write_text(text)
    audio = folder / "sentences" / "wav" / dialogue
    audio.mkdir(parents=True, exist_ok=True)
    for line in text.split("\n"):
        if line.startswith("["):
            (audio / f"{line.split()[3]}.wav").touch()


@pytest.fixture
def root(tmp_path):
    """Five small sessions in the release's layout, with the stray files that real copies have."""
    write_dialogue(tmp_path, 1, "Ses01F_impro01", IMPROVISED)
    write_dialogue(tmp_path, 2, "Ses02M_script01_1b", SCRIPTED)
    for session, code in OTHERS.items():
        dialogue = f"Ses0{session}F_impro02"
        write_dialogue(
            tmp_path,
            session,
            dialogue,
            f"{HEADER}[1.0 - 2.0]\t{dialogue}_F000\t{code}\t[3.0, 3.0, 3.0]\nC-E1:\tAnger;\t()\n",
        )
    labels = tmp_path / "Session1" / "dialog" / "EmoEvaluation"
    (labels / "._Ses01F_impro01.txt").write_bytes(b"\x00\x05\x16\x07binary [1.0 - 2.0]")
    for name in ("Attribute", "Categorical", "Self-evaluation"):
        (labels / name).mkdir()
        (labels / name / "Ses01F_impro01_e1.txt").write_text("Ses01F_impro01_F000 :act  3; :val  3; ()\n")
    (tmp_path / "Session1" / "sentences" / "wav" / "Ses01F_impro01" / "._Ses01F_impro01_F000.wav").touch()
    words = tmp_path / "Session1" / "dialog" / "transcriptions"
    words.mkdir()
    (words / "Ses01F_impro01.txt").write_text(WORDS)
    (words / "._Ses01F_impro01.txt").write_text("Ses01F_impro01_F000 [006.2901-008.2357]: not this")
    return tmp_path


def table(rows):
    return [(row.id, row.label, row.speaker, row.sex, row.session, row.dialogue, row.style) for row in rows]


SES1, SES2 = ("Session1", "Ses01F_impro01", "improvised"), ("Session2", "Ses02M_script01_1b", "scripted")
REST = [
    ("Ses03F_impro02_F000", "sad", "Ses03_F", "female", "Session3", "Ses03F_impro02", "improvised"),
    ("Ses04F_impro02_F000", "angry", "Ses04_F", "female", "Session4", "Ses04F_impro02", "improvised"),
    ("Ses05F_impro02_F000", "neutral", "Ses05_F", "female", "Session5", "Ses05F_impro02", "improvised"),
]


def test_four_classes(root):
    assert table(IEMOCAP().utterances(root)) == [
        ("Ses01F_impro01_F000", "neutral", "Ses01_F", "female", *SES1),
        ("Ses01F_impro01_M003", "happy", "Ses01_M", "male", *SES1),  # an F-named dialogue, spoken by the man
        ("Ses02M_script01_1b_MXX0", "happy", "Ses02_M", "male", *SES2),
        *REST,
    ]


def test_all_classes_keep_turns_without_agreement(root):
    assert table(IEMOCAP("all").utterances(root)) == [
        ("Ses01F_impro01_F000", "neutral", "Ses01_F", "female", *SES1),
        ("Ses01F_impro01_M003", "excited", "Ses01_M", "male", *SES1),
        ("Ses01F_impro01_F001", None, "Ses01_F", "female", *SES1),
        ("Ses02M_script01_1b_F012", "frustrated", "Ses02_F", "female", *SES2),
        ("Ses02M_script01_1b_MXX0", "happy", "Ses02_M", "male", *SES2),
        *REST,
    ]


def test_nine_classes_keep_all_turns_for_votes(root):
    corpus = IEMOCAP("nine")
    listing = corpus.read(root)
    rows = listing.rows
    assert len(rows) == len(IEMOCAP("all").utterances(root)) and listing.notes(rows) == []
    assert len(corpus.classes) == 9 and "other" not in corpus.classes
    assert rows[2].label is None and rows[2].votes == {"sad": 1, "other": 1, "fearful": 1}
    assert corpus.expected.classes == {k: n for k, n in IEMOCAP("all").expected.classes.items() if k != "other"}


@pytest.mark.parametrize(
    ("class_set", "labels"),
    [
        ("four", ["neutral", "happy", "happy", "sad", "angry", "neutral"]),
        ("five", ["neutral", "happy", "frustrated", "happy", "sad", "angry", "neutral"]),
        ("six", ["neutral", "excited", "frustrated", "happy", "sad", "angry", "neutral"]),
    ],
)
def test_class_sets(root, class_set, labels):
    corpus = IEMOCAP(class_set)
    assert [row.label for row in corpus.utterances(root)] == labels
    assert set(labels) <= set(corpus.classes)
    assert list(corpus.classes) == sorted(corpus.classes)


def test_notes_say_what_the_class_set_left_out(root):
    four, everything = IEMOCAP(), IEMOCAP("all")
    four.read(root)  # read twice: counted once
    assert notes_of(four, root) == ["The class set four leaves out 2 turns: 1 no agreement, 1 frustrated."]
    assert notes_of(everything, root) == []


def test_style(root):
    improvised, scripted = IEMOCAP(style="improvised"), IEMOCAP("all", "scripted")
    rows = improvised.utterances(root)
    assert [row.id[:5] for row in rows] == ["Ses01", "Ses01", "Ses03", "Ses04", "Ses05"]
    assert notes_of(improvised, root) == ["The class set four leaves out 1 turns: 1 no agreement."]
    assert [row.turn for row in scripted.utterances(root)] == ["F012", "MXX0"]


def test_times_words_audio_and_dimensions(root):
    first, second, third, *_ = IEMOCAP("all").utterances(root)
    assert first.path == "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    assert (first.start, first.end) == (None, None)  # the file holds the turn alone
    assert (first.turn, first.raw_label, first.language) == ("F000", "neu", "en")
    assert (first.valence, first.arousal, first.dominance) == (2.5, 3.5, 4.5)  # the file's order: V, A, D
    assert [row.transcript for row in (first, second, third)] == [
        "Excuse me.",
        "Do you have your forms? [LAUGHTER]",
        None,
    ]


def test_ratings_keep_self_reports_apart(root):
    first, second, third, *_ = IEMOCAP("all").utterances(root)
    assert first.ratings == (
        Rating("C-E2", ("neutral",)),
        Rating("C-E3", ("neutral",)),
        Rating("C-E4", ("angry", "frustrated")),  # the comment in brackets is no label
        Rating("C-F1", ("excited",), self_report=True),
        Rating("A-E3", valence=3, arousal=2, dominance=1),
        Rating("A-E4", valence=2, arousal=3, dominance=None),  # nothing after dom, and the comment is no rating
        Rating("A-F1", valence=1, arousal=5, dominance=4, self_report=True),
    )
    assert second.ratings[2] == Rating("C-E4", ())
    assert second.ratings[3].self_report
    assert third.votes == {"sad": 1, "other": 1, "fearful": 1}


def test_votes_are_those_of_observers_in_the_words_of_the_class_set(root):
    first, second, *_ = IEMOCAP("four").utterances(root)
    assert first.votes == {"neutral": 2, "angry": 0.5, "frustrated": 0.5}
    assert second.votes == {"happy": 2}  # happiness and excitement are one class here
    assert IEMOCAP("six").utterances(root)[1].votes == {"happy": 0.5, "excited": 1.5}


@pytest.mark.parametrize(
    ("class_set", "style", "total", "sessions"),
    [
        ("four", "all", 5531, (1085, 1023, 1151, 1031, 1241)),
        ("four", "improvised", 2943, None),
        ("four", "scripted", 2588, None),
        ("five", "all", 7380, None),
        ("six", "all", 7380, None),
        ("nine", "all", 10039, (1819, 1811, 2136, 2103, 2170)),
        ("all", "all", 10039, (1819, 1811, 2136, 2103, 2170)),
    ],
)
def test_published_totals(class_set, style, total, sessions):
    expected = IEMOCAP(class_set, style).expected
    assert expected.utterances == total == sum(expected.sessions.values()) == sum(expected.speakers.values())
    if sessions:
        assert tuple(expected.sessions[f"Session{number}"] for number in range(1, 6)) == sessions


def test_published_class_and_speaker_counts():
    expected = IEMOCAP().expected
    assert expected.classes == {"angry": 1103, "happy": 1636, "neutral": 1708, "sad": 1084}
    assert expected.speakers == {
        "Ses01_F": 528, "Ses01_M": 557, "Ses02_F": 481, "Ses02_M": 542, "Ses03_F": 522,
        "Ses03_M": 629, "Ses04_F": 528, "Ses04_M": 503, "Ses05_F": 590, "Ses05_M": 651,
    }  # fmt: skip
    assert IEMOCAP(style="improvised").expected.classes == {"angry": 289, "happy": 947, "neutral": 1099, "sad": 608}
    assert IEMOCAP("all").expected.classes == {
        "angry": 1103, "disgusted": 2, "excited": 1041, "fearful": 40, "frustrated": 1849, "happy": 595,
        "neutral": 1708, "other": 3, "sad": 1084, "surprised": 107,
    }  # fmt: skip


def test_an_incomplete_copy_names_its_sessions(root):
    found = deviations(IEMOCAP().utterances(root), IEMOCAP().expected)
    assert found[:2] == [
        "session Session1: 2 utterances, expected 1085",
        "session Session2: 1 utterance, expected 1023",
    ]
    (root / "Session4").rename(root / "elsewhere")
    assert "session Session4: 0 utterances, expected 1031" in deviations(IEMOCAP().utterances(root), IEMOCAP().expected)


def test_missing_audio_is_named(root):
    audio = root / "Session1" / "sentences" / "wav" / "Ses01F_impro01"
    (audio / "Ses01F_impro01_F000.wav").unlink()  # only ._Ses01F_impro01_F000.wav is left
    (audio / "Ses01F_impro01_F001.wav").unlink()  # not in the class set, not needed
    with pytest.raises(CorpusError, match=r"1 of 6 utterances have no audio .*/Ses01F_impro01_F000\.wav\."):
        IEMOCAP().utterances(root)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1.0 - 2.0]\tSes01F_impro01_F000\tjoy\t[1.0, 1.0, 1.0]", "line 3 has the label 'joy'"),
        ("[1.0 - 2.0]\tSes01F_impro01_F000\tneu\t[1.0, 1.0]", "line 3 is"),
        ("[1.0 - 2.0]\tSes01F_dream01_F000\tneu\t[1.0, 1.0, 1.0]", "line 3 is"),
        ("Ses01F_impro01_F000 neu", "holds no turn"),
    ],
)
def test_damaged_evaluation_files_are_named(root, line, message):
    file = root / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    file.write_text(HEADER + line + "\n")
    with pytest.raises(CorpusError, match=r"Ses01F_impro01\.txt.*" + message):
        IEMOCAP().utterances(root)


def test_wrong_folders_say_what_to_do(root):
    above = root / "above"
    above.mkdir()
    (root / "Session1").rename(root / "kept")
    (above / "IEMOCAP_full_release").mkdir()
    (root / "kept").rename(above / "IEMOCAP_full_release" / "Session1")
    with pytest.raises(CorpusError, match=r"one level down: give data.root=.*IEMOCAP_full_release\."):
        IEMOCAP().utterances(above)
    (root / "Session2" / "sentences").rename(root / "Session2" / "sentence")
    with pytest.raises(CorpusError, match="Session2 has no sentences/wav"):
        IEMOCAP().utterances(root)


def test_unknown_options_name_the_nearest():
    with pytest.raises(RecipeError, match="Did you mean four"):
        IEMOCAP("fourr")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="Did you mean improvised"):
        IEMOCAP(style="improvised_")  # type: ignore[arg-type]
