"""Scoring on another corpus: common classes, what is counted out, prior shift, and the table train x test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.transfer import dimensions as transfer_dimensions
from ser_toolkit.evaluation.transfer import matrix as transfer_matrix
from ser_toolkit.evaluation.transfer import report as transfer_report
from ser_toolkit.evaluation.transfer.classes import ClassMatch, class_prior, score_transfer, shifted_prior
from ser_toolkit.evaluation.transfer.dimensions import score_dimensions

MODEL = ("angry", "bored", "excited", "happy", "sad")


def table(rows: list[tuple[str | None, str | None, list[float]]], classes: tuple[str, ...]) -> pd.DataFrame:
    """Predictions from (speaker, label, probabilities)."""
    found = pd.DataFrame([values for _, _, values in rows], columns=[f"probability/{name}" for name in classes])
    found["id"] = [f"u{number}" for number in range(len(rows))]
    found["speaker"] = [speaker for speaker, _, _ in rows]
    found["label"] = pd.Series([label for _, label, _ in rows], dtype=object)
    return found.assign(seed=0, draw=0, valence=np.nan, arousal=np.nan, dominance=np.nan)


def test_probabilities_are_those_of_the_logits_without_the_other_classes() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 5)) * 3
    match = ClassMatch(MODEL, ("sad", "fearful", "happy", "angry"))
    assert match.common == ("angry", "happy", "sad") and match.only_model == ("bored", "excited")
    expected = softmax(logits[:, [0, 3, 4]], axis=1)
    np.testing.assert_allclose(match.probabilities(softmax(logits, axis=1)), expected, rtol=1e-12)


def test_merged_classes_add_up() -> None:
    match = ClassMatch(MODEL, ("joy", "sad"), {"excited": "joy", "happy": "joy"})
    assert match.common == ("joy", "sad") and match.only_model == ("angry", "bored")
    values = np.array([[0.1, 0.3, 0.2, 0.1, 0.3], [0.5, 0.5, 0, 0, 0]])
    np.testing.assert_allclose(match.probabilities(values), [[0.5, 0.5], [0.5, 0.5]])
    assert ClassMatch(("joy", "sad"), MODEL, {"excited": "joy", "happy": "joy"}).name("excited") == "joy"


@pytest.mark.parametrize(
    ("corpus", "merges", "message"),
    [
        (("calm", "fearful"), {}, "No class is common to the model (angry, bored"),
        (("sad", "fearful"), {}, "Only one class is common"),
        (("sad", "angry"), {"exited": "happy"}, "--map exited=happy: 'exited' is no class here. Did you mean excited?"),
    ],
)
def test_classes_that_do_not_meet_are_refused(corpus: tuple[str, ...], merges: dict[str, str], message: str) -> None:
    with pytest.raises(ResultError) as caught:
        ClassMatch(MODEL, corpus, merges)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_figures_by_hand_and_what_is_counted_out() -> None:
    classes = ("angry", "bored", "sad")
    rows = [
        ("a", "angry", [0.2, 0.7, 0.1]),  # bored is left out: angry, right
        ("a", "angry", [0.1, 0.1, 0.8]),
        ("b", "angry", [0.9, 0.0, 0.1]),
        ("b", "sad", [0.2, 0.2, 0.6]),
        ("b", "sad", [0.0, 1.0, 0.0]),  # nothing for either: said, and taken as the first
        ("b", "fearful", [1.0, 0.0, 0.0]),
        ("a", "fearful", [1.0, 0.0, 0.0]),
        ("a", None, [1.0, 0.0, 0.0]),
    ]
    scores = score_transfer(table(rows, classes), ClassMatch(classes, ("sad", "angry", "fearful")))
    assert scores["confusion"] == [[2, 1], [1, 1]] and scores["support"] == [3, 2]
    assert scores["metrics"]["uar"]["estimate"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert scores["metrics"]["accuracy"]["estimate"] == pytest.approx(3 / 5)
    assert scores["metrics"]["macro_f1"]["estimate"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert scores["recall"] == pytest.approx([2 / 3, 1 / 2]) and scores["chance"] == 0.5
    assert (scores["utterances"], scores["scored"], scores["unlabelled"]) == (8, 5, 1)
    assert scores["unknown_class"] == {"fearful": 2} and scores["without_probability"] == 1
    said = " ".join(transfer_report.scored_utterances(scores))
    assert "Scored: 5 of 8 utterances of 2 speakers" in said
    assert "2 utterances of classes that are not common (fearful 2)" in said and "1 utterance to which" in said
    assert "Classes of the model that are left out: bored" in said


def test_intervals_resample_speakers_and_need_to_know_them() -> None:
    rng = np.random.default_rng(1)
    rows: list = [(f"s{n % 5}", "angry" if n % 2 else "sad", rng.dirichlet([1, 1]).tolist()) for n in range(60)]
    match = ClassMatch(("angry", "sad"), ("angry", "sad"))
    found = score_transfer(table(rows, match.model), match)["metrics"]["uar"]
    assert found["clusters"] == 5 and found["low"] < found["estimate"] < found["high"]
    rows[0] = (None, *rows[0][1:])
    nowhere = table(rows, match.model).assign(dialogue=None)
    lost = score_transfer(nowhere, match)["metrics"]["uar"]
    assert lost["low"] is None and lost["estimate"] == found["estimate"]
    assert lost["reason"] == "speaker and dialogue are unknown for 1 utterances"
    dialogues = table(rows, match.model).assign(dialogue="talk")
    partly = score_transfer(dialogues, match)
    assert partly["cluster_by"] == "speaker_or_dialogue" and partly["metrics"]["uar"]["clusters"] == 6
    assert "6 speakers and dialogues of unknown speakers" in transfer_report.definitions(partly)[-1]


def test_nothing_to_score_is_said() -> None:
    with pytest.raises(ResultError, match="No utterance has one of the common classes angry, sad"):
        score_transfer(
            table([("a", "happy", [0.5, 0.5])], ("angry", "sad")), ClassMatch(("angry", "sad"), ("sad", "angry"))
        )


def test_the_shifted_prior_is_the_most_likely_one() -> None:
    """EM climbs to the maximum of the likelihood of the mixture, here found by another method."""
    rng = np.random.default_rng(2)
    truth = rng.random(400) < 0.85
    x = rng.normal(size=400) + 1.5 * truth
    training = np.array([0.4, 0.6])
    likelihoods = np.stack([np.exp(-(x**2) / 2), np.exp(-((x - 1.5) ** 2) / 2)], axis=1)
    posteriors = likelihoods * training
    posteriors /= posteriors.sum(axis=1, keepdims=True)
    best = minimize_scalar(lambda p: -np.log(likelihoods @ [1 - p, p]).sum(), bounds=(0.01, 0.99), method="bounded")
    prior, corrected = shifted_prior(posteriors, training)
    assert prior[1] == pytest.approx(best.x, abs=1e-3) and abs(prior[1] - 0.85) < 0.08
    expected = likelihoods * prior
    np.testing.assert_allclose(corrected, expected / expected.sum(axis=1, keepdims=True), atol=1e-4)


def test_the_prior_correction_is_used_and_said() -> None:
    rows = [("a", "sad", [0.55, 0.45])] * 3 + [("b", "sad", [0.2, 0.8])] * 6 + [("b", "angry", [0.95, 0.05])]
    match = ClassMatch(("angry", "sad"), ("angry", "sad"))
    predictions = table(rows, match.model)
    assert class_prior(predictions, match) == pytest.approx([0.38, 0.62])
    plain, adapted = score_transfer(predictions, match), score_transfer(predictions, match, np.array([0.5, 0.5]))
    assert plain["adapted_prior"] is None and plain["recall"] == pytest.approx([1, 6 / 9])
    assert adapted["recall"] == pytest.approx([1, 1]) and adapted["adapted_prior"]["estimated"]["sad"] > 0.6
    assert "Transductive" in " ".join(transfer_report.scored_utterances(adapted))
    assert "Transductive" not in " ".join(transfer_report.scored_utterances(plain))


def matrix_data() -> dict:
    """Two runs and two corpora with UA .9 .5 / .4 .8."""
    scores = {"classes": ["angry", "sad"], "chance": 0.5, "utterances": 10, "scored": 9, "speakers": 3}
    cells = []
    for number, row in enumerate([[0.9, 0.5], [0.4, 0.8]]):
        entries = [{"estimate": value, "low": value - 0.1, "high": value + 0.1} for value in row]
        metrics = [{"uar": one, "accuracy": one, "macro_f1": one} for one in entries]
        cells.append(
            [{"in_corpus": number == place, "scores": scores | {"metrics": one}} for place, one in enumerate(metrics)]
        )
    data = {"runs": ["one", "two"], "corpora": ["A", "B"], "cells": cells, "classes": ["angry", "sad"], "banners": []}
    return data | {
        "averages": transfer_matrix.averages(cells),
        "adapt_prior": False,
        "variant": "plain",
        "audit": ["nothing shared"],
    }


def test_matrix_marks_what_is_in_corpus_and_averages_the_rest() -> None:
    data = matrix_data()
    assert data["averages"] == {
        "by_run": pytest.approx([0.5, 0.4]),
        "by_corpus": pytest.approx([0.4, 0.5]),
        "across": pytest.approx(0.45),
        "in_corpus": pytest.approx(0.85),
    }
    lines = transfer_matrix.table(data).markdown().splitlines()
    assert lines[2] == "| one | 90.0† [80.0, 100.0] | 50.0 [40.0, 60.0] | 50.0 |"
    assert lines[4] == "| mean of the others | 40.0 | 50.0 | **45.0** |"
    assert "![UA, train x test](m.png)" in transfer_matrix.markdown(data, "m.png")
    plain, said = " ".join(transfer_matrix.notes(data)), {"variant": "transductive", "adapt_prior": True}
    assert "Variant" not in plain and "Transductive" not in plain
    told = " ".join(transfer_matrix.notes(data | said))
    assert "Variant transductive: " in told and "Transductive: class priors" in told


def test_heat_map_is_a_picture(tmp_path: Path) -> None:
    transfer_matrix.heat_map(tmp_path / "m.png", matrix_data())
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG") and (tmp_path / "m.png").stat().st_size > 5000


def dimensional_table() -> pd.DataFrame:
    """Predictions and ratings of valence: five known speakers, two utterances each, and two unknown ones."""
    noise = np.random.default_rng(0)
    rated = noise.random(12)
    speakers = [*np.repeat(list("abcde"), 2), None, None]
    found = table([(speaker, None, []) for speaker in speakers], ())
    close = rated + 0.1 * noise.normal(size=12)
    return found.assign(fold="all", dialogue=None, valence=rated, valence_predicted=close).assign(
        arousal_predicted=np.nan, dominance_predicted=np.nan
    )


def test_intervals_of_dimensions_are_over_dialogues_where_speakers_are_unknown() -> None:
    rows = dimensional_table()
    known = score_dimensions(rows[rows["speaker"].notna()])
    assert known is not None and known["cluster_by"] == "speaker"
    assert known["metrics"]["ccc_valence"]["clusters"] == 5
    partly = score_dimensions(rows.assign(dialogue="talk"))
    assert partly is not None and partly["cluster_by"] == "speaker_or_dialogue"
    assert partly["metrics"]["ccc_valence"]["clusters"] == 6
    assert "6 speakers and dialogues of unknown speakers" in transfer_dimensions.definitions(partly)[-1]
    lost = score_dimensions(rows)
    assert lost is not None and lost["metrics"]["ccc_valence"]["low"] is None
    assert "speaker and dialogue are unknown for 2 utterances" in transfer_dimensions.definitions(lost)[-1]
