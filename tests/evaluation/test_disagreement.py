"""What a report says of models beside mean votes, uniform shares and half of the raters, and runs scored anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats
from scipy.special import logit
from scipy.stats import entropy
from simulated_run import CLASSES, make_run

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.comparison.compare import compare_runs
from ser_toolkit.evaluation.comparison.relabelled import OtherLabels
from ser_toolkit.evaluation.distributions import VOTE_FIGURES, vote_shares
from ser_toolkit.evaluation.predictions import probability_columns, read_predictions, write_predictions
from ser_toolkit.evaluation.reporting.report import Report, build, markdown, write_report
from ser_toolkit.evaluation.results import load_results

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def voted_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain models without baselines; seven raters an utterance, who hear neutral or the label; ties have no label."""
    run = make_run(tmp_path_factory.mktemp("voted") / "run", seeds=(0,))
    shutil.rmtree(run / "enrolment")
    for folder in run.glob("*/baseline=egemaps_svm"):
        shutil.rmtree(folder)
    rng, heard = np.random.default_rng(2), {}
    for path in sorted(run.rglob("predictions.parquet")):
        table, classes = read_predictions(path)
        for name, label in zip(table["id"], table["label"], strict=True):
            drawn = rng.choice([label, "neutral", "boredom"], 7, p=[0.5, 0.4, 0.1])
            heard.setdefault(name, {word: int((drawn == word).sum()) for word in sorted(set(drawn))})
        label = table["label"].where(table["id"].str[-2:] != "07", None)
        write_predictions(path, table.assign(votes=table["id"].map(heard), label=label), classes)
    record = json.loads((run / "run.json").read_text())
    record |= {
        "variants": {"plain": {"explanation": "as it is"}},
        "labels": {"rule": "Intended", "explanation": "as asked"},
    }
    (run / "run.json").write_text(json.dumps(record))
    return run


@pytest.fixture
def own_run(tmp_path: Path, voted_run: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(voted_run, tmp_path / "run"))


def table_of(run: Path) -> pd.DataFrame:
    return pd.concat([read_predictions(path)[0] for path in sorted(run.glob("plain/fold=*/seed=*/*.parquet"))])


def rows_of(run: Path) -> dict[tuple[str, str], dict]:
    return {(row["against"], row["who"]): row for row in build(load_results(run))["votes"]["rows"]}


@pytest.fixture(scope="module")
def rows(voted_run: Path) -> dict[tuple[str, str], dict]:
    """Those of the run as it is."""
    return rows_of(voted_run)


def test_rows_of_a_report(voted_run: Path, rows: dict) -> None:
    votes, half = "votes", "half"
    assert list(rows) == [
        (votes, "model"),
        (votes, "majority class"),
        (votes, "mean votes"),
        (votes, "uniform"),
        (half, "the other half"),
        (half, "model"),
    ]
    assert {row["utterances"] for row in rows.values()} == {300}, "also those without a label"
    table = table_of(voted_run)
    human = vote_shares(table["votes"], CLASSES)
    kl = entropy(human, table[probability_columns(CLASSES)].to_numpy(float), axis=1).mean()
    assert rows[votes, "model"]["metrics"]["kl_votes"]["estimate"] == pytest.approx(kl, abs=2e-5)
    assert rows[votes, "uniform"]["metrics"]["kl_votes"]["estimate"] == pytest.approx(
        entropy(human, np.full((300, 5), 0.2), axis=1).mean(), abs=1e-5
    )
    assert rows[votes, "uniform"]["metrics"]["macro_f1_votes"]["estimate"] == 0, "nothing lies above 1/C"
    assert "kl_votes" not in rows[half, "the other half"]["metrics"]


def test_mean_votes_come_from_what_the_fold_does_not_test(own_run: Path, rows: dict) -> None:
    table = table_of(own_run)
    shares = pd.DataFrame(vote_shares(table["votes"], CLASSES), index=table["fold"])
    constant = {fold: shares[shares.index != fold].mean() for fold in shares.index.unique()}
    expected = np.mean([entropy(row, constant[fold]) for fold, row in shares.iterrows()])
    row = rows["votes", "mean votes"]
    assert row["metrics"]["kl_votes"]["estimate"] == pytest.approx(expected, abs=1e-5)
    # votes of utterances that no fold tests are known from the manifest
    more = pd.concat([table[["id", "votes"]], pd.DataFrame({"id": ["x"], "votes": ['{"disgust": 7}']})])
    everything = pd.concat([shares, pd.DataFrame([[0, 0, 1.0, 0, 0]], index=["none"])])
    constant = {fold: everything[everything.index != fold].mean() for fold in shares.index.unique()}
    expected = np.mean([entropy(row, constant[fold]) for fold, row in shares.iterrows()])
    pq.write_table(pa.Table.from_pandas(more, preserve_index=False), own_run / "manifest.parquet")
    found = rows_of(own_run)["votes", "mean votes"]["metrics"]["kl_votes"]["estimate"]
    assert found == pytest.approx(expected, abs=1e-5)
    assert found != row["metrics"]["kl_votes"]["estimate"]


