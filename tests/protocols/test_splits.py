"""Splits: what hypothesis can find on random tables, and the exact folds of small ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_toolkit.errors import SplitError
from ser_toolkit.protocols.splits import (
    Fold,
    GroupedKFold,
    LeaveOneSessionOut,
    LeaveOneSpeakerOut,
    OfficialFolds,
    Protocol,
    RandomKFold,
    check_folds,
)


def make_table(speakers: list[str], per_speaker: int = 4, classes: str = "ab") -> pd.DataFrame:
    """Every speaker says every class in turn; two speakers share a session; sexes alternate in pairs."""
    rows = [
        {
            "id": f"{speaker}-{k}",
            "speaker": speaker,
            "sex": "female" if number // 2 % 2 else "male",
            "session": f"Ses{number // 2 + 1}",
            "label": classes[k % len(classes)],
            "fold": None,
        }
        for number, speaker in enumerate(speakers)
        for k in range(per_speaker)
    ]
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in rows[0]})


def speakers_of(table: pd.DataFrame, ids: tuple[str, ...]) -> set[str]:
    return set(table.loc[table["id"].isin(ids), "speaker"])


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Speakers of very different size, who all say every class at least once, so that no training part loses one."""
    num_speakers = draw(st.integers(8, 14))
    num_classes = draw(st.integers(2, 4))
    rows = []
    for speaker in range(num_speakers):
        labels = draw(st.lists(st.integers(0, num_classes - 1), max_size=12))
        labels += range(num_classes)
        sex = draw(st.sampled_from(["female", "male", None]))
        rows += [(f"spk{speaker}", f"Ses{speaker % 4}", sex, f"c{label}", f"f{speaker % 5}") for label in labels]
    order = draw(st.randoms(use_true_random=False))
    numbered = [(f"u{k}", *row) for k, row in enumerate(rows)]
    order.shuffle(numbered)
    return pd.DataFrame(numbered, columns=["id", "speaker", "session", "sex", "label", "fold"], dtype=object)


PROTOCOLS = [
    LeaveOneSpeakerOut(),
    LeaveOneSpeakerOut(dev_speakers=2),
    LeaveOneSpeakerOut(dev_speakers=0),
    LeaveOneSessionOut(),
    LeaveOneSessionOut(dev="none"),
    GroupedKFold(num_folds=5),
    GroupedKFold(num_folds=4, group_by="session", dev_folds=1, seed=3),
    GroupedKFold(num_folds=6, dev_folds=2),
    OfficialFolds(),
    OfficialFolds(dev="speaker"),
    RandomKFold(num_folds=4),
]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: f"{type(p).__name__}-{sorted(vars(p).items())}"[:60])
@settings(max_examples=10, deadline=None)
@given(table=tables(), data=st.data())
def test_no_table_makes_a_protocol_leak(protocol: Protocol, table: pd.DataFrame, data: st.DataObject) -> None:
    folds = protocol.folds(table)
    tested = [one for fold in folds for one in fold.test]
    assert sorted(tested) == sorted(table["id"])
    for fold in folds:
        assert not {*fold.train} & {*fold.test} and not {*fold.dev} & {*fold.test} and not {*fold.dev} & {*fold.train}
        assert {*fold.train, *fold.dev, *fold.test} == set(table["id"])
        assert set(table.loc[table["id"].isin(fold.train), "label"]) == set(table["label"])
        if protocol.declared_leak is None:
            train, dev, test = (speakers_of(table, part) for part in (fold.train, fold.dev, fold.test))
            assert not train & test and not dev & test and not train & dev
        assert bool(fold.dev) == (protocol.dev_source != "no dev part")
    shuffled = table.sample(frac=1, random_state=data.draw(st.integers(0, 99)))
    assert protocol.folds(shuffled) == folds  # deterministic, and independent of the order of rows


def test_leave_one_speaker_out_selects_on_the_next_speakers_of_changing_sex() -> None:
    table = make_table(["1", "2", "10", "11"])  # male, male, female, female; natural order
    folds = LeaveOneSpeakerOut(dev_speakers=2).folds(table)
    assert [fold.name for fold in folds] == ["1", "2", "10", "11"]
    assert [speakers_of(table, fold.dev) for fold in folds] == [{"2", "10"}, {"10", "1"}, {"11", "1"}, {"1", "10"}]
    single = LeaveOneSpeakerOut().folds(table)
    assert [speakers_of(table, fold.dev) for fold in single] == [{"2"}, {"10"}, {"11"}, {"1"}]


