"""One word is one word however its accents are stored; two that differ in case alone are named."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from generic_replicas import ROWS, audformat, audiofolder

from ser_toolkit.corpora.audformat import Audformat
from ser_toolkit.corpora.base import Rating, Utterance
from ser_toolkit.corpora.folders import FolderCorpus
from ser_toolkit.corpora.huggingface import HuggingFaceAudio
from ser_toolkit.corpora.layouts.own_data import composed_row
from ser_toolkit.corpora.table import TableCorpus
from ser_toolkit.protocols.audit import audit_sentences
from ser_toolkit.protocols.lookalikes import lookalikes
from ser_toolkit.protocols.splits import RandomKFold

WORD, NAME = "wütend", "Jörg"  # composed
APART = {one: unicodedata.normalize("NFD", one) for one in (WORD, NAME)}


def spelt(word: str, k: int) -> str:
    """Every second time as macOS writes it."""
    return APART[word] if k % 2 else word


def test_a_table(tmp_path: Path) -> None:
    lines = [f"{k}.wav,{spelt(NAME, k)},{spelt(WORD, k // 2) if k < 4 else 'sad'}" for k in range(6)]
    header = f"path,speaker,{APART[WORD]}"
    (tmp_path / "t.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    for k in range(6):
        (tmp_path / f"{k}.wav").touch()
    corpus = TableCorpus("t.csv", columns={"label": WORD}, classes=[APART[WORD], "sad"])
    rows = corpus.utterances(tmp_path)
    assert {row.speaker for row in rows} == {NAME} and {row.label for row in rows} == {WORD, "sad"}
    assert corpus.classes == (WORD, "sad")


def test_a_hugging_face_dataset(tmp_path: Path) -> None:
    rows = [{**row, "speaker_id": spelt(NAME, k)} for k, row in enumerate(ROWS)]
    root = audiofolder(tmp_path, rows=rows)
    file = root / "metadata.csv"
    file.write_text(file.read_text(encoding="utf-8").replace("angry", APART[WORD]), encoding="utf-8")
    assert {row.speaker for row in HuggingFaceAudio().utterances(root)} == {NAME}
    found = HuggingFaceAudio(mapping={WORD: "angry"}).utterances(root)
    assert {row.label for row in found} == {"angry", "sad"} and found[0].raw_label == WORD


def test_an_audformat_database(tmp_path: Path) -> None:
    """The header has the label composed, the tables apart; one table spells a path otherwise than another."""
    root = audformat(tmp_path, sound=False)
    header = root / "db.yaml"
    header.write_text(header.read_text(encoding="utf-8").replace("anger", WORD), encoding="utf-8")
    (root / "wav" / "0.wav").rename(root / "wav" / f"{NAME}.wav")
    for table in ("emotion.categories.train.gold_standard", "files"):
        file, name = root / f"db.{table}.csv", NAME if table == "files" else APART[NAME]
        text = file.read_text(encoding="utf-8").replace("anger", APART[WORD]).replace("wav/0.wav", f"wav/{name}.wav")
        file.write_text(text, encoding="utf-8")
    (root / "wav" / f"{APART[NAME]}.wav").touch()
    rows = {row.id: row for row in Audformat(table="emotion.categories.train*").utterances(root)}
    assert rows[f"wav/{NAME}"].label == WORD and rows[f"wav/{NAME}"].speaker == "3"


def test_folders(tmp_path: Path) -> None:
    for k, folder in enumerate((WORD, APART[WORD], "sad")):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / f"{spelt(NAME, k)}_{k}.wav", np.zeros(160), 16000)
    corpus = FolderCorpus("(?P<speaker>[^_]+)_.*")
    listing = corpus.read(tmp_path)
    assert {row.speaker for row in listing.rows} == {NAME} and sorted(listing.classes or ()) == ["sad", WORD]


def test_votes_and_raters_are_composed_and_paths_are_left_alone() -> None:
    votes = {WORD: 1.0, APART[WORD]: 2.0, "sad": 1.0}
    row = Utterance("a", APART[NAME], votes=votes, ratings=(Rating(APART[NAME], (APART[WORD],)),))
    found = composed_row(row)
    assert found.votes == {WORD: 3.0, "sad": 1.0} and found.path == APART[NAME]
    assert found.ratings == (Rating(NAME, (WORD,)),)


def test_what_differs_in_case_or_blanks_alone_is_named() -> None:
    table = pd.DataFrame({"id": list("abcdef"), "speaker": ["s1", "S1", "s 1", "s2", "s2", "s3"]})
    table["label"] = ["angry", "Angry", "sad", "sad", "sad", "angry"]
    labels, speakers = lookalikes(table)
    assert labels.startswith("classes that differ in upper and lower case or blanks alone: 'Angry' (1")
    assert "'S1' (1 utterance) and 's 1' (1 utterance) and 's1' (1 utterance)" in speakers
    assert lookalikes(table.assign(label="sad", speaker=list("abcdef"))) == []
    said = audit_sentences(table, RandomKFold(num_folds=2, dev_folds=0).split(table))
    assert [f"warning: {labels}", f"warning: {speakers}"] == said[-2:]


@pytest.mark.parametrize("column", ["label", "speaker"])
def test_unknown_values_are_not_compared(column: str) -> None:
    table = pd.DataFrame({"id": ["a", "b"], "label": ["x", "y"], "speaker": ["s", "t"]}).assign(**{column: None})
    assert lookalikes(table) == []
