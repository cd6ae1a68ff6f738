"""Figures against votes: parity with scipy, scikit-learn and torchmetrics, and what may not move them."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from simulated_run import CLASSES
from sklearn.metrics import f1_score
from torchmetrics import KLDivergence

from ser_toolkit.data.labels import AllInclusive
from ser_toolkit.evaluation.distributions import (
    LEAST,
    VOTE_FIGURES,
    VOTE_STATISTICS,
    VOTES,
    distribution_sums,
    js_divergence,
    kl_divergence,
    multilabel_macro_f1,
    multilabel_micro_f1,
    present,
    vote_shares,
)
from ser_toolkit.evaluation.predictions import probability_columns
from ser_toolkit.evaluation.rows import Figure, Scored, spread
from ser_toolkit.evaluation.uncertainty import cluster_interval

BY_KEY = {statistic.key: statistic for statistic in VOTE_STATISTICS}


def drawn(count: int = 80, classes: int = 5, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Shares of nine votes, many of them 0, and probabilities."""
    rng = np.random.default_rng(seed)
    crowd = rng.dirichlet(np.full(classes, 0.4), count)
    return np.stack([rng.multinomial(9, one) / 9 for one in crowd]), rng.dirichlet(np.ones(classes), count)


def whole(human: np.ndarray, model: np.ndarray) -> np.ndarray:
    return distribution_sums(human, model, np.zeros(len(human), dtype=np.int64), 1)[0]


def test_divergences_are_those_of_scipy_and_torchmetrics() -> None:
    human, model = drawn()
    assert (human == 0).any()
    np.testing.assert_allclose(kl_divergence(human, model), entropy(human, model, axis=1), rtol=1e-5)
    np.testing.assert_allclose(js_divergence(human, model), jensenshannon(human, model, axis=1) ** 2, rtol=1e-9)
    theirs = KLDivergence()
    for half in (slice(0, 30), slice(30, None)):  # a mean over utterances, not over batches
        theirs.update(torch.from_numpy(human[half]), torch.from_numpy(model[half]))
    assert BY_KEY["kl"].value(whole(human, model)) == pytest.approx(theirs.compute().item(), rel=1e-5)


def test_worked_example() -> None:
    human, model = np.array([[0.5, 0.5, 0.0]]), np.array([[0.25, 0.25, 0.5]])
    assert kl_divergence(human, model)[0] == pytest.approx(math.log(2), rel=1e-6)
    middle = 0.5 * (math.log(0.5 / 0.375)) + 0.5 * (0.5 * math.log(0.25 / 0.375) + 0.5 * math.log(0.5 / 0.25))
    assert js_divergence(human, model)[0] == pytest.approx(middle)


def test_a_probability_of_zero_is_the_least_that_float32_tells_from_one() -> None:
    human, model = np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])
    expected = 0.5 * math.log(0.5) + 0.5 * math.log(0.5 / LEAST)
    assert kl_divergence(human, model)[0] == pytest.approx(expected, rel=1e-6)
    worst = kl_divergence(np.eye(2)[:1], np.eye(2)[1:])[0]
    assert 15.9 < worst < BY_KEY["kl"].high
    assert js_divergence(np.eye(2)[:1], np.eye(2)[1:])[0] == pytest.approx(BY_KEY["js"].high)


@given(st.integers(2, 8), st.integers(0, 10_000))
def test_divergences_are_zero_for_equals_and_never_negative(classes: int, seed: int) -> None:
    human, model = drawn(20, classes, seed)
    assert (kl_divergence(human, model) >= -1e-12).all()
    assert (js_divergence(human, model) >= -1e-12).all()
    np.testing.assert_allclose(kl_divergence(model, model), 0, atol=1e-5)
    np.testing.assert_allclose(js_divergence(human, human), 0, atol=1e-12)
    np.testing.assert_allclose(js_divergence(human, model), js_divergence(model, human))
    assert (kl_divergence(human, model) <= BY_KEY["kl"].high).all()


def test_multilabel_f1_is_scikit_learns() -> None:
    human, model = drawn()
    heard, said = human > 1 / 5, model > 1 / 5
    sums = whole(human, model)
    assert multilabel_macro_f1(sums) == pytest.approx(f1_score(heard, said, average="macro", zero_division=0))
    assert multilabel_micro_f1(sums) == pytest.approx(f1_score(heard, said, average="micro", zero_division=0))
    # a class that nobody shows counts as 0, one that only the model shows too
    human, model = human.copy(), model.copy()
    human[:, 3] = 0.0
    model[:, 3] = 0.0
    human, model = human / human.sum(1, keepdims=True), model / model.sum(1, keepdims=True)
    found = multilabel_macro_f1(whole(human, model))
    expected = f1_score(human > 0.2, model > 0.2, average="macro", zero_division=0)
    assert found == pytest.approx(expected)
    others = [0, 1, 2, 4]
    assert found == pytest.approx(
        0.8 * f1_score(human[:, others] > 0.2, model[:, others] > 0.2, average="macro", zero_division=0)
    )


