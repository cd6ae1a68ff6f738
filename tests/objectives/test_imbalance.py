"""Focal loss, logit adjustment and soft F1 against cross-entropy, Bayes' rule and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from ser_toolkit.data.batch import MISSING_LABEL, Batch, Outputs, Targets
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.categorical import CrossEntropy
from ser_toolkit.objectives.focal import FocalLoss
from ser_toolkit.objectives.imbalance import LogitAdjustedCrossEntropy, SoftF1Loss

COUNTS = torch.tensor([10.0, 40.0, 25.0, 5.0])
LABELS = torch.tensor([0, 3, 1, 1, 2, MISSING_LABEL, 0])


def batch_of(labels: torch.Tensor) -> Batch:
    rows = len(labels)
    return Batch({}, Targets(labels, torch.full((rows, 4), torch.nan), torch.full((rows, 3), torch.nan)))


@pytest.fixture
def logits() -> torch.Tensor:
    torch.manual_seed(0)
    return 2 * torch.randn(7, 4)


def loss_of(objective: Objective, logits: torch.Tensor, labels: torch.Tensor = LABELS) -> torch.Tensor:
    objective.set_class_counts(COUNTS)
    return objective(Outputs(logits=logits), batch_of(labels))[0]


@pytest.mark.parametrize("class_weights", ["none", "balanced", "effective"])
def test_focal_without_gamma_is_cross_entropy(logits: torch.Tensor, class_weights: str) -> None:
    found = loss_of(FocalLoss(4, gamma=0, class_weights=class_weights), logits)
    torch.testing.assert_close(found, loss_of(CrossEntropy(4, class_weights), logits), rtol=1e-6, atol=0)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_focal_equals_the_formula(logits: torch.Tensor, gamma: float) -> None:
    known = LABELS != MISSING_LABEL
    scores, labels = logits[known].double().numpy(), LABELS[known].numpy()
    p = (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))[np.arange(6), labels]
    alpha = (80 / (4 * COUNTS.numpy()))[labels]
    expected = (alpha * (1 - p) ** gamma * -np.log(p)).sum() / alpha.sum()
    found = loss_of(FocalLoss(4, gamma, "balanced"), logits)
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_is_finite_where_the_label_is_certain(gamma: float) -> None:
    sure = (200 * torch.eye(4)[:2]).requires_grad_()
    loss = loss_of(FocalLoss(4, gamma), sure, torch.tensor([0, 0]))
    loss.backward()
    assert loss.isfinite() and sure.grad.isfinite().all()
    # The first row is right, the second wrong: it keeps the gradient of cross-entropy.
    assert sure.grad[0].abs().max() == 0
    torch.testing.assert_close(sure.grad[1], torch.tensor([-0.5, 0.5, 0, 0]))


def test_adjustment_shifts_the_logits_of_cross_entropy(logits: torch.Tensor) -> None:
    shifted = logits + 0.7 * (COUNTS / 80).log()
    found = loss_of(LogitAdjustedCrossEntropy(4, tau=0.7), logits)
    torch.testing.assert_close(found, loss_of(CrossEntropy(4), shifted))
    torch.testing.assert_close(loss_of(LogitAdjustedCrossEntropy(4, tau=0), logits), loss_of(CrossEntropy(4), logits))


def test_adjusted_logits_learn_the_decision_that_is_best_for_the_mean_recall() -> None:
    """Two Gaussians at -1 and +1, nine to one: plain logits cut at (log 9) / 2, adjusted ones halfway at 0."""
    # Quantiles instead of draws, so that the only difference from the limit is the discretisation.
    quantiles = torch.special.ndtri((torch.arange(1, 901) - 0.5) / 900)
    x = torch.cat([quantiles - 1, quantiles[4::9] + 1])
    labels = torch.cat([torch.zeros(900, dtype=torch.long), torch.ones(100, dtype=torch.long)])
    for objective, expected in ((CrossEntropy(2), np.log(9) / 2), (LogitAdjustedCrossEntropy(2), 0.0)):
        objective.set_class_counts(torch.tensor([900, 100]))
        weight, bias = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=50)

        def closure(objective: Objective = objective, parameters: tuple = (weight, bias)) -> torch.Tensor:
            optimizer.zero_grad()  # noqa: B023
            score = parameters[0] * x + parameters[1]
            loss = objective(Outputs(logits=torch.stack([-score / 2, score / 2], dim=1)), batch_of(labels))[0]
            loss.backward()
            return loss

        optimizer.step(closure)
        assert (-bias / weight).item() == pytest.approx(expected, abs=0.03)


def test_an_uncounted_class_stays_finite(logits: torch.Tensor) -> None:
    objective = LogitAdjustedCrossEntropy(4)
    objective.set_class_counts(torch.tensor([10, 0, 25, 5]))
    assert objective(Outputs(logits=logits), batch_of(LABELS))[0].isfinite()


def test_soft_f1_of_decisions_is_macro_f1() -> None:
    rng = np.random.default_rng(0)
    # Class 3 is predicted but absent from the truth, which leaves it out.
    truth, predicted = rng.integers(0, 3, size=40), rng.integers(0, 4, size=40)
    certain = 1e3 * torch.eye(4)[torch.tensor(predicted)]
    expected = 1 - f1_score(truth, predicted, average="macro", labels=[0, 1, 2])
    assert loss_of(SoftF1Loss(4), certain, torch.tensor(truth)).item() == pytest.approx(expected, rel=1e-6)


def test_soft_f1_counts_probabilities() -> None:
    p = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.2, 0.6, 0.1, 0.1], [0.5, 0.3, 0.1, 0.1]], dtype=torch.float64)
    # Class 0: TP .7, FP .2 + .5, FN .3; class 1: TP .6 + .3, FP .1, FN .4 + .7.
    expected = 1 - (1.4 / (1.4 + 0.7 + 0.3) + 1.8 / (1.8 + 0.1 + 1.1)) / 2
    assert loss_of(SoftF1Loss(4), p.log(), torch.tensor([0, 1, 1])).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FocalLoss(4, gamma=-1), "FocalLoss: gamma must be at least 0, found -1"),
        (lambda: FocalLoss(4, gamma=float("nan")), "found nan"),
        (lambda: FocalLoss(4, class_weights="inverse"), "FocalLoss: class_weights"),
        (lambda: LogitAdjustedCrossEntropy(4, tau=-0.5), "tau must be at least 0, found -0.5"),
    ],
)
def test_refuses_options_out_of_range(make, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make()
