"""What a run directory says, recomputed by hand from its files."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from simulated_run import CLASSES, SPEAKERS
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.predictions import read_predictions, write_predictions
from ser_toolkit.evaluation.reporting.wording import definitions
from ser_toolkit.evaluation.results import load_results
from ser_toolkit.evaluation.scores import Scorer

pytestmark = pytest.mark.usefixtures("no_pictures")


def stored(run_dir, pattern):
    return pd.concat([read_predictions(path)[0] for path in sorted(run_dir.glob(pattern))])


@pytest.fixture(scope="module")
def scores(finished_run):
    return Scorer(load_results(finished_run)).scores()


def system(scores, key):
    return next(entry for entry in scores["systems"] if entry["key"] == key)


def test_everything_is_found_in_order(finished_run):
    results = load_results(finished_run)
    assert [s.key for s in results.systems] == [
        f"{variant}/{name}"
        for variant in ("plain", "enrolment")
        for name in ("model", "baseline=egemaps_svm", "baseline=majority")
    ]
    assert results.classes == CLASSES
    assert results.folds == SPEAKERS
    assert results.missing == ()
    assert results.record.corpus.name == "Simulated speakers"


def test_pooled_figures_are_the_mean_over_seeds_of_the_pooled_folds(finished_run, scores):
    table = stored(finished_run, "plain/fold=*/seed=*/predictions.parquet")
    found = system(scores, "plain/model")
    for key, function in (
        ("uar", balanced_accuracy_score),
        ("accuracy", accuracy_score),
        ("macro_f1", lambda t, p: f1_score(t, p, average="macro")),
        ("weighted_f1", lambda t, p: f1_score(t, p, average="weighted")),
    ):
        by_seed = [function(rows["label"], rows["predicted"]) for _, rows in table.groupby("seed")]
        assert found["metrics"][key]["estimate"] == pytest.approx(np.mean(by_seed))
        assert found["over_seeds"][key]["sd"] == pytest.approx(np.std(by_seed, ddof=1))
        assert found["metrics"][key]["low"] < np.mean(by_seed) < found["metrics"][key]["high"]
    assert found["metrics"]["uar"]["clusters"] == 10
    assert found["utterances"] == found["labelled"] == 300


def test_folds_and_speakers(finished_run, scores):
    table = stored(finished_run, "plain/fold=*/seed=*/predictions.parquet")
    table["right"] = table["label"] == table["predicted"]
    by_fold = table.groupby(["fold", "seed", "label"])["right"].mean().groupby(["fold", "seed"]).mean()
    by_fold = by_fold.groupby("fold").mean()
    found = system(scores, "plain/model")
    assert [entry["fold"] for entry in found["by_fold"]] == list(SPEAKERS)
    assert [entry["uar"] for entry in found["by_fold"]] == pytest.approx(list(by_fold[list(SPEAKERS)]))
    assert found["over_folds"]["uar"]["mean"] == pytest.approx(by_fold.mean())
    assert found["over_folds"]["uar"]["sd"] == pytest.approx(by_fold.std(ddof=1))
    assert found["over_speakers"]["uar"]["worst"] == pytest.approx(by_fold.min())
    assert found["over_speakers"]["uar"]["worst_name"] == by_fold.idxmin()
    assert len(found["by_session"]) == 5


def test_confusion_and_support_count_an_utterance_once_a_run(scores):
    found = system(scores, "plain/model")["classes"]
    assert found["runs"] == 2
    assert np.sum(found["confusion"]) == 600
    assert sum(found["support"]) == 300
    assert np.sum(found["confusion"], axis=1).tolist() == [2 * n for n in found["support"]]


def test_a_variant_is_compared_with_plain_on_the_same_utterances(finished_run, scores):
    plain = stored(finished_run, "plain/fold=*/seed=*/predictions.parquet")
    other = stored(finished_run, "enrolment/fold=*/seed=*/predictions.parquet")
    differences, plain_values = [], []
    for (seed, _), rows in other.groupby(["seed", "draw"]):
        same = plain[(plain["seed"] == seed) & plain["id"].isin(rows["id"])]
        assert len(same) == len(rows) == 260
        plain_values.append(balanced_accuracy_score(same["label"], same["predicted"]))
        differences.append(balanced_accuracy_score(rows["label"], rows["predicted"]) - plain_values[-1])
    found = next(d for d in scores["differences"] if d["against"] == "plain/model")
    assert found["of"] == "enrolment/model"
    assert found["metrics"]["uar"]["estimate"] == pytest.approx(np.mean(differences))
    assert found["metrics"]["uar"]["against"] == pytest.approx(np.mean(plain_values))
    assert found["metrics"]["uar"]["low"] > 0
    assert (found["all_of"], found["all_against"]) == (other["id"].nunique(), 300)


def test_each_model_is_compared_with_its_own_baselines(scores):
    pairs = {(d["of"], d["against"]) for d in scores["differences"]}
    for variant in ("plain", "enrolment"):
        for baseline in ("egemaps_svm", "majority"):
            assert (f"{variant}/model", f"{variant}/baseline={baseline}") in pairs
    assert len(pairs) == 5
    majority = system(scores, "plain/baseline=majority")
    assert majority["metrics"]["uar"]["estimate"] == pytest.approx(1 / len(CLASSES))


def test_ccc_is_reported_where_there_are_dimensions(scores):
    assert set(system(scores, "plain/model")["metrics"]) >= {"ccc_valence", "ccc_arousal"}
    assert "ccc_dominance" not in system(scores, "plain/model")["metrics"]
    assert "ccc_valence" not in system(scores, "plain/baseline=majority")["metrics"]


def test_missing_folds_are_said(own_run, edit_record):
    for fold in SPEAKERS[3:]:
        shutil.rmtree(own_run / "plain" / f"fold={fold}")
    edit_record(own_run, {"variants": {"plain": {}, "enrolment": {}, "transductive": {}}})
    results = load_results(own_run)
    assert results.missing[0].startswith("plain, model: 3 of 10 folds (missing: 10, 11,")
    assert results.missing[1:] == ("transductive: no predictions of the model yet",)
    assert system(Scorer(results).scores(), "plain/model")["metrics"]["uar"]["clusters"] == 3


def test_a_seed_with_few_folds_is_left_out_of_the_figures(own_run):
    before = Scorer(load_results(own_run)).scores()
    for variant in ("plain", "enrolment"):
        shutil.copytree(own_run / variant / "fold=03" / "seed=0", own_run / variant / "fold=03" / "seed=1")
    for path in own_run.glob("*/fold=03/seed=1/predictions.parquet"):
        table, classes = read_predictions(path)
        write_predictions(path, table.assign(seed=1, predicted=table["label"]), classes)
    results = load_results(own_run)
    assert "plain, model: figures are those of seed 0 alone, without 1" in results.missing
    after = Scorer(results).scores()
    assert system(after, "plain/model")["metrics"] == system(before, "plain/model")["metrics"]
    assert after["differences"] == before["differences"]


def test_a_run_without_a_record_can_still_be_read(own_run):
    (own_run / "run.json").unlink()
    results = load_results(own_run)
    assert results.folds == SPEAKERS
    assert Scorer(results).scores()["cluster_by"] == "speaker"


def test_sessions_can_be_the_clusters(own_run, edit_record):
    edit_record(own_run, {"protocol": {"cluster_by": "session"}})
    found = system(Scorer(load_results(own_run)).scores(), "plain/model")
    assert found["metrics"]["uar"]["clusters"] == 5
    edit_record(own_run, {"protocol": {"cluster_by": "colour"}})
    with pytest.raises(ResultError, match="expected one of speaker, session, dialogue, speaker_or_dialogue"):
        Scorer(load_results(own_run))


def test_unknown_voices_of_a_dialogue_are_one_cluster(own_run, edit_record):
    known = Scorer(load_results(own_run)).scores()

    def nameless(table):
        """Speakers 03 and 08 unknown, in dialogues that are called as speaker 09 and 10 are."""
        names = table["speaker"].map({"03": "09", "08": "10"})
        return table.assign(speaker=table["speaker"].where(names.isna(), None), dialogue=names)

    rewrite(own_run, nameless)
    edit_record(own_run, {"protocol": {"cluster_by": "speaker_or_dialogue"}})
    found = Scorer(load_results(own_run)).scores()
    for one, other in zip(found["systems"], known["systems"], strict=True):
        assert one["metrics"] == other["metrics"]
    assert found["differences"] == known["differences"]
    sentence = definitions(load_results(own_run), found)[-1]
    assert "95 % interval over 10 speakers and dialogues of unknown speakers (jackknife" in sentence
    rewrite(own_run, lambda table: table.assign(dialogue=table["dialogue"].where(table["dialogue"] != "10", None)))
    interval = system(Scorer(load_results(own_run)).scores(), "plain/model")["metrics"]["uar"]
    assert (interval["low"], interval["reason"]) == (None, "speaker or dialogue is unknown for 30 utterances")


def rewrite(run_dir, change):
    for path in run_dir.glob("*/**/predictions.parquet"):
        table, classes = read_predictions(path)
        write_predictions(path, change(table), classes)


def test_an_unknown_speaker_means_no_interval_and_the_same_figure(own_run):
    before = system(Scorer(load_results(own_run)).scores(), "plain/model")["metrics"]["uar"]
    path = own_run / "plain" / "fold=03" / "seed=0" / "predictions.parquet"
    table, classes = read_predictions(path)
    write_predictions(path, table.assign(speaker=None), classes)
    scores = Scorer(load_results(own_run)).scores()
    after = system(scores, "plain/model")["metrics"]["uar"]
    assert after["estimate"] == pytest.approx(before["estimate"])
    assert after["low"] is None
    assert after["reason"] == "speaker is unknown for 30 utterances"
    assert scores["differences"][0]["metrics"]["uar"]["low"] is None


def test_files_that_do_not_belong_together_are_refused(own_run, edit_record):
    path = own_run / "enrolment" / "fold=03" / "seed=0" / "predictions.parquet"
    good, classes = read_predictions(path)
    write_predictions(path, good.assign(label="anger"), classes)
    with pytest.raises(ResultError, match="two true labels"):
        load_results(own_run)
    other = dict(zip(CLASSES, ("anger", "boredom", "disgust", "happiness", "sadness"), strict=True))
    renamed = good.assign(label=good["label"].map(other), predicted=good["predicted"].map(other))
    columns = {f"probability/{a}": f"probability/{b}" for a, b in other.items()}
    write_predictions(path, renamed.rename(columns=columns), tuple(other.values()))
    with pytest.raises(ResultError, match="Class orders differ"):
        load_results(own_run)
    write_predictions(path, good, classes)
    edit_record(own_run, {"classes": ["anger"]})
    with pytest.raises(ResultError, match=r"run\.json has classes"):
        load_results(own_run)


def test_bad_folders_are_one_clear_line(tmp_path, own_run):
    with pytest.raises(ResultError, match="No run directory"):
        load_results(tmp_path / "nowhere")
    with pytest.raises(ResultError, match="Run ser-train"):
        load_results(tmp_path)
    (own_run / "run.json").write_text("{")
    with pytest.raises(ResultError, match=r"run\.json is damaged"):
        load_results(own_run)
