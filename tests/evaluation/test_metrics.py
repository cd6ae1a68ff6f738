"""Metrics against scikit-learn and against formulas derived another way."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torchmetrics import functional

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation import metrics


def labels(rng: np.random.Generator, n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    truth = rng.integers(0, classes, n)
    return truth, np.where(rng.random(n) < 0.6, truth, rng.integers(0, classes, n))


@pytest.mark.parametrize("classes", [2, 4, 7])
def test_class_metrics_equal_scikit_learn(classes):
    truth, predicted = labels(np.random.default_rng(classes), 300, classes)
    ours = metrics.classification_metrics(truth, predicted, classes)
    everything = list(range(classes))
    p, r, f, support = sklearn_metrics.precision_recall_fscore_support(truth, predicted, labels=everything)
    assert ours["uar"] == pytest.approx(sklearn_metrics.recall_score(truth, predicted, average="macro"))
    assert ours["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth, predicted))
    assert ours["macro_f1"] == pytest.approx(sklearn_metrics.f1_score(truth, predicted, average="macro"))
    assert ours["weighted_f1"] == pytest.approx(sklearn_metrics.f1_score(truth, predicted, average="weighted"))
    assert ours["precision"] == pytest.approx(list(p))
    assert ours["recall"] == pytest.approx(list(r))
    assert ours["f1"] == pytest.approx(list(f))
    assert ours["support"] == list(support)
    assert ours["confusion"] == sklearn_metrics.confusion_matrix(truth, predicted, labels=everything).tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_small_sets_with_absent_classes_equal_scikit_learn(pairs):
    truth, predicted = np.array(pairs).T
    ours = metrics.classification_metrics(truth, predicted, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of classes that the truth lacks
        assert ours["uar"] == pytest.approx(sklearn_metrics.balanced_accuracy_score(truth, predicted))
    for average, key in (("macro", "macro_f1"), ("weighted", "weighted_f1")):
        theirs = sklearn_metrics.f1_score(truth, predicted, average=average, zero_division=0)
        assert ours[key] == pytest.approx(theirs)
    json.dumps(ours, allow_nan=False)


def test_a_class_absent_from_the_truth_does_not_count_for_ua():
    truth, predicted = [0, 0, 1, 1], [0, 2, 1, 1]
    ours = metrics.classification_metrics(truth, predicted, 3)
    # audmetric and recall_score(average="macro") count the absent class 2 with recall 0.
    audmetric = np.mean(
        [np.mean([p == t for t, p in zip(truth, predicted, strict=True) if t == c] or [0]) for c in range(3)]
    )
    assert audmetric == pytest.approx(0.5)
    assert ours["uar"] == pytest.approx(0.75)
    assert ours["recall"] == [0.5, 1.0, None]
    assert ours["precision"] == [1.0, 1.0, 0.0]


def test_one_utterance():
    right, wrong = metrics.classification_metrics([1], [1], 3), metrics.classification_metrics([1], [0], 3)
    assert (right["uar"], right["accuracy"], right["macro_f1"]) == (1, 1, 1)
    assert (wrong["uar"], wrong["accuracy"], wrong["macro_f1"], wrong["weighted_f1"]) == (0, 0, 0, 0)


def test_a_stack_of_confusions_is_scored_one_by_one():
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 9, (5, 2, 3, 3))
    for function in (metrics.uar, metrics.accuracy, metrics.macro_f1, metrics.weighted_f1):
        one_by_one = [[float(function(matrix)) for matrix in row] for row in stack]
        np.testing.assert_allclose(function(stack), one_by_one)


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        ([], [], "nothing to score"),
        ([0], [0, 1], "same utterances"),
        ([-1], [0], "no classes"),
        ([0.5], [0], "integers"),
    ],
)
def test_bad_input_is_one_clear_line(truth, predicted, message):
    with pytest.raises(ResultError, match=message):
        metrics.classification_metrics(truth, predicted, 2)


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_ccc_is_pearson_scaled_by_location_and_spread(offset):
    """Another route to the same figure: rho times the bias correction factor (Lin 1989)."""
    rng = np.random.default_rng(1)
    x = rng.random(200) + offset
    y = 0.5 * x + 0.3 * rng.random(200) + 0.5 * offset
    shift = (x.mean() - y.mean()) / np.sqrt(x.std() * y.std())
    scale = x.std() / y.std()
    expected = np.corrcoef(x, y)[0, 1] * 2 / (scale + 1 / scale + shift**2)
    assert metrics.concordance_cc(x, y) == pytest.approx(expected, rel=1e-9)


def test_ccc_equals_torchmetrics_up_to_its_sample_variance():
    rng = np.random.default_rng(2)
    x, y = rng.random(20000), rng.random(20000)
    y = 0.7 * x + 0.3 * y
    theirs = functional.concordance_corrcoef(torch.tensor(y), torch.tensor(x))
    assert metrics.concordance_cc(x, y) == pytest.approx(float(theirs), abs=1e-4)


def test_ccc_edges():
    assert metrics.concordance_cc([0.1, 0.5], [0.1, 0.5]) == pytest.approx(1)
    assert metrics.concordance_cc([0.0, 1.0], [1.0, 0.0]) == pytest.approx(-1)
    assert metrics.concordance_cc([0.1, 0.5, 0.3], [0.7] * 3) == 0
    assert metrics.concordance_cc([0.3] * 7, [0.4] * 7) == 0
    assert np.isnan(metrics.concordance_cc([0.3] * 7, [0.3] * 7))
    assert np.isnan(metrics.concordance_cc([0.3], [0.5]))
    assert np.isnan(metrics.concordance_cc([np.nan, np.nan], [0.5, 0.5]))
    with_gap = metrics.concordance_cc([0.1, np.nan, 0.5, 0.9], [0.2, np.nan, 0.4, 0.9])
    assert with_gap == pytest.approx(metrics.concordance_cc([0.1, 0.5, 0.9], [0.2, 0.4, 0.9]))
    with pytest.raises(ResultError, match="not finite"):
        metrics.concordance_cc([0.1, 0.2], [np.nan, 0.2])
    with pytest.raises(ResultError, match="nothing to score"):
        metrics.concordance_cc([], [])


def test_torch_is_not_needed():
    modules = "ser_toolkit.evaluation.metrics, ser_toolkit.evaluation.predictions"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