def test_nothing_shown_anywhere_is_an_f1_of_zero_and_no_utterance_is_undefined() -> None:
    even = np.full((3, 4), 0.25)
    assert multilabel_macro_f1(whole(even, even)) == multilabel_micro_f1(whole(even, even)) == 0
    empty = whole(even[:0], even[:0])
    assert all(np.isnan(statistic.value(empty)) for statistic in VOTE_STATISTICS)


def test_the_threshold_is_that_of_the_label_rule() -> None:
    human, _ = drawn(200, 3, 1)  # 9 votes for 3 classes: many shares are exactly 1/3
    assert (np.abs(human - 1 / 3) < 1e-9).any()
    for shares in (human, human.astype(np.float32).astype(float)):
        assert present(shares).tolist() == AllInclusive().present(shares).tolist()
    assert present(np.array([[0.2, 0.4, 0.4, 0.0]])).tolist() == [[False, True, True, False]]


def test_shares_leave_out_other_emotions_and_utterances_without_votes() -> None:
    votes = pd.Series(['{"calm": 2, "angry": 1, "sad": 3}', None, '{"calm": 4}', "{}"])
    found = vote_shares(votes, ("angry", "happy", "sad"))
    np.testing.assert_allclose(found[0], [0.25, 0, 0.75])
    assert np.isnan(found[1:]).all()


def test_sums_of_speakers_add_up_and_leaving_one_out_is_exact() -> None:
    human, model = drawn()
    cluster = np.arange(len(human)) % 7
    sums = distribution_sums(human, model, cluster, 7)
    np.testing.assert_allclose(sums.sum(0), whole(human, model))
    for statistic in VOTE_STATISTICS:
        found = cluster_interval(sums[None], statistic)
        left = [statistic.value(whole(human[cluster != g], model[cluster != g])) for g in range(7)]
        error = np.sqrt(6 / 7 * np.sum((np.array(left) - found.estimate) ** 2))
        share = (found.estimate - statistic.low) / (statistic.high - statistic.low)
        width = (math.log(1 / (1 / _share(found.high, statistic) - 1)) - math.log(share / (1 - share))) / 2.446912
        assert width == pytest.approx(error / (statistic.high - statistic.low) / (share * (1 - share)), rel=1e-4)


def _share(value, statistic):
    return (value - statistic.low) / (statistic.high - statistic.low)


def scored(**columns: object) -> Scored:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"id": list("abcd"), "label": [*CLASSES[:2], None, CLASSES[0]], "seed": 0, "draw": 0})
    table["predicted"] = CLASSES[0]
    table[probability_columns(CLASSES)] = rng.dirichlet(np.ones(5), 4)
    table["votes"] = [json.dumps({CLASSES[1]: 2, CLASSES[2]: 2})] * 3 + [None]
    for name in ("valence", "arousal", "dominance"):
        table[name] = table[f"{name}_predicted"] = np.nan
    return Scored.of(table.assign(**columns), CLASSES, votes=True)


def test_utterances_without_a_label_count_where_they_have_votes_and_only_there() -> None:
    rows = scored()
    assert [figure.key for figure in rows.figures()][-4:] == list(VOTE_FIGURES)
    assert rows.sums(VOTES, ["all"], None)[0, 0, 0] == 3, "the third has no label, the fourth no votes"
    assert rows.sums("", ["all"], None).sum() == 3, "UA counts the labelled ones"


def test_there_are_no_such_figures_without_votes_without_probabilities_or_in_other_classes() -> None:
    nothing = dict.fromkeys(probability_columns(CLASSES), np.nan)
    for rows in (scored(votes=None), scored(votes='{"calm": 3}'), scored(**nothing)):
        assert not {figure.key for figure in rows.figures()} & set(VOTE_FIGURES)
    assert not {f.key for f in Scored.of(scored().table, CLASSES).figures()} & set(VOTE_FIGURES)


def test_the_worst_speaker_has_the_largest_divergence() -> None:
    entries = [{"speaker": "a", "kl_votes": 0.2, "uar": 0.2}, {"speaker": "b", "kl_votes": 0.9, "uar": 0.9}]
    found = spread(entries, Figure(BY_KEY["kl"], VOTES))
    assert (found["worst"], found["worst_name"], found["best_name"]) == (0.9, "b", "a")
    figures = scored().figures()
    assert spread(entries, figures[0])["worst_name"] == "a"