def test_leave_one_session_out_clusters_by_session() -> None:
    table = make_table([f"s{k}" for k in range(8)])
    folds = LeaveOneSessionOut().folds(table)
    assert [speakers_of(table, fold.test) for fold in folds] == [{f"s{2 * k}", f"s{2 * k + 1}"} for k in range(4)]
    assert speakers_of(table, folds[3].dev) == {"s0", "s1"}
    assert LeaveOneSessionOut.cluster_by == "session" and LeaveOneSpeakerOut.cluster_by == "speaker"
    assert LeaveOneSessionOut(dev="none").folds(table)[0].dev == ()


def test_grouped_folds_are_balanced_in_utterances() -> None:
    sizes = [40, 30, 20, 20, 20, 10, 10, 10]
    table = pd.concat([make_table([f"s{k}"], size) for k, size in enumerate(sizes)], ignore_index=True)
    folds = GroupedKFold(num_folds=4).folds(table)
    assert [len(fold.test) for fold in folds] == [40] * 4
    other = GroupedKFold(num_folds=4, seed=1).folds(table)
    assert {fold.test for fold in folds} != {fold.test for fold in other}


def test_random_folds_declare_that_they_share_speakers() -> None:
    table = make_table(["x", "y", "z"], 40)
    folds = RandomKFold(num_folds=5).folds(table)
    assert RandomKFold.declared_leak
    assert speakers_of(table, folds[0].train) & speakers_of(table, folds[0].test)
    labels = table.set_index("id")["label"]
    assert all(abs((labels[list(fold.test)] == "a").mean() - 0.5) < 0.05 for fold in folds)


def test_official_partitions_keep_their_words() -> None:
    table = make_table([f"s{k}" for k in range(7)])
    table["fold"] = table["speaker"].map(
        dict(
            zip(
                [f"s{k}" for k in range(7)],
                ["train", "train", "Train", "validation", "test1", "test2", None],
                strict=True,
            )
        )
    )
    folds = OfficialFolds().folds(table)
    assert [fold.name for fold in folds] == ["test1", "test2"]
    for fold, tested in zip(folds, ("s4", "s5"), strict=True):
        assert speakers_of(table, fold.train) == {"s0", "s1", "s2"}
        assert speakers_of(table, fold.dev) == {"s3"} and speakers_of(table, fold.test) == {tested}
    own = OfficialFolds(dev="speaker").folds(table)[0]
    assert speakers_of(table, own.dev) == {"s0"} and speakers_of(table, own.train) == {"s1", "s2"}
    table["fold"] = table["fold"].replace("validation", None)
    with pytest.raises(SplitError, match="no dev partition"):
        OfficialFolds().folds(table)
    with pytest.raises(SplitError, match="needs a train and a test"):
        OfficialFolds().folds(table[table["fold"] != "test1"].assign(fold=lambda t: t["fold"].replace("test2", "dev")))


def test_official_folds_that_share_speakers_must_say_so() -> None:
    table = make_table([f"s{k}" for k in range(4)], per_speaker=8)
    table["fold"] = ["1", "1", "1", "1", "2", "2", "3", "3"] * 4
    with pytest.raises(SplitError, match=r"OfficialFolds, fold 1: train and test share speakers: s0, s1, s2, s3"):
        OfficialFolds().folds(table)
    folds = OfficialFolds(leak="all ten speakers are in every part").folds(table)
    assert [len(fold.test) for fold in folds] == [16, 8, 8]


