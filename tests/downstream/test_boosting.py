"""Gradient boosting against XGBoost's own classifier; skipped where the extra is not installed."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ser_toolkit.downstream.boosting import GradientBoosting
from ser_toolkit.errors import RecipeError


@pytest.fixture
def xgboost() -> Any:
    return pytest.importorskip("xgboost")


def utterances(num_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    label = np.minimum(rng.integers(num_classes + 2, size=150), num_classes - 1)
    values = rng.normal(size=(150, 6)) + rng.normal(size=(num_classes, 6))[label]
    return torch.from_numpy(values).float(), torch.from_numpy(label)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_softmax_gives_the_probabilities_of_xgboost(xgboost: Any, num_classes: int) -> None:
    vectors, labels = utterances(num_classes)
    head = GradientBoosting(6, num_classes, rounds=20)
    head.fit(vectors, labels)
    counts = np.bincount(labels)
    model = xgboost.XGBClassifier(
        n_estimators=20,
        learning_rate=0.1,
        max_depth=4,
        subsample=0.8,
        colsample_bytree=0.8,
        objective="multi:softprob",
        num_class=num_classes,
        random_state=0,
        n_jobs=1,
    ).fit(vectors.numpy(), labels.numpy(), sample_weight=(len(labels) / num_classes / counts)[labels])
    found = head(vectors).logits.softmax(dim=1)
    np.testing.assert_allclose(found, model.predict_proba(vectors.numpy()), atol=1e-5)


def test_a_fresh_head_takes_the_trees_from_a_file(xgboost: Any, tmp_path: Path) -> None:
    vectors, labels = utterances(3)
    head, fresh = GradientBoosting(6, 5, rounds=5), GradientBoosting(6, 5)
    head.fit(vectors, labels + 1)
    save_file(head.state_dict(), tmp_path / "head.safetensors")
    state = load_file(tmp_path / "head.safetensors")
    fresh.match_shapes(state)
    fresh.load_state_dict(state)
    logits = fresh(vectors).logits
    assert torch.equal(logits, head(vectors).logits)
    assert torch.equal(logits[:, [0, 4]], torch.full((150, 2), -1e4))


def test_trees_that_are_loaded_in_place_are_used(xgboost: Any) -> None:
    vectors, labels = utterances(3)
    head, other = GradientBoosting(6, 3, rounds=5), GradientBoosting(6, 3, rounds=5)
    head.fit(vectors, labels)
    other.fit(vectors, labels.flip(0))
    assert not torch.equal(head(vectors).logits, other(vectors).logits)
    head.match_shapes(other.state_dict())
    head.load_state_dict(other.state_dict())
    assert torch.equal(head(vectors).logits, other(vectors).logits)
    assert torch.equal(copy.deepcopy(head)(vectors).logits, other(vectors).logits)


@pytest.mark.parametrize("options", [{"subsample": 0.0}, {"learning_rate": 2.0}, {"rounds": 0}, {"penalty": -1.0}])
def test_options_are_checked(options: dict) -> None:
    with pytest.raises(RecipeError, match=next(iter(options))):
        GradientBoosting(6, 3, **options)


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"pip install 'ser-toolkit\[xgboost\]'"):
        GradientBoosting(6, 3)
