from __future__ import annotations

from pathlib import Path

import pytest
from corpus_replicas import touch

from ser_toolkit.corpora.base import Rating, deviations
from ser_toolkit.corpora.msp_improv import MSPImprov
from ser_toolkit.errors import CorpusError, RecipeError

LABELS = """UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.500000; V:3.000000; D:NaN ; N:3.600000;
AB12-p01; Neutral; Neutral,Concerned; A:2.000000; V:3.000000; D:NaN; N:4.000000;
CD34_p07; Neutral; ; A:3.000000; V:3.000000; D:3.000000; N:3.000000;
EF56-p02; Other; bored; A:2.500000; V:3.000000; D:2.000000; N:4.000000;

UTD-IMPROV-S01A-F01-S-MF02.avi; H; A:4.000000; V:4.500000; D:3.000000 ; N:4.000000;
AB12-p01; Happy; Happy,Excited; A:4.000000; V:4.500000; D:3.000000; N:4.000000;

UTD-IMPROV-S01A-F01-T-FM01.avi; A; A:4.000000; V:1.500000; D:4.000000 ; N:4.000000;
AB12-p01; Angry; Angry; A:4.000000; V:1.500000; D:4.000000; N:4.000000;

UTD-IMPROV-S13N-M06-R-MM01.avi; S; A:2.000000; V:2.000000; D:2.000000 ; N:4.000000;

UTD-IMPROV-S13N-M06-S-MF03.avi; X; A:2.000000; V:2.000000; D:2.000000 ; N:4.000000;
AB12-p01; Sad; Sad; A:2.000000; V:2.000000; D:2.000000; N:4.000000;
CD34_p07; Angry; Angry; A:2.000000; V:2.000000; D:2.000000; N:4.000000;

UTD-IMPROV-S13N-M06-S-FM04.avi; O; A:2.000000; V:2.000000; D:2.000000 ; N:4.000000;
"""
FILES = [
    "session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav",
    "session1/S01A/S/MSP-IMPROV-S01A-F01-S-MF02.wav",
    "session1/S01A/T/MSP-IMPROV-S01A-F01-T-FM01.wav",
    "session6/S13N/R/MSP-IMPROV-S13N-M06-R-MM01.wav",
    "session6/S13N/S/MSP-IMPROV-S13N-M06-S-MF03.wav",
    "session6/S13N/S/MSP-IMPROV-S13N-M06-S-FM04.wav",
]
# Name, speaker (first letter of the turn), session, scene, sentence, style, label.
ROWS = [
    ("S01A-F01-P-FM01", "F01", "session1", "S01A-F01", None, "natural", "neutral"),
    ("S01A-F01-S-MF02", "M01", "session1", "S01A-F01", None, "improvised", "happy"),
    ("S01A-F01-T-FM01", "F01", "session1", "S01A-F01", "01", "improvised", "angry"),
    ("S13N-M06-R-MM01", "M06", "session6", "S13N-M06", "13", "scripted", "sad"),
    ("S13N-M06-S-FM04", "F06", "session6", "S13N-M06", None, "improvised", "other"),
    ("S13N-M06-S-MF03", "M06", "session6", "S13N-M06", None, "improvised", None),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    touch(tmp_path, [f"Audio/{name}" for name in FILES])
    (tmp_path / "Evalution.txt").write_text(LABELS, encoding="utf-8")
    return tmp_path


def test_rows_say_what_name_and_label_file_say(root: Path) -> None:
    rows = MSPImprov("all").utterances(root)
    found = [
        (r.id.removeprefix("MSP-IMPROV-"), r.speaker, r.session, r.dialogue, r.sentence, r.style, r.label) for r in rows
    ]
    assert found == ROWS
    first = rows[0]
    assert first.path == f"Audio/{FILES[0]}"
    assert (first.sex, first.turn, first.raw_label) == ("female", "P-FM01", "N")
    assert (first.valence, first.arousal, first.dominance) == (3.0, 2.5, None)
    assert first.votes == {"neutral": 2, "other": 1}
    assert first.ratings == (
        Rating("AB12-p01", ("neutral",), valence=3.0, arousal=2.0),
        Rating("CD34_p07", ("neutral",), valence=3.0, arousal=3.0, dominance=3.0),
        Rating("EF56-p02", ("other",), valence=3.0, arousal=2.5, dominance=2.0),
    )
    assert (rows[3].votes, rows[3].ratings) == (None, ())
    assert rows[5].votes == {"sad": 1, "angry": 1}


def test_class_set_and_scenario(root: Path) -> None:
    four = MSPImprov()
    listing = four.read(root)
    assert [row.label for row in listing.rows] == ["neutral", "happy", "angry", "sad"]
    assert listing.notes([]) == ["The class set four leaves out 2 turns: 1 no agreement, 1 other."]
    assert [row.turn for row in MSPImprov(scenario="other_improvised").utterances(root)] == ["S-MF02"]
    with pytest.raises(RecipeError, match="Did you mean natural"):
        MSPImprov(scenario="naturall")  # type: ignore[arg-type]


def test_published_counts() -> None:
    assert MSPImprov().expected.utterances == 7798
    assert MSPImprov().expected.classes == {"angry": 792, "happy": 2644, "neutral": 3477, "sad": 885}
    sizes = {"target_improvised": 652, "target_read": 620, "other_improvised": 4381, "natural": 2785}
    assert {name: MSPImprov("all", name).expected.utterances for name in sizes} == sizes  # type: ignore[arg-type]
    assert MSPImprov("all").expected.utterances == 8438


def test_the_other_layout_and_spelling(root: Path) -> None:
    (root / "Evalution.txt").rename(root / "Evaluation.txt")
    for session in ("session1", "session6"):
        (root / "Audio" / session).rename(root / session)
    (root / "Audio").rmdir()
    rows = MSPImprov().utterances(root)
    assert rows[0].path == FILES[0]
    assert "class angry: 1 utterance, expected 792" in deviations(rows, MSPImprov().expected)


def test_bad_copies_are_named(root: Path) -> None:
    (root / "Audio" / FILES[3]).unlink()
    with pytest.raises(CorpusError, match=r"1 of 4 utterances have no audio .*S13N-M06-R-MM01\.wav"):
        MSPImprov().utterances(root)
    labels = root / "Evalution.txt"
    labels.write_text(LABELS.replace("; N; A:2.5", "; Neutral; A:2.5"), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"Evalution\.txt, line 1 is"):
        MSPImprov().utterances(root)
    labels.write_text(LABELS.replace("FM01.avi; N", "FM01.avi; Q"), encoding="utf-8")
    with pytest.raises(CorpusError, match="line 1 has the turn 'S01A-F01-P-FM01' and the label 'Q'"):
        MSPImprov().utterances(root)
    labels.write_text("nothing", encoding="utf-8")
    with pytest.raises(CorpusError, match="holds no turn"):
        MSPImprov().utterances(root)
    labels.unlink()
    with pytest.raises(CorpusError, match=r"no Evalution\.txt .*found: Audio"):
        MSPImprov().utterances(root)
