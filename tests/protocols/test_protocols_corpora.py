"""Published protocols on corpora with lists of speakers of their own, on names of files, and on MSP-Podcast."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from corpus_replicas import REPLICAS
from protocol_tables import frame, ids_of, sizes_of

from ser_toolkit.corpora import cafe, esd, subesco
from ser_toolkit.corpora.msp_podcast import MSPPodcast
from ser_toolkit.corpora.shemo import ShEMO
from ser_toolkit.data.prepare import table_from_rows
from ser_toolkit.errors import SplitError
from ser_toolkit.protocols import benchmarks, facts, peers
from ser_toolkit.protocols.audit import audit


@pytest.mark.parametrize(
    ("speakers", "folds", "classes", "sizes"),
    [
        (cafe._ACTORS, cafe._FOLDS, facts.CAFE_CLASSES, (624, 0, 312)),
        (subesco._SPEAKERS, subesco._FOLDS, facts.SUBESCO_CLASSES, (5600, 0, 1400)),
        ([f"00{k:02d}" for k in range(1, 21)], esd._FOLDS, facts.ESD_CLASSES, (28000, 0, 7000)),
    ],
    ids=["CaFE", "SUBESCO", "ESD"],
)
def test_emobox_has_lists_of_speakers(
    speakers: list[str], folds: tuple[str, ...], classes: dict[str, int], sizes: tuple[int, int, int]
) -> None:
    labels = np.repeat(list(classes), np.array(list(classes.values())) // len(speakers))
    voices = np.repeat(list(speakers), len(labels))
    table = pd.DataFrame({"speaker": voices, "label": np.tile(labels, len(speakers)), "session": None}, dtype=object)
    table["id"] = [f"{k:05d}" for k in range(len(table))]
    found = benchmarks.emobox().folds(table)
    assert sizes_of(found) == [sizes] * len(folds)
    assert [ids_of(table, "speaker", fold.test) for fold in found] == [
        {name if len(name) > 2 or len(speakers) == 12 else f"00{name}" for name in line.split()} for line in folds
    ]
    with pytest.raises(SplitError, match=r"speakers\. EmoBox deals more than six out"):
        benchmarks.emobox().folds(table[table["speaker"] != speakers[0]])
    with pytest.raises(SplitError, match=r"speakers\. EmoBox deals more than six out"):
        benchmarks.emobox().folds(table.assign(language="de"))


def test_serab_orders_subesco_by_first_names() -> None:
    labels = list(facts.SUBESCO_CLASSES)
    rows = [
        {"id": f"{name}_{k:03d}", "speaker": name, "label": labels[k % 7]}
        for name in subesco._SPEAKERS
        for k in range(350)
    ]
    (fold,) = benchmarks.serab().folds(frame(rows))
    assert sizes_of([fold]) == [(4200, 1400, 1400)]
    # JOYEETA, MOUNI, OISHI, SIMI select; BASHIR, DURANTO, PRASUN, SIBLY are tested
    assert ids_of(frame(rows), "speaker", fold.dev) == {"F_08", "F_05", "F_01", "F_06"}
    assert ids_of(frame(rows), "speaker", fold.test) == {"M_01", "M_05", "M_08", "M_07"}


def test_serab_takes_numbers_of_utterances_for_speakers(tmp_path: Path) -> None:
    rows = [
        {"id": f"{voice}{letter}{number:02d}", "speaker": voice, "label": letter}
        for voice, count in (("F01", 12), ("M01", 10))
        for letter in "AN"
        for number in range(1, count + 1)
    ]
    table = frame(rows)
    (fold,) = benchmarks.serab_shemo().folds(table)
    names = [f"{number:02d}" for number in range(1, 13)]
    np.random.RandomState(0).shuffle(names)
    assert {one[4:6] for one in fold.test} == set(names[9:]) and {one[4:6] for one in fold.dev} == set(names[7:9])
    assert audit(table, [fold])["speakers_shared_test"].tolist() == [2]
    given = [row.id for row in ShEMO().utterances(REPLICAS["shemo"]().write(tmp_path))]
    assert all(re.fullmatch(r"[FM]\d\d[AFHNSW]01", one) for one in given)  # such names are what it takes apart
    with pytest.raises(SplitError, match=r"is no name such as F01N05\. It is of ShEMO alone"):
        benchmarks.serab_shemo().folds(table.assign(id="x" + table["id"]))


def test_quarters_of_complete_copies() -> None:
    for name, (size, classes) in facts.QUARTERS.items():
        labels = np.repeat(list(classes), list(classes.values()))
        table = frame([{"id": f"{k:05d}", "speaker": str(k % 2), "label": str(one)} for k, one in enumerate(labels)])
        protocol = benchmarks.emobox_quarter()
        assert sizes_of(protocol.folds(table)) == [size], name
        assert f"sizes are those published for {name} ({sum(size)} utterances)" in protocol.remarks(table)


def test_sessions_of_msp_improv() -> None:
    counts = (979, 1422, 1765, 1108, 1499, 1612)
    table = frame(
        [
            {"id": f"{k}-{n:04d}", "speaker": f"F0{k}", "session": f"session{k}", "label": "ANHS"[n % 4]}
            for k, count in enumerate(counts, start=1)
            for n in range(count)
        ]
    )
    folds = peers.emo_superb().folds(table)
    assert [ids_of(table, "session", fold.test).pop()[-1] for fold in folds] == list("432165")
    assert [ids_of(table, "session", fold.dev).pop()[-1] for fold in folds] == list("321654")
    assert sizes_of(folds)[0] == (5512, 1765, 1108)
    with pytest.raises(SplitError, match=r"MSP-IMPROV's session1 to session6, found session1, session2"):
        peers.emo_superb().folds(table[table["session"] != "session6"].replace("session5", "session7"))


@pytest.fixture(scope="module")
def podcast_table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The parser's rows of its replica, with two recordings of Test3."""
    root = REPLICAS["msp_podcast"]().write(tmp_path_factory.mktemp("podcast"))
    for number in (1, 2):
        (root / "Audios" / f"MSP-PODCAST_test3_000{number}.wav").touch()
    return table_from_rows(MSPPodcast(test3=True).utterances(root))


