"""The kernel SVM against scikit-learn's own decision function."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from ser_toolkit.downstream.kernel import KernelSVM
from ser_toolkit.errors import RecipeError


def utterances(num_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(num_classes)
    label = np.concatenate([np.arange(num_classes), rng.integers(num_classes, size=80)])
    values = 3 * rng.normal(size=(len(label), 6)) + 2 * rng.normal(size=(num_classes, 6))[label] + 10
    return torch.from_numpy(values).float(), torch.from_numpy(label)


@pytest.mark.parametrize("num_classes", [2, 3, 5])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel": "rbf", "gamma": 0.3, "C": 5.0},
        {"kernel": "linear", "C": 0.1},
        {"kernel": "poly", "degree": 2, "coef0": 1.0},
    ],
)
def test_decision_values_are_scikit_learns(num_classes: int, options: dict) -> None:
    vectors, labels = utterances(num_classes)
    head = KernelSVM(6, num_classes, **options)
    head.fit(vectors, labels)
    machine = make_pipeline(StandardScaler(), SVC(**options, class_weight="balanced"))
    values = vectors.double().numpy()
    expected = machine.fit(values, labels.numpy()).decision_function(values)
    found = head(vectors).logits
    if num_classes == 2:
        assert torch.equal(found[:, 0], -found[:, 1])
        found = found[:, 1]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5 * max(1.0, np.abs(expected).max()), rtol=0)


def test_ties_are_broken_as_the_option_says() -> None:
    """SVC.predict takes the first of the classes with the most votes, SVC(break_ties=True).predict the surest."""
    rng = np.random.default_rng(0)
    label = rng.integers(7, size=200)
    values = rng.normal(size=(200, 6)) + 0.5 * rng.normal(size=(7, 6))[label]
    new = rng.normal(size=(500, 6))
    found, expected = {}, {}
    for ties in ("confidence", "first"):
        head = KernelSVM(6, 7, kernel="linear", standardise=False, ties=ties)
        head.fit(torch.from_numpy(values), torch.from_numpy(label))
        found[ties] = head(torch.from_numpy(new)).logits.argmax(dim=1).numpy()
        machine = SVC(kernel="linear", class_weight="balanced", break_ties=ties == "confidence").fit(values, label)
        expected[ties] = machine.predict(new)
        np.testing.assert_array_equal(found[ties], expected[ties])
    assert (expected["confidence"] != expected["first"]).any()


def test_weights_are_balanced_unless_told_otherwise() -> None:
    vectors, labels = utterances(3)
    head = KernelSVM(6, 3, class_weights="none", standardise=False)
    head.fit(vectors, labels)
    expected = SVC().fit(vectors.double().numpy(), labels.numpy()).decision_function(vectors.double().numpy())
    np.testing.assert_allclose(head(vectors).logits.numpy(), expected, atol=1e-5)
    balanced = SVC(class_weight="balanced").fit(vectors.double().numpy(), labels.numpy())
    assert np.abs(expected - balanced.decision_function(vectors.double().numpy())).max() > 0.01


def test_only_support_vectors_are_kept() -> None:
    labels = torch.arange(60) % 2
    vectors = torch.randn(60, 6, generator=torch.Generator().manual_seed(0)) + 6 * labels[:, None]
    head = KernelSVM(6, 2, kernel="linear")
    head.fit(vectors, labels)
    assert 2 <= len(head.vectors) < 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ties": "last"}, "first"),
        ({"kernel": "sigmoid"}, "rbf, linear, poly"),
        ({"gamma": "auto"}, "gamma"),
        ({"gamma": 0.0}, "gamma"),
    ],
)
def test_options_are_checked(options: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        KernelSVM(6, 3, **options)


def test_a_polynomial_has_a_degree() -> None:
    with pytest.raises(RecipeError, match="degree must be at least 1, found 0"):
        KernelSVM(6, 3, degree=0)
