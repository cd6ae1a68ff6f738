"""Runs side by side: figures and paired differences recomputed by hand, and what may not be compared."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import logit
from simulated_run import CLASSES, SPEAKERS
from sklearn.metrics import balanced_accuracy_score

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.comparison.compare import METRICS, Comparison, compare_runs
from ser_toolkit.evaluation.multiplicity import holm, p_value
from ser_toolkit.evaluation.predictions import read_predictions, write_predictions
from ser_toolkit.evaluation.reporting.report import build
from ser_toolkit.evaluation.results import load_results
from ser_toolkit.evaluation.sums import class_sums
from ser_toolkit.evaluation.uncertainty import CLASS_STATISTICS, Interval, paired_interval

Edit = Callable[[Path, dict], None]


MODELS = "plain/fold=*/seed=*"


def altered(run: Path, target: Path, change: Callable[[pd.DataFrame], pd.DataFrame], pattern: str = MODELS) -> Path:
    """A copy of a run whose models' predictions went through ``change``, file by file."""
    shutil.copytree(run, target)
    for path in sorted(target.glob(f"{pattern}/predictions.parquet")):
        write_predictions(path, change(read_predictions(path)[0]), CLASSES)
    return target


def mistaken(share: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Another class for a share of the utterances, different ones in every file."""
    rng = np.random.default_rng(3)

    def change(table: pd.DataFrame) -> pd.DataFrame:
        wrong = rng.random(len(table)) < share
        shifted = [CLASSES[(CLASSES.index(name) + 1) % len(CLASSES)] for name in table["predicted"]]
        return table.assign(predicted=np.where(wrong, shifted, table["predicted"]))

    return change


def stored(run: Path, pattern: str = MODELS) -> pd.DataFrame:
    return pd.concat([read_predictions(path)[0] for path in sorted(run.glob(f"{pattern}/*.parquet"))])


def models_only(run: Path, target: Path, pattern: str) -> Path:
    """A copy of a part of a run: fewer files to read."""
    for path in run.glob(pattern):
        shutil.copytree(path, target / path.relative_to(run))
    shutil.copy(run / "run.json", target)
    return target


@pytest.fixture(scope="module")
def whole(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models_only(finished_run, tmp_path_factory.mktemp("runs") / "3f9a2c71", "plain/fold=*")


@pytest.fixture(scope="module")
def worse(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return altered(whole, tmp_path_factory.mktemp("worse") / "much", mistaken(0.3))


@pytest.fixture(scope="module")
def slightly(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return altered(whole, tmp_path_factory.mktemp("worse") / "slightly", mistaken(0.02))


@pytest.fixture
def own(whole: Path, tmp_path: Path) -> Path:
    """One seed, to be damaged."""
    return models_only(whole, tmp_path / "own", "plain/fold=*/seed=0")


@pytest.fixture(scope="module")
def compared(whole: Path, worse: Path, slightly: Path) -> Comparison:
    return compare_runs([whole, worse, slightly], names=["whole", "worse", "slightly"])


def by_hand(
    one: pd.DataFrame,
    two: pd.DataFrame,
    figure: Callable = lambda rows: balanced_accuracy_score(rows["label"], rows["predicted"]),
    reach: float = 1,
) -> tuple[float, float]:
    """Difference, mean over seeds, and the t of the jackknife over speakers on the logit scale of (-reach, reach)."""

    def difference(without: str | None) -> float:
        found = []
        for seed in sorted(one["seed"].unique()):
            a, b = (figure(rows[(rows["seed"] == seed) & (rows["speaker"] != without)]) for rows in (one, two))
            found.append(b - a)
        return float(np.mean(found))

    estimate, n = difference(None), len(SPEAKERS)
    error = np.sqrt((n - 1) / n * sum((difference(one_out) - estimate) ** 2 for one_out in SPEAKERS))
    share = (estimate + reach) / (2 * reach)
    return estimate, float(logit(share) / (error / (2 * reach * share * (1 - share))))


def test_a_row_says_what_the_runs_own_report_says(whole: Path, compared: Comparison) -> None:
    own = next(s for s in build(load_results(whole))["systems"] if s["key"] == "plain/model")
    row = compared.data["rows"][0]
    assert row["metrics"] == own["metrics"]
    assert (row["utterances"], row["seeds"], row["parameters"]) == (300, [0, 1], 10245)
    assert row["difference"] is None


def test_differences_and_p_values_recomputed(whole: Path, worse: Path, slightly: Path, compared) -> None:
    rows = compared.data["rows"]
    p_values = []
    for row, run in ((rows[1], worse), (rows[2], slightly)):
        estimate, t = by_hand(stored(whole), stored(run))
        p_values.append(2 * stats.t.sf(abs(t), len(SPEAKERS) - 1))
        assert row["difference"]["estimate"] == pytest.approx(estimate, abs=1e-6)
        assert row["difference"]["p"] == pytest.approx(p_values[-1], abs=1e-6)
        assert row["difference"]["clear_of_zero"] == (p_values[-1] < 0.05)
    assert rows[1]["difference"]["clear_of_zero"]
    assert compared.data["comparisons"] == 2
    first, second = sorted(p_values)
    adjusted = {first: min(1, 2 * first), second: max(min(1, 2 * first), second)}
    for row, p in zip(rows[1:], p_values, strict=True):
        assert row["difference"]["p_holm"] == pytest.approx(adjusted[p], abs=1e-6)


def test_a_paired_interval_is_narrower_than_two_intervals(compared: Comparison) -> None:
    whole, _, slightly = compared.data["rows"]
    widths = [row["metrics"]["uar"]["high"] - row["metrics"]["uar"]["low"] for row in (whole, slightly)]
    paired = slightly["difference"]["high"] - slightly["difference"]["low"]
    assert paired < min(widths) / 2


def test_what_is_said(compared: Comparison) -> None:
    for text in (compared.text(), compared.markdown()):
        assert "3 runs on Simulated speakers, LeaveOneSpeakerOut, 10 folds, variant plain" in text
        assert "Nothing was selected: all rows were scored on test." in text
        assert "2 comparisons with whole made; p is Holm-adjusted" in text
        assert "Synthetic corpus" in text
        assert "Δ UA to whole" in text
    row = next(line for line in compared.markdown().splitlines() if line.startswith("| worse"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[-1] == "yes"
    assert cells[-3].startswith("**−")
    assert cells[-5] == "10,245"


def test_machine_readable_forms_agree(compared: Comparison) -> None:
    data = json.loads(compared.json())
    assert data == compared.data
    lines = list(csv.DictReader(io.StringIO(compared.csv())))
    assert [line["name"] for line in lines] == ["whole", "worse", "slightly"]
    assert lines[0]["difference_estimate"] == lines[0]["p_holm"] == ""
    assert float(lines[1]["difference_low"]) == data["rows"][1]["difference"]["low"]
    assert float(lines[2]["uar_estimate"]) == data["rows"][2]["metrics"]["uar"]["estimate"]
    assert {line["clear_of_zero"] for line in lines[1:]} <= {"True", "False"}


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_another_metric(whole: Path, worse: Path, metric: str) -> None:
    found = compare_runs([whole, worse], metric=metric, names=["a", "b"])
    rows = found.data["rows"]
    gap = rows[1]["metrics"][metric]["estimate"] - rows[0]["metrics"][metric]["estimate"]
    assert rows[1]["difference"]["estimate"] == pytest.approx(gap, abs=2e-6)
    assert metric in METRICS


def test_the_difference_in_ccc(own: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def noisier(table: pd.DataFrame) -> pd.DataFrame:
        size = np.where(table["speaker"].isin(["03", "08", "09"]), 0.8, 0.0)
        return table.assign(arousal_predicted=table["arousal_predicted"] + size * rng.normal(0, 1, len(table)))

    def concordance(rows: pd.DataFrame) -> float:
        x, y = rows["arousal"].to_numpy(float), rows["arousal_predicted"].to_numpy(float)
        return 2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)

    other = altered(own, tmp_path / "other", noisier)
    estimate, t = by_hand(stored(own), stored(other), concordance, reach=2)
    found = compare_runs([own, other], metric="ccc_arousal", names=["a", "b"]).data["rows"][1]["difference"]
    assert found["estimate"] == pytest.approx(estimate, abs=1e-5)
    p = 2 * stats.t.sf(abs(t), len(SPEAKERS) - 1)
    assert 0.001 < p < 0.9
    assert found["p"] == pytest.approx(p, abs=2e-6)
    same = compare_runs([own, other], names=["a", "b"]).data["rows"][1]["difference"]  # the classes are as they were
    assert (same["estimate"], same["p"]) == (0, 1)


def test_variants_with_draws_are_paired_by_draw(finished_run: Path, tmp_path: Path) -> None:
    pattern = "enrolment/fold=*/seed=*"
    one = models_only(finished_run, tmp_path / "one", pattern)
    two = altered(one, tmp_path / "two", mistaken(0.2), pattern)
    found = compare_runs([one, two], variant="enrolment", names=["a", "b"])
    tables = [stored(run, pattern).groupby(["seed", "draw"]) for run in (one, two)]
    a, b = ([balanced_accuracy_score(rows["label"], rows["predicted"]) for _, rows in table] for table in tables)
    assert len(a) == 4  # two seeds, two draws
    assert found.data["rows"][1]["difference"]["estimate"] == pytest.approx(np.mean(b) - np.mean(a), abs=1e-6)
    with pytest.raises(ResultError, match=r"no predictions of variant 'enrolement'.*Did you mean enrolment"):
        compare_runs([one, two], variant="enrolement")


def test_seeds_are_paired(whole: Path, worse: Path, tmp_path: Path) -> None:
    one_seed = shutil.copytree(worse, tmp_path / "one")
    for folder in one_seed.glob("plain/fold=*/seed=0"):
        shutil.rmtree(folder)
    found = compare_runs([whole, one_seed], names=["a", "b"])
    difference = found.data["rows"][1]["difference"]
    assert difference["seeds"] == [1]
    a, b = (table[table["seed"] == 1] for table in (stored(whole), stored(worse)))
    assert difference["estimate"] == pytest.approx(by_hand(a, b)[0], abs=1e-6)
    assert any("Seeds differ: a 0, 1; b 1." in note for note in found.data["notes"])
    back = compare_runs([one_seed, whole], names=["b", "a"]).data["rows"][1]["difference"]
    assert back["estimate"] == pytest.approx(-difference["estimate"], abs=1e-6)
    other = shutil.copytree(whole, tmp_path / "other")
    for folder in other.glob("plain/fold=*/seed=1"):
        shutil.rmtree(folder)
    with pytest.raises(ResultError, match="no seed in common"):
        compare_runs([one_seed, other], names=["a", "b"])


def test_names_come_from_recipes_or_hashes(whole: Path, worse: Path, tmp_path: Path, edit_record: Edit) -> None:
    assert [row["name"] for row in compare_runs([whole, worse]).data["rows"]] == [
        "emodb_example/3f9a2c71",
        "emodb_example/much",
    ]
    renamed = shutil.copytree(worse, tmp_path / "x")
    edit_record(renamed, {"recipe": "another"})
    assert [row["name"] for row in compare_runs([whole, renamed]).data["rows"]] == ["emodb_example", "another"]


def test_runs_of_one_recipe_are_called_by_what_differs(whole: Path, worse: Path, tmp_path: Path) -> None:
    folders = [shutil.copytree(run, tmp_path / name) for run, name in ((whole, "a"), (worse, "b"))]
    for folder, rate, pooling in zip(folders, (0.1, 0.2), ("MeanPooling", "MaxPooling"), strict=True):
        model = {
            "optimizer": {"class_path": "Adam", "init_args": {"lr": rate, "eps": 1}},
            "pooling": {"class_path": pooling},
        }
        (folder / "config.yaml").write_text(json.dumps({"model": model, "output": str(folder)}))
    assert [row["name"] for row in compare_runs(folders).data["rows"]] == [
        "emodb_example lr=0.1, pooling=MeanPooling",
        "emodb_example lr=0.2, pooling=MaxPooling",
    ]


def test_there_is_one_verdict_and_it_is_the_adjusted_one(
    monkeypatch: pytest.MonkeyPatch, whole: Path, worse: Path
) -> None:
    monkeypatch.setattr("ser_toolkit.evaluation.comparison.compare.holm", lambda p_values: [0.053 for _ in p_values])
    found = compare_runs([whole, worse])
    difference = found.data["rows"][1]["difference"]
    assert (difference["clear_of_zero"], difference["differs"]) == (True, False)
    table = found.table()
    assert (table.columns[-2:], [cell.text for cell in table.rows[1][-2:]]) == (
        ["p (Holm)", "differs"],
        ["0.053", "no"],
    )
    assert not table.rows[1][-3].strong
    assert "clear of 0" not in found.text()


def relabel(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(label=table["label"].where(table["id"] != "03a00", "boredom"))


def rename(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(id=table["id"].replace("03a00", "03a99"))


def swap_speaker(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(speaker=table["speaker"].where(table["id"] != "03a00", "08"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (relabel, "1 utterances have another label, first 03a00 (anger and boredom)"),
        (rename, "1 utterances were tested in a alone, such as 03a00"),
        (swap_speaker, "1 utterances have another cluster, first 03a00 (03 and 08)"),
    ],
)
def test_other_tests_are_refused(own: Path, tmp_path: Path, change: Callable, message: str) -> None:
    other = altered(own, tmp_path / "other", change)
    with pytest.raises(ResultError) as caught:
        compare_runs([own, other], names=["a", "b"])
    assert str(caught.value).startswith("a and b cannot be compared: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus": {"name": "EmoDB"}}, "the corpus is 'Simulated speakers' in the first and 'EmoDB' in the second"),
        (
            {"protocol": {"name": "GroupedKFold"}},
            "the protocol is 'LeaveOneSpeakerOut' in the first and 'GroupedKFold'",
        ),
        ({"protocol": {"cluster_by": "session"}}, "the cluster of intervals is 'speaker'"),
    ],
)
def test_other_records_are_refused(own: Path, tmp_path: Path, edit_record: Edit, changes: dict, message: str) -> None:
    other = shutil.copytree(own, tmp_path / "other")
    edit_record(other, changes)
    with pytest.raises(ResultError, match=message):
        compare_runs([own, other], names=["a", "b"])


def test_an_unwhole_is_refused_unless_all_are(own: Path, tmp_path: Path) -> None:
    other = shutil.copytree(own, tmp_path / "other")
    shutil.rmtree(other / "plain" / "fold=09")
    with pytest.raises(ResultError, match=r"b lacks fold 09 \(seed 0\).*finish it with its ser-train command"):
        compare_runs([own, other], names=["a", "b"])
    third = shutil.copytree(other, tmp_path / "third")
    assert "9 of 10 folds" in compare_runs([other, third], names=["a", "b"]).text()


def test_what_differs_without_harm_is_said(own: Path, tmp_path: Path, edit_record: Edit) -> None:
    other = shutil.copytree(own, tmp_path / "other")
    edit_record(other, {"manifest_hash": "ffff", "protocol": {"dev_source": "three other speakers"}})
    notes = " ".join(compare_runs([own, other], names=["a", "b"]).data["notes"])
    assert "Validation differs: one other speaker of the training part (a); three other speakers (b)." in notes
    assert "The manifest (rows or audio of the corpus copy) differs" in notes


def test_costs_come_from_the_units(own: Path, tmp_path: Path) -> None:
    other = shutil.copytree(own, tmp_path / "other")
    for number, unit in enumerate(sorted(other.glob("plain/fold=*/seed=0"))):
        (unit / "fit.json").write_text(json.dumps({"seconds": 2.0}))
        (unit / "refit.json").write_text(json.dumps({"seconds": 0.5}))
        (unit / "metrics.json").write_text(json.dumps({"parameters": {"trained": 100 + number}}))
    rows = compare_runs([own, other], names=["a", "b"]).data["rows"]
    assert [(row["parameters"], row["fit_seconds"]) for row in rows] == [(10245, None), (109, 25.0)]
    (other / "plain" / "fold=03" / "seed=0" / "fit.json").write_text("{")
    with pytest.raises(ResultError, match=r"fit\.json is damaged"):
        compare_runs([own, other], names=["a", "b"])


def test_without_clusters_there_is_no_p_value(own: Path, tmp_path: Path) -> None:
    pairs = []
    for name in ("a", "b"):
        nobody = altered(own, tmp_path / name, lambda table: table.assign(speaker=None))
        pairs.append(nobody)
    found = compare_runs(pairs, names=["a", "b"])
    difference = found.data["rows"][1]["difference"]
    assert (difference["low"], difference["p"], difference["p_holm"], difference["clear_of_zero"]) == (None,) * 4
    assert "speaker is unknown for 300 utterances" in found.text()


def test_a_wrong_call_says_what_to_do(whole: Path, worse: Path) -> None:
    for paths, names, metric, message in (
        ([whole], None, None, "needs at least two runs, found 1"),
        ([whole, whole], None, None, "is given twice: a run does not differ from itself"),
        ([whole, worse], ["a"], None, r"1 names \(a\) for 2 runs"),
        ([whole, worse], ["a", "a"], None, "The name a is given twice"),
        ([whole, worse], None, "ua", "Did you mean uar"),
    ):
        with pytest.raises(ResultError, match=message):
            compare_runs(paths, metric=metric, names=names)


def test_holm_by_the_published_rule() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([None, 0.02, 0.5]) == [None, pytest.approx(0.06), 1.0]  # a comparison without p is one all the same
    assert holm([]) == []


@given(st.integers(0, 10_000))
def test_p_and_interval_agree(seed: int) -> None:
    """An interval is clear of 0 exactly when p is below 1 - level."""
    rng = np.random.default_rng(seed)
    truth, cluster = rng.integers(0, 3, 90), np.repeat(np.arange(6), 15)
    sides = []
    for skill in rng.uniform(0.3, 0.8, 2):
        predicted = np.where(rng.random(90) < skill, truth, rng.integers(0, 3, 90))
        sides.append(class_sums(truth, predicted, cluster, (6, 3))[None])
    found = paired_interval(sides[0], sides[1], CLASS_STATISTICS[0])
    p = p_value(found)
    assert p is not None
    assert (p < 0.05) == (found.low > 0 or found.high < 0)  # type: ignore[operator]


def test_p_of_a_difference_without_spread() -> None:
    assert p_value(Interval(0.0, 0.0, 0.0, 5)) == 1
    assert p_value(Interval(0.2, 0.2, 0.2, 5)) is None
    assert p_value(Interval(0.2, None, None, 1)) is None
