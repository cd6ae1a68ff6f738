"""Published protocols on replicas with the published counts: sizes, actors and leaks are those of papers and code."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from protocol_tables import frame, ids_of, sizes_of
from torch.utils.data import random_split

from ser_toolkit.corpora import ravdess
from ser_toolkit.corpora.emodb import EmoDB
from ser_toolkit.errors import SplitError
from ser_toolkit.protocols import benchmarks, facts, iemocap, peers
from ser_toolkit.protocols.audit import audit, audit_sentences
from ser_toolkit.protocols.catalogue import described, known_protocols
from ser_toolkit.protocols.published import PublishedProtocol, Sizes

# Typed from public label lists: neutral, happy (with excited), angry, sad by session; turns of the woman; turns of the
# dialogues that are named after the woman.
SESSIONS = {
    "Session1": ((384, 278, 229, 194), 528, 507),
    "Session2": ((362, 327, 137, 197), 481, 505),
    "Session3": ((320, 286, 240, 305), 522, 536),
    "Session4": ((258, 303, 327, 143), 528, 553),
    "Session5": ((384, 442, 170, 245), 590, 644),
}
#: What SHA-256 says of the 151 dialogue names in the order in which s3prl's test lists of session 1 to 5 have them.
S3PRL_ORDER = "b75960ccdc6d4241"
FEWER = {"1002": 81, "1008": 76, "1009": 76, "1019": 76, "1076": 81}
ACTORS_10_PERCENT = {"1015", "1020", "1021", "1030", "1050", "1070", "1079", "1089", "1090"}
LEFT_OUT = {"1006": "TIE_NEU_XX", "1013": "WSI_DIS_XX", "1017": "IWW_FEA_XX", "1040": "ITH_SAD_XX"}


@pytest.fixture(scope="module")
def iemocap_table() -> pd.DataFrame:
    """5531 made-up turns with the real counts by session, class, speaker and kind of dialogue, in real dialogues."""
    rows = []
    for (session, (classes, women, of_women)), names in zip(SESSIONS.items(), dialogues(), strict=True):
        labels = np.random.default_rng(0).permutation(np.repeat(["neutral", "happy", "angry", "sad"], classes))
        kinds = {letter: itertools.cycle([n for n in names if n[5] == letter]) for letter in "FM"}
        talks = np.random.default_rng(1).permutation(len(labels)) < of_women
        speaks = np.random.default_rng(2).permutation(len(labels)) < women
        for k, label in enumerate(labels):
            dialogue, voice = next(kinds["F" if talks[k] else "M"]), "F" if speaks[k] else "M"
            speaker = f"Ses0{session[-1]}_{voice}"
            row = {"speaker": speaker, "session": session, "dialogue": dialogue, "label": str(label)}
            rows.append({"id": f"{dialogue}_{voice}{k:04d}", **row})
    return frame(rows)


def dialogues() -> list[list[str]]:
    """Names of the dialogues by session, in the order that superb_er holds."""
    words = {"s": "script", "i": "impro"}
    lines = iemocap._S3PRL_ORDER.strip().split("\n")
    return [
        [f"Ses0{number}{code[0]}_{words[code[1]]}{code[2:]}" for code in line.split()]
        for number, line in enumerate(lines, start=1)
    ]


@pytest.fixture(scope="module")
def cremad_table() -> pd.DataFrame:
    labels = iter(
        np.random.default_rng(0).permutation(np.repeat(sorted(facts.CREMAD_CLASSES), (1271,) * 4 + (1087, 1271)))
    )
    rows = []
    for actor in map(str, range(1001, 1092)):
        names = [f"{k:02d}" for k in range(FEWER.get(actor, 82))]
        names[0] = LEFT_OUT.get(actor, names[0])
        rows += [{"id": f"{actor}_{name}", "speaker": actor, "label": str(next(labels))} for name in names]
    return frame(rows)


@pytest.fixture(scope="module")
def emodb_table() -> pd.DataFrame:
    expected = EmoDB().expected
    labels = np.random.default_rng(0).permutation(np.repeat(list(expected.classes), list(expected.classes.values())))
    voices = np.repeat(list(expected.speakers), list(expected.speakers.values()))
    return frame([{"id": f"{v}-{k:03d}", "speaker": str(v), "label": str(labels[k])} for k, v in enumerate(voices)])


@pytest.fixture(scope="module")
def ravdess_table() -> pd.DataFrame:
    emotions = [name for name in sorted(facts.RAVDESS_CLASSES) for _ in range(4 if name == "neutral" else 8)]
    actors = [f"{number:02d}" for number in range(1, 25)]
    return frame([{"id": f"{a}-{k:02d}", "speaker": a, "label": e} for a in actors for k, e in enumerate(emotions)])


def test_superb_er_draws_what_s3prl_draws(iemocap_table: pd.DataFrame) -> None:
    names = dialogues()
    assert hashlib.sha256(" ".join(itertools.chain(*names)).encode()).hexdigest()[:16] == S3PRL_ORDER
    folds = iemocap.superb_er().folds(iemocap_table)
    assert sizes_of(folds) == [
        (3556, 890, 1085), (3606, 902, 1023), (3504, 876, 1151), (3600, 900, 1031), (3432, 858, 1241),
    ]  # fmt: skip
    listed = {name: [] for name in itertools.chain(*names)}
    for one, dialogue in sorted(zip(iemocap_table["id"], iemocap_table["dialogue"], strict=True)):
        listed[dialogue].append(one)
    for number, fold in enumerate(folds):
        others = [one for place, line in enumerate(names) if place != number for name in line for one in listed[name]]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            train, dev = random_split(others, [int(0.8 * len(others)), len(others) - int(0.8 * len(others))])
        assert (fold.train, fold.dev) == (tuple(train), tuple(dev))
        assert ids_of(iemocap_table, "session", fold.test) == {f"Session{number + 1}"}


def test_superb_er_leaves_the_generator_of_others_alone(iemocap_table: pd.DataFrame) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    iemocap.superb_er().folds(iemocap_table)
    assert torch.equal(torch.rand(3), expected)


def test_sessions_that_select(iemocap_table: pd.DataFrame) -> None:
    def selecting(protocol: PublishedProtocol) -> list[tuple[str, str]]:
        return [
            ("".join(s[-1] for s in ids_of(iemocap_table, "session", fold.test)),
             "".join(s[-1] for s in ids_of(iemocap_table, "session", fold.dev)))
            for fold in protocol.split(iemocap_table)
        ]  # fmt: skip

    assert selecting(iemocap.loso_session()) == [("1", "2"), ("2", "3"), ("3", "4"), ("4", "5"), ("5", "1")]
    assert selecting(peers.emo_superb()) == [("4", "5"), ("3", "4"), ("2", "3"), ("1", "2"), ("5", "1")]
    last = [("1", "5"), ("2", "5"), ("3", "5"), ("4", "5"), ("5", "4")]
    assert selecting(peers.peft_ser()) == selecting(peers.pepino2021()) == last
    assert selecting(iemocap.ftw2v2()) == selecting(benchmarks.emobox()) == [(str(k), "") for k in range(1, 6)]


def test_the_partner_selects_for_a_speaker(iemocap_table: pd.DataFrame) -> None:
    folds = iemocap.loso_session_speaker().folds(iemocap_table)
    assert [fold.name for fold in folds[:2]] == ["Ses01_F", "Ses01_M"]
    assert sizes_of(folds)[:3] == [(4446, 557, 528), (4446, 528, 557), (4508, 542, 481)]
    assert ids_of(iemocap_table, "speaker", folds[5].dev) == {"Ses03_F"}
    crowd = iemocap_table.assign(session=iemocap_table["session"].replace("Session2", "Session1"))
    with pytest.raises(SplitError, match=r"expected two speakers in a session, found other numbers in Session1 \(4\)"):
        iemocap.loso_session_speaker().folds(crowd)


def test_random_splits_have_the_published_sizes(iemocap_table: pd.DataFrame, cremad_table: pd.DataFrame) -> None:
    (fold,) = iemocap.speechbrain_random().folds(iemocap_table)
    assert sizes_of([fold]) == [(4424, 553, 554)]
    assert len(ids_of(iemocap_table, "speaker", fold.test)) == 10
    (quarter,) = benchmarks.emobox_quarter().folds(cremad_table)
    assert sizes_of([quarter]) == [(5586, 0, 1856)]
    tested = cremad_table[cremad_table["id"].isin(quarter.test)]["label"].value_counts()
    assert tested["neutral"] == 271 and tested["angry"] == 317
    (prefixes,) = benchmarks.serab_iem4().folds(iemocap_table)
    assert {name[3:6] for name in ids_of(iemocap_table, "dialogue", prefixes.test)} == {"01F", "03M"}


def test_serab_deals_out_speakers_as_tensorflow_datasets_do(
    cremad_table: pd.DataFrame, emodb_table: pd.DataFrame
) -> None:
    (fold,) = benchmarks.serab().folds(cremad_table)
    assert sizes_of([fold]) == [(5144, 738, 1556)]  # as the catalogue of TensorFlow Datasets has them
    assert ids_of(cremad_table, "speaker", fold.dev) == ACTORS_10_PERCENT
    assert not {f"{actor}_{name}" for actor, name in LEFT_OUT.items()} & {*fold.train, *fold.dev, *fold.test}
    part = cremad_table[cremad_table["speaker"].astype(int) % 2 == 0]
    (some,) = benchmarks.serab().folds(part)
    assert set(some.dev) == set(fold.dev) & set(part["id"])  # an actor's place does not depend on who else is there
    (german,) = benchmarks.serab().folds(emodb_table)
    assert ids_of(emodb_table, "speaker", german.test) == {"03", "12"}
    assert ids_of(emodb_table, "speaker", german.dev) == {"14", "10"}


def test_blocks_of_actors(cremad_table: pd.DataFrame, ravdess_table: pd.DataFrame) -> None:
    folds = peers.emo_superb().folds(cremad_table)
    assert sizes_of(folds)[3:] == [(4409, 1557, 1476), (4422, 1463, 1557)]
    assert ids_of(cremad_table, "speaker", folds[0].test) == {str(k) for k in range(1001, 1019)}
    assert ids_of(cremad_table, "speaker", folds[4].dev) == {str(k) for k in range(1001, 1019)}
    first, second = peers.peft_ser().folds(cremad_table)[:2]
    assert ids_of(cremad_table, "speaker", first.test) == {str(k) for k in range(1001, 1020)}
    assert ids_of(cremad_table, "speaker", first.dev) == {str(k) for k in range(1077, 1092)}
    assert ids_of(cremad_table, "speaker", second.test) == {str(k) for k in range(1020, 1038)}
    last = peers.peft_ser().folds(ravdess_table)[-1]
    assert ids_of(ravdess_table, "speaker", last.test) == {"21", "22", "23", "24"}
    assert ids_of(ravdess_table, "speaker", last.dev) == {"17", "18", "19", "20"}
    (single,) = peers.pepino2021().folds(ravdess_table)
    assert ids_of(ravdess_table, "speaker", single.dev) == {"21", "22"}
    assert ids_of(ravdess_table, "speaker", single.test) == {"23", "24"}


def test_emobox_tells_corpora_by_their_columns(ravdess_table: pd.DataFrame, emodb_table: pd.DataFrame) -> None:
    folds = benchmarks.emobox().folds(ravdess_table)
    assert sizes_of(folds) == [(1200, 0, 240)] * 6
    assert [" ".join(sorted(ids_of(ravdess_table, "speaker", fold.test))) for fold in folds] == list(
        ravdess._FOLDS["emobox"].values()
    )
    six = ravdess_table[ravdess_table["speaker"].isin(["01", "02", "03", "04", "05", "06"])]
    assert [ids_of(six, "speaker", f.test) for f in benchmarks.emobox().folds(six)] == [{f"0{k}"} for k in range(1, 7)]
    with pytest.raises(SplitError, match=r"10 speakers\. EmoBox deals more than six out at random without a seed"):
        benchmarks.emobox().folds(emodb_table)
    five = benchmarks.emobox_emodb().folds(emodb_table)
    assert sizes_of(five) == [(428, 0, 107)] * 5
    assert audit(emodb_table, five)["speakers_shared_test"].tolist() == [10] * 5


def test_what_is_shared_is_declared(
    iemocap_table: pd.DataFrame, cremad_table: pd.DataFrame, emodb_table: pd.DataFrame, ravdess_table: pd.DataFrame
) -> None:
    tables = {"IEMOCAP": iemocap_table, "CREMA-D": cremad_table, "EmoDB": emodb_table, "RAVDESS": ravdess_table}
    seen = set()
    for name, part in known_protocols().items():
        for corpus in set(getattr(part, "corpora", ())) & set(tables):
            shared = audit(tables[corpus], part().folds(tables[corpus]))
            leaks = (shared[["speakers_shared_test", "speakers_shared_dev"]] > 0).any(axis=None)
            assert leaks == (part.declared_leak is not None), (name, corpus)
            seen.add(name)
    assert len(seen) >= 13


def test_facts_are_stated_of_every_published_protocol() -> None:
    published = {name: part for name, part in known_protocols().items() if issubclass(part, PublishedProtocol)}
    assert set(published) >= {  # all that shipped once; more are found by the walk
        "superb_er", "loso_session", "loso_session_speaker", "loso_speaker", "emobox", "emobox_emodb", "emobox_quarter",
        "emo_superb", "emo_superb_podcast", "odyssey2024", "is2025", "peft_ser", "pepino2021", "ftw2v2",
        "speechbrain_random", "serab", "serab_iem4", "serab_shemo",
    }  # fmt: skip
    for name, part in published.items():
        assert part().dev_source and part.source and part.selects_on and part.aggregation, name
        assert dict(described(part))["is"].endswith("."), name


def test_other_sizes_on_published_material_are_refused(iemocap_table: pd.DataFrame) -> None:
    swapped = iemocap_table.copy()
    swapped.loc[swapped["id"] == swapped["id"][0], "session"] = (
        "Session3" if swapped["session"][0] != "Session3" else "Session1"
    )
    swapped["speaker"] = swapped["session"]
    with pytest.raises(SplitError, match=r"loso_session on IEMOCAP: fold Session\d has .* published are .*ser-corpus"):
        iemocap.loso_session().folds(swapped)
    fewer = iemocap_table.iloc[1:]
    assert len(iemocap.loso_session().folds(fewer)) == 5
    said = iemocap.loso_session().remarks(fewer)
    (sizes,) = (line for line in said if line.startswith("sizes: "))
    assert (
        sizes.startswith("sizes: 5530 utterances here, in train/dev/test ")
        and "IEMOCAP (5531 utterances: 3423/1023/1085" in sizes
    )
    with pytest.raises(ValueError, match="one of the two"):
        Sizes("x", {"1": (1, 1, 1)})


def test_the_audit_says_what_is_published(iemocap_table: pd.DataFrame) -> None:
    protocol = iemocap.superb_er()
    said = audit_sentences(iemocap_table, protocol.folds(iemocap_table), protocol)
    assert said[0].startswith("superb_er: Yang et al., SUPERB")
    assert said[1].startswith("warning: leak, declared by the protocol: the dev part has the speakers and dialogues")
    assert said[2] == (
        "published figures: selected on dev accuracy every 1,000 of 30,000 steps; reported: the mean of the five "
        "sessions' accuracies (WA), no UA"
    )
    assert "sizes are those published for IEMOCAP (5531 utterances)" in said
    assert any("8 of 8 dev speakers also occur in training" in line for line in said)


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (iemocap.superb_er(), "the session of 535 utterances is unknown"),
        (peers.emo_superb(), "the speakers are not CREMA-D's 1001 to 1091"),
        (peers.pepino2021(), "no sessions, and no actors 21 to 24 as in RAVDESS"),
        (benchmarks.serab_iem4(), "the dialogue of 535 utterances is unknown"),
        (peers.odyssey2024(), "0 different values of fold"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_corpora_are_refused(protocol: PublishedProtocol, message: str, emodb_table: pd.DataFrame) -> None:
    with pytest.raises(SplitError, match=message):
        protocol.folds(emodb_table)


def test_superb_er_is_of_iemocap_alone(iemocap_table: pd.DataFrame) -> None:
    other = iemocap_table.assign(dialogue="Ses01F_impro01").astype({"dialogue": object})
    other.loc[0, "dialogue"] = "MSP-IMPROV-S01"
    with pytest.raises(SplitError, match=r"s3prl's lists have no dialogue MSP-IMPROV-S01 \(1 unknown\)"):
        iemocap.superb_er().folds(other)
