from __future__ import annotations

from pathlib import Path

import pytest
from corpus_replicas import nemo

from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.nemo import NEMO
from ser_toolkit.errors import CorpusError


def test_rows_say_what_the_table_says(tmp_path: Path) -> None:
    rows = {row.id: row for row in NEMO().utterances(nemo().write(tmp_path))}
    assert len(rows) == 18
    row = rows["WR0_happiness_1"]
    assert (row.path, row.speaker, row.sex, row.label) == ("samples/WR0_happiness_1.wav", "WR0", "male", "happy")
    assert (row.sentence, row.transcript, row.language) == ("1", '"Historia" mnie interesuje.', "pl")
    labels = [rows[f"EB0_{word}_1"].label for word in ("anger", "fear", "neutral", "sadness", "surprised")]
    assert labels == ["angry", "fearful", "neutral", "sad", "surprised"]
    assert rows["EB0_anger_1"].sex == "female"


def test_expected_counts(tmp_path: Path) -> None:
    expected = NEMO().expected
    assert expected.utterances == 4481 == sum(expected.speakers.values()) == sum(expected.classes.values())
    found = deviations(NEMO().utterances(nemo().write(tmp_path)), expected)
    assert "speaker MP0: 0 utterances, expected 256" in found


def test_bad_copies_are_named(tmp_path: Path) -> None:
    root = nemo().write(tmp_path)
    table = root / "data.tsv"
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace("fear\t", "bored\t", 1), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"data\.tsv gives EB0_fear_1\.wav the emotion 'bored'"):
        NEMO().utterances(root)
    table.write_text(text.replace("speaker_id", "speaker"), encoding="utf-8")
    with pytest.raises(CorpusError, match="no column speaker_id"):
        NEMO().utterances(root)
    table.write_text(text + text.split("\n")[1] + "\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="has EB0_anger_1 more than once"):
        NEMO().utterances(root)
    table.write_text(text, encoding="utf-8")
    (root / "samples" / "WR0_fear_1.wav").unlink()
    with pytest.raises(CorpusError, match=r"1 of 18 utterances have no audio .*samples/WR0_fear_1\.wav"):
        NEMO().utterances(root)
    with pytest.raises(CorpusError, match="one level down"):
        NEMO().utterances(_above(root))


def _above(root: Path) -> Path:
    inner = root / "copy"
    inner.mkdir()
    for entry in (root / "data.tsv", root / "samples"):
        entry.rename(inner / entry.name)
    return root
