"""Tables of corpora that were cut, re-saved or replaced: an error of one line names the file, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from corpus_replicas import REPLICAS

import ser_toolkit.corpora  # noqa: F401  (finds every corpus)
from ser_toolkit.corpora.base import Corpus
from ser_toolkit.errors import CorpusError
from ser_toolkit.parts.finding import subclasses

#: Tables without which there is no label; transcripts and notes beside them may be anything.
TABLES = [
    (name, text) for name, make in REPLICAS.items() for text in make().texts if text.endswith((".csv", ".tsv", ".py"))
]
HARMS: dict[str, Callable[[bytes], bytes]] = {
    "UTF-16": lambda content: content.decode().encode("utf-16"),
    "no text": lambda content: bytes(range(256)),
    "empty": lambda content: b"",
    "Git LFS": lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
}


def spoilt(name: str, text: str, root: Path, harm: Callable[[bytes], bytes]) -> Corpus:
    REPLICAS[name]().write(root)
    (root / text).write_bytes(harm((root / text).read_bytes()))
    (part,) = (p for p in subclasses(Corpus).values() if p.__module__ == f"ser_toolkit.corpora.{name}")  # type: ignore[type-abstract]
    return part()


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize(("name", "text"), TABLES)
def test_a_table_that_is_none_is_named(name: str, text: str, harm: str, tmp_path: Path) -> None:
    corpus = spoilt(name, text, tmp_path, HARMS[harm])
    with pytest.raises(CorpusError, match=Path(text).name) as caught:
        corpus.utterances(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "harm", "message"),
    [
        ("cmu_mosei", "cmu_mosei_std_folds.py", lambda content: content.replace(b",", b";"), "has no list standard_"),
        ("msp_podcast", "Labels/labels_detailed.csv", lambda content: content + b"x.wav\n", "no answer for x.wav"),
    ],
)
def test_a_damaged_row_is_named(
    name: str, text: str, harm: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CorpusError, match=message):
        spoilt(name, text, tmp_path, harm).utterances(tmp_path)


def test_a_letter_in_another_encoding_spoils_no_label(tmp_path: Path) -> None:
    whole = spoilt("nemo", "data.tsv", tmp_path / "a", bytes).utterances(tmp_path / "a")
    word = str(whole[0].transcript)
    cut = spoilt("nemo", "data.tsv", tmp_path / "b", lambda content: content.replace(word.encode(), b"\xb3aka"))
    found = cut.utterances(tmp_path / "b")
    assert [(row.id, row.label) for row in found] == [(row.id, row.label) for row in whole]
    assert found[0].transcript == "\ufffdaka"
