from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from corpus_replicas import subesco, touch

from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.subesco import SUBESCO
from ser_toolkit.errors import CorpusError

LABELS = {
    "ANGRY": "angry",
    "DISGUST": "disgusted",
    "FEAR": "fearful",
    "HAPPY": "happy",
    "NEUTRAL": "neutral",
    "SAD": "sad",
    "SURPRISE": "surprised",
}


def test_a_complete_copy_has_the_documented_counts(tmp_path: Path) -> None:
    everything = product("FM", range(1, 11), range(1, 11), LABELS, range(1, 6))
    rows = SUBESCO().utterances(
        touch(tmp_path, [f"{s}_{n:02d}_NAME_S_{t}_{e}_{k}.wav" for s, n, t, e, k in everything])
    )
    assert len(rows) == 7000
    assert deviations(rows, SUBESCO().expected) == []
    assert {row.raw_label: row.label for row in rows} == LABELS


def test_rows_say_what_the_name_says_even_with_a_stray_bracket(tmp_path: Path) -> None:
    names = ["F_02_MONIKA_S_2_SURPRISE_3].wav", "M_10_EVAN_S_10_DISGUST_2.wav"]
    first, second = SUBESCO().utterances(touch(tmp_path, names))
    assert (first.id, first.path) == ("F_02_MONIKA_S_2_SURPRISE_3", names[0])
    assert (first.speaker, first.sex, first.label, first.sentence, first.fold) == (
        "F_02",
        "female",
        "surprised",
        "2",
        "5",
    )
    assert (second.speaker, second.sex, second.sentence, second.language) == ("M_10", "male", "10", "bn")


def test_published_folds(tmp_path: Path) -> None:
    rows = SUBESCO().utterances(subesco().write(tmp_path))
    assert {row.speaker: row.fold for row in rows} == {"F_01": "2", "F_02": "5", "F_03": "1", "F_05": "4", "M_05": "3"}


@pytest.mark.parametrize("name", ["F_11_X_S_1_SAD_1", "F_01_X_S_11_SAD_1", "F_01_X_S_1_CALM_1", "F_01_X_S_1_SAD_6"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=name):
        SUBESCO().utterances(touch(tmp_path, [f"{name}.wav"]))
