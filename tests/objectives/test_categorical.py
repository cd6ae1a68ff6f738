"""Cross-entropies against closed forms, torch and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ser_toolkit.data.batch import Batch, Outputs, Targets
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives.categorical import CrossEntropy, weights_of_classes
from ser_toolkit.objectives.soft import SoftCrossEntropy

COUNTS = torch.tensor([10.0, 40.0, 25.0, 5.0])
BALANCED = torch.tensor([80 / (4 * 10), 80 / (4 * 40), 80 / (4 * 25), 80 / (4 * 5)])


def batch_of(labels: torch.Tensor, soft: torch.Tensor | None = None) -> Batch:
    rows = len(labels)
    soft = torch.full((rows, 4), torch.nan) if soft is None else soft
    return Batch({}, Targets(labels, soft, torch.full((rows, 3), torch.nan)), [str(i) for i in range(rows)])


@pytest.fixture
def logits() -> torch.Tensor:
    torch.manual_seed(0)
    return 2 * torch.randn(7, 4)


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.tensor([0, 3, 1, 1, 2, 3, 0])


def test_balanced_weights_are_the_inverse_frequencies() -> None:
    found = weights_of_classes(COUNTS, "balanced")
    torch.testing.assert_close(found, BALANCED)
    # The mean weight of the training part is 1, and equal counts weigh nothing.
    assert (found * COUNTS).sum() / COUNTS.sum() == pytest.approx(1)
    assert weights_of_classes(torch.full((3,), 17.0), "balanced").tolist() == [1, 1, 1]
    assert weights_of_classes(COUNTS, "none").tolist() == [1, 1, 1, 1]
    assert weights_of_classes(torch.tensor([4.0, 0.0]), "balanced").isfinite().all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_equals_torch(logits: torch.Tensor, labels: torch.Tensor, class_weights: str, smoothing: float) -> None:
    objective = CrossEntropy(4, class_weights, smoothing)
    objective.set_class_counts(COUNTS)
    found, parts = objective(Outputs(logits=logits), batch_of(labels))
    weights = BALANCED if class_weights == "balanced" else torch.ones(4)
    expected = F.cross_entropy(logits, labels, weights, label_smoothing=smoothing)
    torch.testing.assert_close(found, expected)
    assert list(parts) == ["cross_entropy"]


def test_equals_the_formula(logits: torch.Tensor, labels: torch.Tensor) -> None:
    objective = CrossEntropy(4, "balanced")
    objective.set_class_counts(COUNTS)
    found, _ = objective(Outputs(logits=logits), batch_of(labels))
    scores = logits.double().numpy()
    losses = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(7), labels.numpy()]
    weights = BALANCED.double().numpy()[labels.numpy()]
    assert found.item() == pytest.approx((weights * losses).sum() / weights.sum(), rel=1e-6)


def test_weights_are_neutral_until_counts_are_known(logits: torch.Tensor, labels: torch.Tensor) -> None:
    found, _ = CrossEntropy(4, "balanced")(Outputs(logits=logits), batch_of(labels))
    torch.testing.assert_close(found, F.cross_entropy(logits, labels))


def test_minimum_of_smoothed_labels_is_at_the_smoothed_distribution(labels: torch.Tensor) -> None:
    target = F.one_hot(labels, 4) * 0.8 + 0.2 / 4
    logits = target.log().requires_grad_()
    loss, _ = CrossEntropy(4, label_smoothing=0.2)(Outputs(logits=logits), batch_of(labels))
    loss.backward()
    assert logits.grad.abs().max() < 1e-6
    assert loss.item() == pytest.approx(-(target * target.log()).sum(dim=1).mean().item(), rel=1e-5)


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_soft_with_one_hot_rows_is_hard(logits: torch.Tensor, labels: torch.Tensor, class_weights: str) -> None:
    hard, soft = CrossEntropy(4, class_weights), SoftCrossEntropy(4, class_weights)
    batch = batch_of(labels, F.one_hot(labels, 4).float())
    for objective in (hard, soft):
        objective.set_class_counts(COUNTS)
    torch.testing.assert_close(soft(Outputs(logits=logits), batch)[0], hard(Outputs(logits=logits), batch)[0])


def test_soft_is_smallest_where_probabilities_are_the_votes() -> None:
    votes = torch.tensor([[0.5, 0.25, 0.2, 0.05], [0.1, 0.1, 0.1, 0.7]])
    logits = votes.log().requires_grad_()
    batch = batch_of(torch.tensor([-1, -1]), votes)
    loss, _ = SoftCrossEntropy(4)(Outputs(logits=logits), batch)
    loss.backward()
    assert logits.grad.abs().max() < 1e-6
    entropy = -(votes * votes.log()).sum(dim=1).mean()
    assert loss.item() == pytest.approx(entropy.item(), rel=1e-6)
    torch.manual_seed(0)
    for _ in range(20):
        other, _ = SoftCrossEntropy(4)(Outputs(logits=logits + 0.3 * torch.randn_like(logits)), batch)
        assert other > loss


def test_soft_rows_with_zeros_are_finite_and_masked_rows_are_left_out(logits: torch.Tensor) -> None:
    votes = torch.tensor([[1.0, 0, 0, 0], [0, 0.5, 0.5, 0]])
    soft = torch.cat([votes, torch.full((5, 4), torch.nan)])
    loss, _ = SoftCrossEntropy(4)(Outputs(logits=logits), batch_of(torch.full((7,), -1), soft))
    expected = -(votes * logits[:2].log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossEntropy(4, "inverse"), "CrossEntropy: class_weights must be one of none, balanced"),
        (lambda: SoftCrossEntropy(4, "inverse"), "SoftCrossEntropy: class_weights"),
        (lambda: CrossEntropy(4, label_smoothing=1.0), r"in \[0, 1\), found 1.0"),
        (lambda: CrossEntropy(4, label_smoothing=-0.1), "found -0.1"),
    ],
)
def test_refuses_options_out_of_range(make, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make()