def test_the_difference_to_mean_votes_is_paired(rows: dict) -> None:
    model, mean = (rows["votes", who]["metrics"]["kl_votes"] for who in ("model", "mean votes"))
    gap = rows["votes", "model"]["difference"]
    assert gap["estimate"] == pytest.approx(model["estimate"] - mean["estimate"], abs=2e-6)
    assert gap["low"] < gap["estimate"] < gap["high"]


def test_halves_agree_where_all_raters_do_and_models_meet_the_same_halves(own_run: Path, rows: dict) -> None:
    assert 0 < rows["half", "the other half"]["metrics"]["js_votes"]["estimate"] < 0.3
    for path in own_run.rglob("predictions.parquet"):
        table, classes = read_predictions(path)
        heard = np.arange(len(table)) % 5
        said = np.where(np.arange(len(table)) < 20, heard, (heard + 1) % 5)  # wrong in the last ten of thirty
        sure = dict(zip(probability_columns(classes), np.eye(5)[said].T, strict=True))
        write_predictions(path, table.assign(votes=[{classes[i]: 6} for i in heard], **sure), classes)
    after = rows_of(own_run)
    humans, model = (after["half", who]["metrics"] for who in ("the other half", "model"))
    assert humans["js_votes"]["estimate"] == pytest.approx(0)
    assert humans["macro_f1_votes"]["estimate"] == humans["micro_f1_votes"]["estimate"] == 1
    assert model["js_votes"]["estimate"] == pytest.approx(np.log(2) / 3, abs=1e-6)
    assert model["micro_f1_votes"]["estimate"] == pytest.approx(2 / 3, abs=1e-6)


def test_the_table_is_in_report_and_page_and_no_other_figure_moves(own_run: Path) -> None:
    report = write_report(own_run)
    for text in (report.markdown_path.read_text(), report.html_path.read_text()):
        assert "Distribution of the votes" in text
        assert "in nats; 0 is best" in text
    assert "| all votes | **model** (plain) | 300 | " in report.markdown_path.read_text()
    assert "| half of the raters | the other half | 300 | – | " in report.markdown_path.read_text()
    headline = report.markdown_path.read_text().partition("## Results")[2].partition("\n## ")[0]
    assert "KL" not in headline
    assert "KL" not in report.text()
    for path in own_run.rglob("predictions.parquet"):
        table, classes = read_predictions(path)
        write_predictions(path, table.assign(votes=None), classes)
    results = load_results(own_run)
    without = build(results)
    assert "votes" not in without
    assert Report(own_run, without, results).text() == report.text()
    for system, other in zip(without["systems"], report.data["systems"], strict=True):
        assert system["metrics"] == {k: v for k, v in other["metrics"].items() if k not in VOTE_FIGURES}
        assert not set(system["metrics"]) & set(VOTE_FIGURES)


@pytest.mark.parametrize("labels", [{"rule": "Mapped", "mapped": True}, {"rule": "Recounted", "mapped": True}])
def test_classes_of_an_ontology_have_no_votes(own_run: Path, edit_record, labels: dict) -> None:
    edit_record(own_run, {"labels": {**labels, "explanation": "big four"}})
    results = load_results(own_run)
    data = build(results)
    assert "votes" not in data and "human" not in data
    assert not {*VOTE_FIGURES} & {*data["systems"][0]["metrics"]}
    assert "Distribution of the votes" not in markdown(results, data)


# --- runs of different label rules, scored alike ----------------------------------------------------------------------


def loudest(run: Path) -> dict[str, str | None]:
    """The label of most votes, and none for a tie."""
    found: dict[str, str | None] = {}
    table = table_of(run)
    for name, text in zip(table["id"], table["votes"], strict=True):
        counts = sorted(json.loads(text).items(), key=lambda item: -item[1])
        found[name] = None if len(counts) > 1 and counts[0][1] == counts[1][1] else counts[0][0]
    return found


