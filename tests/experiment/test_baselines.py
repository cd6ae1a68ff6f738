"""Baselines: what a simple system says about the same utterances."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from tiny_corpus import CLASSES, TinyUpstream, Tones, another, tiny_data

from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.data.batch import MISSING_LABEL
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.errors import RecipeError
from ser_toolkit.experiment.baselines import (
    PENALTY,
    ClassBaseline,
    FunctionalsRegression,
    FunctionalsSVM,
    Majority,
    known_baselines,
)
from ser_toolkit.experiment.experiment import train
from ser_toolkit.features.extract import extract_corpus


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FoldData:
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    return tiny_data(tmp_path / "tones")


def _points(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.eye(4)[labels] * 6 + rng.standard_normal((len(labels), 4))


@pytest.mark.parametrize("baseline", [Majority(), FunctionalsSVM()], ids=lambda b: b.name)
@pytest.mark.parametrize(
    ("present", "num_classes"),
    [((0, 1, 2), 3), ((0, 1), 2), ((0, 2), 3), ((1, 2, 3), 4), ((1, 3), 5)],
    ids=["all", "binary", "two of three", "three of four", "two of five"],
)
def test_probabilities_cover_all_classes_and_give_none_to_unseen_ones(
    baseline: ClassBaseline, present: tuple[int, ...], num_classes: int
) -> None:
    label = np.array(present)[np.arange(30) % len(present)]
    test = np.array(present)[np.arange(7) % len(present)]
    found = baseline.probabilities(_points(label), label, _points(test, seed=1), num_classes)
    assert found.shape == (7, num_classes)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found >= 0).all()
    unseen = [index for index in range(num_classes) if index not in present]
    assert (found[:, unseen] == 0).all()
    if isinstance(baseline, FunctionalsSVM):
        assert found.argmax(axis=1).tolist() == test.tolist()


def test_majority_says_the_class_frequencies() -> None:
    label = np.array([2, 2, 2, 0])
    found = Majority().probabilities(np.zeros((4, 0)), label, np.zeros((2, 0)), 3)
    np.testing.assert_allclose(found, [[0.25, 0, 0.75]] * 2)


def test_the_machine_is_standardised_and_balanced() -> None:
    label = np.array([0] * 40 + [1] * 5 + [2] * 5)
    train, test = _points(label) * [1, 100, 0.01, 1] + 7, _points(np.arange(9) % 3, 1) * [1, 100, 0.01, 1] + 7
    scaler = StandardScaler().fit(train)
    machine = LinearSVC(C=0.1, class_weight="balanced", random_state=0).fit(scaler.transform(train), label)
    expected = machine.decision_function(scaler.transform(test))
    found = FunctionalsSVM().probabilities(train, label, test, 3)
    np.testing.assert_allclose(found, torch.from_numpy(expected).softmax(dim=1), rtol=1e-6)


@pytest.mark.parametrize("baseline", [Majority(), FunctionalsSVM()], ids=lambda b: b.name)
def test_the_test_part_is_predicted_from_training_and_dev(data: FoldData, baseline: ClassBaseline) -> None:
    features = extract_corpus(TinyUpstream(), data.manifest) if baseline.uses_features else None
    hidden = {data.fold.test[1], data.fold.train[0]}
    data = another(data, features=features, leave_out=frozenset(hidden))
    outputs = baseline.predict(data)
    assert outputs.ids == sorted(set(data.fold.test) - hidden)
    truth = dict(zip(data.manifest.table["id"], data.manifest.table["label"], strict=True))
    assert [CLASSES[code] for code in outputs.label] == [truth[name] for name in outputs.ids]
    assert outputs.probabilities is not None and outputs.probabilities.shape == (5, 3)
    assert {"uar", "accuracy"} <= set(outputs.metrics()) and "loss" not in outputs.metrics()
    # What is not scored is still trained on, and test labels change nothing.
    before = outputs.probabilities
    data.targets.label[data.rows(data.fold.test)] = 0
    np.testing.assert_array_equal(baseline.predict(data).probabilities, before)
    data.targets.label[data.rows(data.fold.dev)] = 0
    assert not np.array_equal(baseline.predict(data).probabilities, before)


def test_utterances_without_a_class_are_not_trained_on(data: FoldData) -> None:
    data.targets.label[data.rows([*data.fold.train[:3], data.fold.test[0]])] = MISSING_LABEL
    outputs = Majority().predict(data)
    label = data.targets.label[data.rows([*data.fold.train, *data.fold.dev])]
    expected = np.bincount(label[label >= 0], minlength=3) / (label >= 0).sum()
    assert outputs.probabilities is not None
    np.testing.assert_allclose(outputs.probabilities[0], expected)
    assert (outputs.label == MISSING_LABEL).sum() == 1


def test_a_corpus_without_classes_has_no_baseline(data: FoldData) -> None:
    data.targets.label[:] = MISSING_LABEL
    with pytest.raises(RecipeError, match=r"majority .* fold s0 .*baselines=\[\]"):
        Majority().predict(data)


def test_functionals_of_opensmile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opensmile")
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    data = tiny_data(tmp_path / "tones", Tones.write(tmp_path / "tones", speakers=3, takes=1))
    baseline = FunctionalsSVM()
    assert baseline.available()
    features = baseline.features(data.source)
    assert {tuple(values.shape) for values in features.values()} == {(1, 1, 88)}
    # Tones of one class are alike: a speaker is recognised from the two others.
    assert baseline.predict(another(data, features=features)).metrics()["uar"] == 1.0


def test_what_is_not_installed_is_not_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not FunctionalsSVM().available()
    assert Majority().available()


def test_baselines_are_known_by_name(data: FoldData) -> None:
    assert set(known_baselines()) == {"majority", "egemaps_svm", "egemaps_regression"}
    assert Majority().features(data.source) is None


def test_the_baseline_is_normalised_like_the_model_at_either_level(mini: Path) -> None:
    pytest.importorskip("opensmile")
    levels = "variants=[Plain, Transductive, {class_path: Transductive, init_args: {level: utterance}}]"
    fixed = ["model.pooling=MeanPooling", "baselines=[egemaps_svm]", "trainer.max_epochs=1", "output=runs"]
    folder = train(load_recipe("mini.yaml", levels, "fold=2", *fixed))

    def probabilities(variant: str) -> np.ndarray:
        path = folder / variant / "baseline=egemaps_svm" / "fold=spk02" / "predictions.parquet"
        return pd.read_parquet(path).sort_values("id")["probability/angry"].to_numpy()

    # functionals are one vector an utterance, so the two levels are one
    np.testing.assert_allclose(probabilities("transductive-utterance"), probabilities("transductive"), rtol=1e-6)
    assert np.abs(probabilities("transductive") - probabilities("plain")).max() > 1e-3


def test_the_regression_is_ridge_with_its_stated_penalty_and_leaves_out_what_nobody_rated(data: FoldData) -> None:
    rng = np.random.default_rng(0)
    rows, features = data.manifest.table["id"].tolist(), {}
    targets = np.full((len(rows), 3), np.nan, np.float32)
    for name in rows:
        features[name] = torch.from_numpy(rng.standard_normal((1, 1, 5)).astype(np.float32))
    targets[:, 0], targets[::2, 1], targets[0, 2] = rng.random(len(rows)), rng.random(len(rows[::2])), 0.5
    data.source._targets = replace(data.targets, dimensions=targets)
    fold = data.fold
    found = FunctionalsRegression().predict(another(data, features=features))
    assert found.probabilities is None and found.dimensions is not None
    place = {name: row for row, name in enumerate(rows)}
    train = [name for name in (*fold.train, *fold.dev) if not np.isnan(targets[place[name], 1])]
    x = np.stack([features[name][0, 0].numpy() for name in train]).astype(float)
    mean, deviation, y = x.mean(0), x.std(0), targets[[place[name] for name in train], 1].astype(float)
    z = (x - mean) / deviation
    weights = np.linalg.solve(z.T @ z / len(z) + PENALTY * np.eye(5), z.T @ (y - y.mean()) / len(z))
    test = (np.stack([features[name][0, 0].numpy() for name in found.ids]) - mean) / deviation
    np.testing.assert_allclose(found.dimensions[:, 1], test @ weights + y.mean(), rtol=1e-6)
    assert np.isfinite(found.dimensions[:, 0]).all()
    assert np.isnan(found.dimensions[:, 2]).all(), "one rating is none to learn from"
    assert "ccc_valence" in found.metrics() and "ccc_dominance" not in found.metrics()
