"""Protocols over several corpora: what is tested was never trained on, and no class is tested unlearnt."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_toolkit.errors import SplitError
from ser_toolkit.protocols.leave_out import LeaveOneCorpusOut, LeaveOneLanguageOut, WithinCorpora
from ser_toolkit.protocols.splits import GroupedKFold, LeaveOneSpeakerOut, RandomKFold

LANGUAGE = {"A": "de", "B": "en", "C": "en", "D": "it"}


def make_table(corpora: dict[str, int], classes: dict[str, str] | None = None) -> pd.DataFrame:
    """So many speakers a corpus, each says every class of it twice."""
    rows = [
        {
            "id": f"{corpus}/{speaker}-{label}{take}",
            "corpus": corpus,
            "language": LANGUAGE[corpus],
            "speaker": f"{corpus}/{speaker}",
            "session": None,
            "sex": None,
            "label": label,
        }
        for corpus, count in corpora.items()
        for speaker in range(count)
        for label in (classes or {}).get(corpus, "xy")
        for take in range(2)
    ]
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in rows[0]})


def of(table: pd.DataFrame, ids: tuple[str, ...], column: str) -> set[str]:
    return set(table.loc[table["id"].isin(ids), column])


SIZES = st.lists(st.integers(2, 25), min_size=3, max_size=4).map(lambda n: dict(zip("ABCD", n, strict=False)))


@given(SIZES, st.sampled_from(["speakers", "group", "none"]))
@settings(max_examples=25)
def test_a_corpus_is_tested_by_what_never_heard_it(sizes: dict[str, int], dev: str) -> None:
    table = make_table(sizes)
    folds = LeaveOneCorpusOut(dev).folds(table.sample(frac=1, random_state=0))  # type: ignore[arg-type]
    assert [fold.name for fold in folds] == list(sizes)
    for fold in folds:
        assert of(table, fold.test, "corpus") == {fold.name}
        assert len(fold.train) + len(fold.dev) + len(fold.test) == len(table)
        others = set(sizes) - {fold.name}
        if dev == "none":
            assert fold.dev == ()
        elif dev == "group":
            assert len(of(table, fold.dev, "corpus")) == 1
            assert of(table, fold.train, "corpus") == others - of(table, fold.dev, "corpus")
        else:
            speakers = of(table, fold.dev, "speaker")
            assert of(table, fold.dev, "corpus") == of(table, fold.train, "corpus") == others
            assert {name: sum(s.startswith(name) for s in speakers) for name in others} == {
                name: -(-sizes[name] // 10) for name in others
            }


def test_languages_are_left_out_whole() -> None:
    table = make_table({"A": 3, "B": 3, "C": 3, "D": 3})
    folds = {fold.name: fold for fold in LeaveOneLanguageOut().folds(table)}
    assert list(folds) == ["de", "en", "it"]
    assert of(table, folds["en"].test, "corpus") == {"B", "C"}


def test_a_class_that_one_corpus_alone_has_is_refused_with_what_to_keep() -> None:
    table = make_table({"A": 3, "B": 3, "C": 3}, {"A": "wxy", "B": "xyz", "C": "wxy"})
    with pytest.raises(SplitError, match=r"without B: z.*too, w, x, y: .*data\.labels\.only"):
        LeaveOneCorpusOut().folds(table)


def test_a_single_corpus_cannot_be_left_out() -> None:
    table = make_table({"A": 3}).assign(corpus=None)
    with pytest.raises(SplitError, match=r"data\.corpus=Combined"):
        LeaveOneCorpusOut().folds(table)
    with pytest.raises(SplitError, match="at least 3"):
        LeaveOneCorpusOut("group").folds(make_table({"A": 3, "B": 3}))


def test_corpora_are_split_each_by_itself_and_put_together() -> None:
    table = make_table({"A": 4, "B": 9})
    folds = WithinCorpora(GroupedKFold(num_folds=4)).folds(table)
    assert [fold.name for fold in folds] == ["1", "2", "3", "4"]
    for fold in folds:
        for part in (fold.train, fold.dev, fold.test):
            assert of(table, part, "corpus") == {"A", "B"}
    alone = GroupedKFold(num_folds=4).folds(table[table["corpus"] == "A"])
    for fold, own in zip(folds, alone, strict=True):
        assert {name for name in fold.test if name.startswith("A/")} == set(own.test)
        assert {name for name in fold.dev if name.startswith("A/")} == set(own.dev)


def test_what_the_protocol_inside_says_holds_for_all() -> None:
    with pytest.raises(SplitError, match="A 4, B 9"):
        WithinCorpora(LeaveOneSpeakerOut()).folds(make_table({"A": 4, "B": 9}))
    leaky = WithinCorpora(RandomKFold(num_folds=3))
    assert leaky.declared_leak == RandomKFold.declared_leak
    assert len(leaky.folds(make_table({"A": 4, "B": 9}))) == 3
    assert WithinCorpora().dev_source.startswith("in each corpus the next fold")


def test_too_few_corpora_say_whom_the_label_rule_left() -> None:
    """Of three corpora, those without votes are gone before a protocol sees the table."""
    with pytest.raises(SplitError, match=r"label rule gives a target, every corpus is one of A, at least 2"):
        LeaveOneCorpusOut().folds(make_table({"A": 3}))
    with pytest.raises(SplitError, match=r"one of A, B, at least 3 .* dev=speakers needs one less"):
        LeaveOneCorpusOut("group").folds(make_table({"A": 3, "B": 3}))