@pytest.fixture
def two_rules(voted_run: Path, own_run: Path, edit_record) -> list[Path]:
    """The same predictions, trained on votes and scored against them."""
    labels = loudest(voted_run)
    for path in own_run.rglob("predictions.parquet"):
        table, classes = read_predictions(path)
        write_predictions(path, table.assign(label=table["id"].map(labels)), classes)
    edit_record(own_run, {"recipe": "on_votes", "labels": {"rule": "Plurality", "explanation": "most votes"}})
    return [voted_run, own_run]


def test_runs_of_two_label_rules_are_compared_against_one(two_rules: list[Path]) -> None:
    with pytest.raises(ResultError, match=r"'Intended' in the first .* To score both .* add --labels RULE"):
        compare_runs(two_rules)
    other = OtherLabels("Plurality", "the class with most votes", loudest)
    data = compare_runs(two_rules, labels=other).data
    assert [row["difference"] and row["difference"]["estimate"] for row in data["rows"]] == [None, 0]
    table, labels = table_of(two_rules[0]), loudest(two_rules[0])
    label = table["id"].map(labels)
    known = label.notna()
    accuracy = (table["predicted"] == label)[known].mean()
    assert 0 < known.sum() < 300
    assert data["rows"][0]["metrics"]["accuracy"]["estimate"] == pytest.approx(accuracy, abs=1e-6)
    assert (
        data["rows"][0]["metrics"]["kl_votes"] == build(load_results(two_rules[0]))["systems"][0]["metrics"]["kl_votes"]
    )
    assert data["notes"][0] == (
        "All rows are scored against the labels of Plurality (the class with most votes). Label rules that they were "
        "trained by: emodb_example Intended, on_votes Plurality."
    )


def test_labels_that_do_not_fit_the_run_are_refused(two_rules: list[Path], edit_record) -> None:
    strange = OtherLabels("Odd", "odd", lambda run: dict.fromkeys(loudest(run), "joy"))
    with pytest.raises(ResultError, match=r"predicts anger, .* but Odd gives the classes of the corpus \(joy\)"):
        compare_runs(two_rules, labels=strange)
    few = OtherLabels("Few", "few", lambda run: {})
    with pytest.raises(ResultError, match="its manifest lacks 300 tested utterances, such as 03a00"):
        compare_runs(two_rules, labels=few)
    for mapped in ({"rule": "Mapped", "mapped": True}, {"rule": "Recounted", "mapped": True}):
        edit_record(two_rules[1], {"labels": mapped})
        with pytest.raises(ResultError, match="Compare runs in the corpus's own classes"):
            compare_runs(two_rules[::-1], labels=OtherLabels("Plurality", "most votes", loudest))


def test_the_p_value_of_a_difference_in_kl_is_that_of_its_jackknife(voted_run: Path, own_run: Path) -> None:
    for place, path in enumerate(sorted(own_run.glob("plain/fold=*/seed=*/*.parquet"))):
        table, classes = read_predictions(path)
        columns = probability_columns(classes)
        other = vote_shares(table["votes"], classes) if place % 3 else np.full((len(table), 5), 0.2)
        mixed = 0.95 * table[columns].to_numpy(float) + 0.05 * other
        write_predictions(path, table.assign(**dict(zip(columns, mixed.T, strict=True))), classes)
    comparison = compare_runs([voted_run, own_run], metric="kl_votes", names=["as it is", "nearer"])
    gap = comparison.data["rows"][1]["difference"]
    tables = [table_of(run) for run in (voted_run, own_run)]
    human, speaker = vote_shares(tables[0]["votes"], CLASSES), tables[0]["speaker"].to_numpy()
    one, two = (entropy(human, t[probability_columns(CLASSES)].to_numpy(float), axis=1) for t in tables)
    estimate = (two - one).mean()
    left = [(two - one)[speaker != name].mean() for name in np.unique(speaker)]
    error = np.sqrt(0.9 * np.sum((np.array(left) - estimate) ** 2))
    share = (estimate + 16) / 32
    t = logit(share) / (error / (32 * share * (1 - share)))
    assert gap["estimate"] == pytest.approx(estimate, abs=1e-5)
    assert gap["p"] == pytest.approx(2 * stats.t.sf(abs(t), 9), rel=1e-2)
    assert gap["clear_of_zero"] is (gap["p"] < 0.05)
    assert "| Δ KL (nats) to as it is |" in comparison.markdown()
    assert any("in nats; 0 is best" in note for note in comparison.data["notes"])
