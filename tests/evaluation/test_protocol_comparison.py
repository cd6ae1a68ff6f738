"""The worth of a protocol: paired by utterance whatever folds tested it, and never taken for the worth of a model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logit
from simulated_run import CLASSES, RECORD, SPEAKERS
from sklearn.metrics import balanced_accuracy_score

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.comparison.compare import NOTHING_SELECTED, compare_runs
from ser_toolkit.evaluation.predictions import read_predictions, write_predictions

pytestmark = pytest.mark.usefixtures("no_pictures")

Change = Callable[[pd.DataFrame], pd.DataFrame]
BOTH = "speaker_or_dialogue"
LEAK = "speakers are shared: results do not hold for new speakers"


def stored(run: Path) -> pd.DataFrame:
    return pd.concat([read_predictions(path)[0] for path in sorted(run.glob("plain/fold=*/seed=*/*.parquet"))])


def better(table: pd.DataFrame) -> pd.DataFrame:
    """Half of the mistakes are put right."""
    right = np.random.default_rng(5).random(len(table)) < 0.5
    return table.assign(predicted=np.where(right, table["label"], table["predicted"]))


def dealt(run: Path, target: Path, change: Change = better, folds: int = 5, **protocol: object) -> Path:
    """A run under a leaky protocol: its utterances dealt out to folds, its predictions changed."""
    table = change(stored(run))
    number = np.argsort(np.random.default_rng(0).permutation(len(table))) % folds
    for (fold, seed), rows in table.assign(fold=number.astype(str)).groupby(["fold", "seed"]):
        write_predictions(target / f"plain/fold={fold}/seed={seed}/predictions.parquet", rows, CLASSES)
    described = {**RECORD["protocol"], "name": "random", "declared_leak": LEAK, "dev_source": "no dev part", **protocol}  # type: ignore[dict-item]
    record = {**RECORD, "protocol": described, "seeds": [0], "folds": [str(fold) for fold in range(folds)]}
    (target / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return target


@pytest.fixture
def careful(own_run: Path, tmp_path: Path) -> Path:
    """Leave one speaker out, one seed, the plain models alone."""
    target = tmp_path / "careful"
    shutil.copytree(own_run / "plain", target / "plain", ignore=shutil.ignore_patterns("baseline=*"))
    shutil.copy(own_run / "run.json", target)
    return target


@pytest.fixture
def leaky(careful: Path, tmp_path: Path) -> Path:
    return dealt(careful, tmp_path / "leaky")


def by_hand(one: pd.DataFrame, two: pd.DataFrame, by: str = "speaker") -> tuple[float, float, float]:
    """Two minus one over the utterances of both, and the ends of the jackknife over clusters on the logit scale."""
    both = one.merge(two, on="id", suffixes=("", "_two"))

    def difference(rows: pd.DataFrame) -> float:
        return balanced_accuracy_score(rows["label"], rows["predicted_two"]) - balanced_accuracy_score(
            rows["label"], rows["predicted"]
        )

    groups, estimate = both[by].unique(), difference(both)
    n = len(groups)
    parts = [difference(both[both[by] != group]) for group in groups]
    error = np.sqrt((n - 1) / n * sum((part - estimate) ** 2 for part in parts))
    share = (estimate + 1) / 2
    reach = stats.t.ppf(0.975, n - 1) * error / (2 * share * (1 - share))
    low, high = (2 / (1 + np.exp(-(logit(share) + side * reach))) - 1 for side in (-1, 1))
    return estimate, float(low), float(high)


def test_the_difference_is_paired_by_utterance(careful: Path, leaky: Path) -> None:
    found = compare_runs([careful, leaky], allow_protocols=True).data["rows"][1]["difference"]
    estimate, low, high = by_hand(stored(careful), stored(leaky))
    assert estimate > 0.05
    assert [found["estimate"], found["low"], found["high"]] == pytest.approx([estimate, low, high], abs=2e-6)
    assert (found["clusters"], found["clear_of_zero"]) == (len(SPEAKERS), True)
    back = compare_runs([leaky, careful], allow_protocols=True).data["rows"][1]["difference"]
    assert back["estimate"] == pytest.approx(-estimate, abs=2e-6)


def test_only_what_both_tested_counts_in_the_difference(careful: Path, tmp_path: Path) -> None:
    def quarter_left(table: pd.DataFrame) -> pd.DataFrame:
        return better(table)[np.arange(len(table)) % 4 == 0]

    few = dealt(careful, tmp_path / "few", quarter_left, folds=1)
    found = compare_runs([careful, few], names=["all", "few"], allow_protocols=True)
    row = found.data["rows"][1]
    assert row["tested"] == {"both": 75, "here_only": 0, "first_only": 225}
    estimate, low, high = by_hand(stored(careful), stored(few))
    difference = row["difference"]
    assert [difference[end] for end in ("estimate", "low", "high")] == pytest.approx([estimate, low, high], abs=2e-6)
    own = [row["metrics"]["uar"]["estimate"] for row in found.data["rows"]]
    assert abs(own[1] - own[0] - estimate) > 1e-3, "the rows' own figures are over all that they tested"
    assert "few and all: 75 utterances were tested in both, 225 in all alone. Only the former count" in found.text()


def test_every_number_of_clusters_is_said(careful: Path, tmp_path: Path) -> None:
    three = dealt(careful, tmp_path / "three", lambda table: table[table["speaker"].isin(SPEAKERS[:3])], folds=1)
    for runs in ([careful, three], [three, careful]):
        found = compare_runs(runs, names=["a", "b"], allow_protocols=True)
        assert [row["metrics"]["uar"]["clusters"] for row in found.data["rows"]] in ([10, 3], [3, 10])
        assert found.data["rows"][1]["difference"]["clusters"] == 3
        assert "interval over 3 to 10 speakers (jackknife, t with 2 to 9 degrees of freedom)" in found.text()


def test_the_table_says_what_it_is_about(careful: Path, leaky: Path) -> None:
    found = compare_runs([careful, leaky], allow_protocols=True)
    assert [row["name"] for row in found.data["rows"]] == ["LeaveOneSpeakerOut", "random"]
    assert [(row["protocol"], row["leak"], row["folds"]) for row in found.data["rows"]] == [
        ("LeaveOneSpeakerOut", None, 10),
        ("random", LEAK, 5),
    ]
    for text in (found.text(), found.markdown()):
        assert "2 protocols on Simulated speakers, variant plain" in text
        assert "not which model is better" in text
        assert text.count("Leak that the protocol declares") == 1
        assert f"Leak that the protocol declares (random): {LEAK}." in text
        assert "Do not compare these figures" not in text, "they are compared on purpose"
        assert "Synthetic corpus" in text, "other warnings stay"
        assert NOTHING_SELECTED not in text
    rows = [line for line in found.markdown().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]
    assert [line[0] for line in cells] == ["Run", "---", "LeaveOneSpeakerOut", "random"]
    assert [line[1] for line in cells[2:]] == ["10", "5"]
    assert [line[-1] for line in cells] == ["declared leak", "---:", "none", "speakers are shared"]


@pytest.mark.parametrize(
    ("refit", "parts", "size", "said"),
    [
        (
            False,
            {"a": [100, 30, 20], "b": [110, 20, 20]},
            105,
            "random: part of the difference may come from that. Protocols with equal numbers",
        ),
        (
            True,
            {"a": [100, 30, 20], "b": [110, 20, 20]},
            130,
            "random: as many as LeaveOneSpeakerOut, the difference does not come from that.",
        ),
        (False, {}, None, "How much random trained on is not recorded"),
    ],
)
def test_training_sizes_stand_beside_the_rows(
    careful: Path,
    tmp_path: Path,
    refit: bool,
    parts: dict,
    size: float | None,
    said: str,
    edit_record: Callable,
) -> None:
    other = dealt(careful, tmp_path / "other", parts=parts)
    edit_record(other, {"selection": {"refit": refit}})
    edit_record(careful, {"protocol": {**RECORD["protocol"], "parts": {"03": [131, 0, 20]}}})  # type: ignore[dict-item]
    found = compare_runs([careful, other], allow_protocols=True)
    assert [row["trained_on"] for row in found.data["rows"]] == [131, size]
    assert said in found.text()


def test_what_several_rows_have_in_common_is_said_once(careful: Path, leaky: Path, tmp_path: Path) -> None:
    third = dealt(careful, tmp_path / "third", folds=3)
    said = compare_runs([careful, leaky, third], names=["a", "b", "c"], allow_protocols=True).text()
    assert f"Leak that the protocol declares (b, c): {LEAK}.\n" in said
    assert "b, c and a: 300 utterances were tested in both.\n" in said


def test_it_has_to_be_asked_for(careful: Path, leaky: Path) -> None:
    with pytest.raises(ResultError, match=r"the protocol is 'LeaveOneSpeakerOut' .* add --protocols\.$"):
        compare_runs([careful, leaky], names=["a", "b"])


def test_one_protocol_is_compared_as_ever(careful: Path, tmp_path: Path) -> None:
    other = shutil.copytree(careful, tmp_path / "other")
    usual, allowed = (compare_runs([careful, other], allow_protocols=allow) for allow in (False, True))
    assert usual.data == allowed.data
    shutil.rmtree(other / "plain" / "fold=09")
    with pytest.raises(ResultError, match="lacks fold 09"):
        compare_runs([careful, other], allow_protocols=True)


def test_one_protocol_with_other_folds_is_another(careful: Path, tmp_path: Path) -> None:
    other = dealt(careful, tmp_path / "other", name="LeaveOneSpeakerOut")
    found = compare_runs([careful, other], names=["a", "b"], allow_protocols=True)
    assert found.data["across_protocols"]


def relabel(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(label=table["label"].where(table["id"] != "03a00", "boredom"))


def swap_speaker(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(speaker=table["speaker"].where(table["id"] != "03a00", "08"))


def shift(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(arousal=table["arousal"].where(table["id"] != "03a00", 0.123))


def others(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(id=table["id"].where(table["speaker"].isin(SPEAKERS[:4]), "x" + table["id"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (relabel, "1 utterances have another label, first 03a00"),
        (swap_speaker, "1 utterances have another speaker, first 03a00"),
        (shift, "1 utterances have another arousal, first 03a00"),
        (others, "120 utterances were tested in both, of 300 and 300"),
    ],
)
def test_another_truth_or_other_utterances_are_refused(
    careful: Path, tmp_path: Path, change: Change, message: str
) -> None:
    other = dealt(careful, tmp_path / "other", change)
    with pytest.raises(ResultError, match=message):
        compare_runs([careful, other], names=["a", "b"], allow_protocols=True)


def test_an_utterance_of_several_folds_is_refused(careful: Path, leaky: Path) -> None:
    shutil.copytree(leaky / "plain" / "fold=0", leaky / "plain" / "fold=9")
    path = leaky / "plain" / "fold=9" / "seed=0" / "predictions.parquet"
    write_predictions(path, read_predictions(path)[0].assign(fold="9"), CLASSES)
    with pytest.raises(ResultError, match="b tests 60 utterances in several folds"):
        compare_runs([careful, leaky], names=["a", "b"], allow_protocols=True)


@pytest.mark.parametrize("turned", [False, True])
def test_the_coarser_clusters_are_resampled(careful: Path, tmp_path: Path, turned: bool) -> None:
    other = dealt(careful, tmp_path / "other", cluster_by="session")
    runs = [other, careful] if turned else [careful, other]
    found = compare_runs(runs, names=["a", "b"], allow_protocols=True)
    difference = found.data["rows"][1]["difference"]
    expected = by_hand(*(stored(run) for run in runs), by="session")
    assert (found.data["cluster_by"], difference["clusters"]) == ("session", 5)
    assert [difference[end] for end in ("estimate", "low", "high")] == pytest.approx(expected, abs=2e-6)


def test_rows_that_differ_in_more_than_the_protocol_say_so(careful: Path, leaky: Path) -> None:
    common = "trainer: {max_epochs: 3}\n"
    for run, root, protocol, c in ((careful, "/a", "x", 1), (leaky, "/b", "y", 2)):
        text = f"{common}data: {{root: {root}, protocol: {protocol}}}\nmodel: {{head: {{C: {c}}}}}\noutput: {root}\n"
        (run / "config.yaml").write_text(text, encoding="utf-8")
    found = compare_runs([careful, leaky], allow_protocols=True)
    assert "random differs from LeaveOneSpeakerOut in more than its protocol (model.head): the dif" in found.text()
    shutil.copy(careful / "config.yaml", leaky)
    assert "in more than its protocol" not in compare_runs([careful, leaky], allow_protocols=True).text()
    for damaged in ("a: [", "[1]", "mod"):
        (leaky / "config.yaml").write_text(damaged, encoding="utf-8")
        with pytest.raises(ResultError, match=r"config\.yaml is damaged"):
            compare_runs([careful, leaky], allow_protocols=True)


@pytest.mark.parametrize("turned", [False, True])
def test_unknown_speakers_are_resampled_as_the_protocol_does_that_knows_how(
    careful: Path, tmp_path: Path, turned: bool
) -> None:
    def nameless(table: pd.DataFrame) -> pd.DataFrame:
        unknown = table["speaker"].isin(SPEAKERS[:4])
        return table.assign(dialogue="d" + table["session"], speaker=table["speaker"].mask(unknown))

    runs = [dealt(careful, tmp_path / "by_speaker", nameless)]
    runs += [dealt(careful, tmp_path / "other", lambda table: nameless(better(table)), 3, cluster_by=BOTH)]
    runs = runs[::-1] if turned else runs
    found = compare_runs(runs, names=["a", "b"], allow_protocols=True)
    tables = [stored(run) for run in runs]
    tables = [table.assign(cluster=table["speaker"].fillna(table["dialogue"])) for table in tables]
    difference = found.data["rows"][1]["difference"]
    assert (found.data["cluster_by"], difference["reason"]) == (BOTH, "")
    expected = by_hand(*tables, by="cluster")
    assert [difference[end] for end in ("estimate", "low", "high")] == pytest.approx(expected, abs=2e-6)
