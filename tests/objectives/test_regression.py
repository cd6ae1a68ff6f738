"""Errors and correlation of valence, arousal and dominance against torch, scipy and their own shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from torch.nn import functional as F

from ser_toolkit.data.batch import Batch, Outputs, Targets
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.dimensional import ConcordanceLoss, PearsonLoss
from ser_toolkit.objectives.regression import MeanAbsoluteError, MeanAvoidingError, MeanSquaredError

PARTS = [MeanSquaredError, MeanAbsoluteError, MeanAvoidingError, PearsonLoss]


def loss_of(objective: Objective, predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    rows = len(targets)
    labels = torch.full((rows,), -1)
    return objective(Outputs(dimensions=predictions), Batch({}, Targets(labels, torch.zeros(rows, 4), targets)))[0]


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and targets (12, 3) that agree somewhat."""
    torch.manual_seed(0)
    targets = torch.rand(12, 3)
    return 0.5 * targets + 0.3 * torch.rand(12, 3), targets


def test_errors_equal_torch(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.testing.assert_close(loss_of(MeanSquaredError(4), *pair), F.mse_loss(*pair))
    torch.testing.assert_close(loss_of(MeanAbsoluteError(4), *pair), F.l1_loss(*pair))
    torch.testing.assert_close(loss_of(MeanAvoidingError(4, strength=0), *pair), F.mse_loss(*pair))


def test_pearson_equals_scipy(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = (values.double() for values in pair)
    expected = np.mean([1 - pearsonr(x[:, k], y[:, k]).statistic for k in range(3)])
    assert loss_of(PearsonLoss(4), x, y).item() == pytest.approx(expected, abs=1e-5)


def test_pearson_is_blind_to_scale_and_offset_where_concordance_is_not(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = pair
    changed = 3 * x - 2
    assert loss_of(PearsonLoss(4), changed, y).item() == pytest.approx(loss_of(PearsonLoss(4), x, y).item(), abs=1e-5)
    assert loss_of(ConcordanceLoss(4), changed, y) > loss_of(ConcordanceLoss(4), x, y) + 0.1
    assert loss_of(PearsonLoss(4), -y, y).item() == pytest.approx(2, abs=1e-5)


@pytest.mark.parametrize("part", PARTS)
def test_dimensions_are_weighted_and_missing_targets_left_out(
    part: type[Objective], pair: tuple[torch.Tensor, torch.Tensor]
) -> None:
    x, y = pair
    alone = []
    for k in range(3):
        only = torch.full_like(y, torch.nan)
        only[:, k] = y[:, k]
        alone.append(loss_of(part(4), x, only).item())
    found = loss_of(part(4, weights=[2.0, 1.0, 0.0]), x, y).item()
    assert found == pytest.approx((2 * alone[0] + alone[1]) / 3, rel=1e-5)
    # Each dimension is averaged over the utterances that it has, so that a rarely rated one is not weighed down.
    partly = y.clone()
    partly[4:, 1] = torch.nan
    short = loss_of(part(4, weights=[0.0, 1.0, 0.0]), x[:4], y[:4]).item()
    assert loss_of(part(4), x, partly).item() == pytest.approx((alone[0] + short + alone[2]) / 3, rel=1e-5)


def test_mean_avoiding_error_equals_the_formula() -> None:
    x, y = torch.tensor([[0.6, 0.1, 0.9]]), torch.tensor([[0.2, 0.2, 0.4]])
    terms = [
        (1 + 1.5 * np.exp(-((p - 0.4) ** 2) / (2 * 0.3**2))) * (p - t) ** 2
        for p, t in zip((0.6, 0.1, 0.9), (0.2, 0.2, 0.4), strict=True)
    ]
    found = loss_of(MeanAvoidingError(4, centre=0.4, width=0.3, strength=1.5), x, y)
    assert found.item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_the_same_error_costs_most_in_the_middle() -> None:
    targets = torch.linspace(0, 0.8, 9)[:, None].expand(9, 3)
    costs = [
        loss_of(MeanAvoidingError(4), t[None] + 0.1, t[None]).item()
        / loss_of(MeanSquaredError(4), t[None] + 0.1, t[None])
        for t in targets
    ]
    # The prediction is at .1, .2, ... .9: the cost rises up to .5, where it is double, and falls again.
    assert costs[4] == pytest.approx(2, rel=1e-5)
    assert costs[:5] == sorted(costs[:5])
    assert costs[4:] == sorted(costs[4:], reverse=True)
    assert costs[0] < 1.2


@pytest.mark.parametrize(("width", "strength"), [(0.2, 1.0), (0.5, 1.0), (0.2, 0.3)])
def test_mean_avoiding_error_has_no_minimum_but_the_target(width: float, strength: float) -> None:
    objective = MeanAvoidingError(4, width=width, strength=strength)
    x = torch.linspace(-1, 2, 601, dtype=torch.float64)[:, None].expand(601, 3)
    for target in torch.linspace(0, 1, 11, dtype=torch.float64):
        costs = objective.errors(x, target)[:, 0]
        falls, rises = x[1:, 0] <= target + 1e-9, x[:-1, 0] >= target - 1e-9
        assert (costs.diff()[falls] < 0).all()
        assert (costs.diff()[rises] > 0).all()


@pytest.mark.parametrize("part", PARTS)
def test_minimum_is_at_the_target(part: type[Objective], pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    _, targets = pair
    values = targets.double().requires_grad_()
    loss = loss_of(part(4), values, targets.double())
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert values.grad.abs().max() < 1e-5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MeanSquaredError(4, weights=[1.0]), "MeanSquaredError: weights must be 3 numbers"),
        (lambda: PearsonLoss(4, weights=[0.0, 0.0, 0.0]), "PearsonLoss: weights must be 3 numbers"),
        (lambda: MeanAvoidingError(4, centre=4), r"centre must be in \[0, 1\].* found 4"),
        (lambda: MeanAvoidingError(4, width=0), "width must be above 0 and strength at least 0, found 0 and 1.0"),
        (lambda: MeanAvoidingError(4, strength=-1), "found 0.2 and -1"),
    ],
)
def test_refuses_options_out_of_range(make, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make()
