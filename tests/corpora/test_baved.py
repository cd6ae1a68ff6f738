from __future__ import annotations

from pathlib import Path

import pytest
from corpus_replicas import baved, notes_of, touch

from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.baved import BAVED
from ser_toolkit.data.prepare import manifest_of
from ser_toolkit.errors import CorpusError
from ser_toolkit.protocols.audit import audit_sentences
from ser_toolkit.protocols.splits import GroupedKFold

TABLE = [
    ("0-m-21-0-1-105", "0", "male", "0", "normal", "اعجبني"),
    ("54-f-19-6-2-1645", "54", "female", "6", "high", "سيئ"),
    ("17-m-22-1-0-412", "17", "male", "1", "low", "لم يعجبني"),
]


def test_rows_say_what_the_name_says(tmp_path: Path) -> None:
    rows = BAVED().utterances(touch(tmp_path, [f"{name.split('-')[3]}/{name}.wav" for name, *_ in TABLE]))
    found = {(row.id, row.speaker, row.sex, row.sentence, row.label, row.transcript) for row in rows}
    assert found == set(TABLE)
    assert notes_of(BAVED(), tmp_path) == []


def test_expected_counts_are_those_of_the_readme_and_the_names() -> None:
    expected = BAVED().expected
    assert expected.utterances == 1935 == sum(expected.speakers.values()) == sum(expected.classes.values())
    assert (len(expected.speakers), expected.speakers["46"], expected.speakers["56"]) == (59, 42, 349)


def test_one_person_under_two_numbers_is_one_speaker_and_the_audit_names_the_twins(tmp_path: Path) -> None:
    root = baved().write(tmp_path, sound=True)
    twin, copy = sorted(root.glob("0/46-*"))[0], sorted(root.glob("0/53-*"))[0]
    copy.write_bytes(twin.read_bytes())
    corpus = BAVED()
    listing = corpus.read(root)
    rows = listing.rows
    assert {row.speaker for row in rows if row.id.startswith(("46-", "53-"))} == {"46"}
    assert listing.notes(rows) == ["Speaker numbers 46 and 53 are one person and count as speaker 46."]
    table = manifest_of(corpus, root, allow_incomplete=True).table
    said = audit_sentences(table, GroupedKFold(num_folds=3).folds(table))
    assert any("identical audio: 1 recording appears under several ids" in sentence for sentence in said)
    assert not any("identical audio stands in" in sentence for sentence in said)


def test_missing_parts_and_other_names(tmp_path: Path) -> None:
    rows = BAVED().utterances(baved().write(tmp_path))
    assert "speaker 47: 0 utterances, expected 168" in deviations(rows, BAVED().expected)
    with pytest.raises(CorpusError, match="0-m-21-7-1-105"):
        BAVED().utterances(touch(tmp_path / "other", ["7/0-m-21-7-1-105.wav"]))