class Fixed(Protocol):
    """Folds that the test made up."""

    def __init__(self, *folds: Fold) -> None:
        self.fixed = list(folds)

    def split(self, table: pd.DataFrame) -> list[Fold]:
        return self.fixed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": ()}, "fold one: the test part is empty"),
        ({"train": ()}, "fold one: the train part is empty"),
        ({"dev": ("b-0", "c-0")}, "dev and test share utterances: c-0"),
        ({"train": ("a-0", "a-1", "c-0")}, "train and test share utterances: c-0"),
        ({"train": ("a-0", "a-1", "b-0")}, "train and dev share utterances: b-0"),
        ({"train": ("a-0", "a-1", "b-2")}, "train and dev share speakers: b"),
        ({"train": ("a-0", "a-1", "c-2"), "test": ("c-0",)}, "train and test share speakers: c"),
        ({"train": ("a-0", "a-1", "a-1")}, "twice: a-1"),
        ({"train": ("a-0", "a-1", "zz")}, "unknown utterances: zz"),
        ({"train": ("a-0", "a-2")}, "fold one: class b has no training utterance"),
        ({}, "tested in no fold: a-0, a-1, a-2"),
    ],
)
def test_every_rule_is_checked(change: dict[str, tuple[str, ...]], message: str) -> None:
    table = make_table(["a", "b", "c"])
    good = Fold("one", ("a-0", "a-1", "a-2"), ("b-0", "b-1"), ("c-0", "c-1", "c-2", "c-3"))
    with pytest.raises(SplitError, match=message):
        Fixed(replace(good, **change)).folds(table)
    once = Fixed(good)
    once.tests_everything = False
    assert once.folds(table) == [good]
    twice = Fixed(good, replace(good, name="two"))
    twice.tests_everything = False
    with pytest.raises(SplitError, match="tested in more than one fold: c-0"):
        check_folds(table, twice.fixed, twice)


def test_a_class_that_only_one_speaker_has_cannot_be_tested() -> None:
    table = make_table(["a", "b", "c", "d"])
    table.loc[table["id"] == "c-1", "label"] = "rare"
    with pytest.raises(SplitError, match="class rare has no training utterance"):
        LeaveOneSpeakerOut().folds(table)


def test_utterances_without_a_label_are_split_like_others() -> None:
    table = make_table(["a", "b", "c", "d"])
    table.loc[table["id"].str.endswith("-3"), "label"] = None
    assert len(LeaveOneSpeakerOut().folds(table)[0].test) == 4


@pytest.mark.parametrize("missing", [None, np.nan])
def test_unknown_speakers_are_refused_with_advice(missing: object) -> None:
    table = make_table(["a", "b", "c", "d"])
    table["fold"] = table["speaker"]
    table.loc[table["id"] == "c-1", "speaker"] = missing
    for protocol in (LeaveOneSpeakerOut(), GroupedKFold(4), OfficialFolds()):
        with pytest.raises(SplitError, match=r"speaker of 1 utterances is unknown \(c-1\).*Fill the speaker column"):
            protocol.folds(table)
    assert len(RandomKFold(4).folds(table)) == 4


@pytest.mark.parametrize(
    "make",
    [
        lambda: GroupedKFold(num_folds=1),
        lambda: GroupedKFold(num_folds=3, dev_folds=2),
        lambda: RandomKFold(num_folds=2, dev_folds=1),
        lambda: LeaveOneSpeakerOut(dev_speakers=-1),
        lambda: LeaveOneSpeakerOut(dev_speakers=3).folds(make_table(["a", "b", "c", "d"])),
        lambda: GroupedKFold(num_folds=5).folds(make_table(["a", "b", "c", "d"])),
        lambda: GroupedKFold(num_folds=4, group_by="city").folds(make_table(["a", "b", "c", "d"])),
        lambda: LeaveOneSessionOut().folds(make_table(["a", "b", "c", "d"])),
        lambda: OfficialFolds().folds(make_table(["a", "b", "c", "d"])),
    ],
)
def test_what_does_not_fit_is_refused(make: object) -> None:
    with pytest.raises(SplitError):
        make()  # type: ignore[operator]


def test_folds_are_named_as_folders_and_each_once() -> None:
    """Speakers of several corpora have their corpus in front; ``fold=EmoDB/03`` would be two folders."""
    table = make_table(["EmoDB/03", "EmoDB/08", "SAVEE/DC"])
    assert [fold.name for fold in LeaveOneSpeakerOut().folds(table)] == ["EmoDB-03", "EmoDB-08", "SAVEE-DC"]
    with pytest.raises(SplitError, match="several folds are called EmoDB-03"):
        LeaveOneSpeakerOut().folds(make_table(["EmoDB/03", "EmoDB-03", "SAVEE/DC"]))