def test_challenges_on_the_parsers_rows(podcast_table: pd.DataFrame) -> None:
    labelled = podcast_table[podcast_table["label"].notna()]  # as a recipe gives them to its protocol
    assert len(podcast_table) == len(labelled) + 2
    for protocol, names in (
        (peers.odyssey2024(), ["test1", "test2"]),
        (peers.is2025(), ["test1", "test2"]),
        (peers.emo_superb_podcast(), ["test1"]),
    ):
        assert protocol.cluster_by == "speaker_or_dialogue"
        folds = protocol.folds(labelled)
        assert [fold.name for fold in folds] == names
        assert sizes_of(folds) == [(8, 8, 8)] * len(names)
        said = " ".join(protocol.remarks(labelled))
        assert "leak, declared by the protocol: part of the speakers is unknown" in said
    assert "sizes of release 1.12 were not found in public" in " ".join(peers.is2025().remarks(labelled))


def test_emo_superb_on_release_1_11() -> None:
    counts = {"train": 84030, "dev": 19815, "test1": 30647, "test2": 14815}
    part = np.repeat(list(counts), list(counts.values()))
    table = pd.DataFrame({"fold": part, "label": "angry", "speaker": None}, dtype=object)
    table["id"] = [f"{k:06d}" for k in range(len(table))]
    protocol = peers.emo_superb_podcast()
    assert sizes_of(protocol.folds(table)) == [(84030, 19815, 30647)]
    assert "sizes are those published for MSP-Podcast (149307 utterances)" in protocol.remarks(table)
    table.loc[0, "fold"] = "dev"
    with pytest.raises(SplitError, match=r"on MSP-Podcast: fold test1 has \(84029, 19816, 30647\)"):
        protocol.folds(table)


def test_challenges_score_eight_classes_on_published_partitions() -> None:
    emotions = [name for name in sorted(facts.RAVDESS_CLASSES) for _ in range(4 if name == "neutral" else 8)]
    rows = [
        {"id": f"{a}-{k:02d}", "speaker": f"{a:02d}", "label": e} for a in range(1, 25) for k, e in enumerate(emotions)
    ]
    number = frame(rows)["speaker"].astype(int)
    named = frame(rows).assign(fold=np.select([number < 15, number < 20], ["Train", "Development"], "Test1"))
    named["speaker"] = named["speaker"].where(number != 3, None)  # unknown, as in the corpus
    (fold,) = peers.is2025().folds(named.astype({"fold": object}))
    assert (fold.name, len(fold.train), len(fold.dev), len(fold.test)) == ("Test1", 14 * 60, 300, 300)
    ninth = named.assign(label=named["label"].where(named.index != 5, "other")).astype({"fold": object})
    with pytest.raises(SplitError, match=r"is2025: 9 classes .*the challenge scores eight"):
        peers.is2025().folds(ninth)
