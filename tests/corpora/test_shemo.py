from __future__ import annotations

from pathlib import Path

import pytest
from corpus_replicas import shemo, touch

from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.shemo import ShEMO
from ser_toolkit.errors import CorpusError


def test_expected_counts_are_those_of_the_paper() -> None:
    expected = ShEMO().expected
    assert expected.utterances == 3000 == sum(expected.speakers.values()) == sum(expected.classes.values())
    assert (sum(s[0] == "F" for s in expected.speakers), sum(s[0] == "M" for s in expected.speakers)) == (31, 56)
    assert expected.classes == {
        "angry": 1059, "neutral": 1028, "sad": 449, "surprised": 225, "happy": 201, "fearful": 38,
    }  # fmt: skip


def test_rows_say_what_the_name_says(tmp_path: Path) -> None:
    rows = {row.id: row for row in ShEMO().utterances(shemo().write(tmp_path))}
    labels = {"F01A01": "angry", "F02F01": "fearful", "M03H01": "happy", "F03N01": "neutral", "M01S01": "sad"}
    labels["M02W01"] = "surprised"
    assert {name: rows[name].label for name in labels} == labels
    row = rows["F02F01"]  # F: a woman, and fear
    assert (row.speaker, row.sex, row.path, row.raw_label) == ("F02", "female", "female/F02F01.wav", "F")
    assert (rows["M03H01"].sex, row.language) == ("male", "fa")


def test_the_corrected_edition_is_named_as_incomplete(tmp_path: Path) -> None:
    rows = ShEMO().utterances(shemo().write(tmp_path))
    assert "class fearful: 6 utterances, expected 38" in deviations(rows, ShEMO().expected)
    assert "speaker M56: 0 utterances, expected 7" in deviations(rows, ShEMO().expected)


@pytest.mark.parametrize("name", ["F32A01", "M57A01", "F00A01", "F01X01", "X01A01"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=name):
        ShEMO().utterances(touch(tmp_path, [f"female/{name}.wav"]))
