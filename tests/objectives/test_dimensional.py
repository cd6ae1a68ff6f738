"""Concordance against its definition by way of numpy's correlation, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ser_toolkit.data.batch import Batch, Outputs, Targets
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives.categorical import CrossEntropy
from ser_toolkit.objectives.combined import CrossEntropyConcordance
from ser_toolkit.objectives.dimensional import ConcordanceLoss, concordance


def ccc_by_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """2 rho s_x s_y / (s_x^2 + s_y^2 + (m_x - m_y)^2) with population standard deviations."""
    rho = np.corrcoef(x, y)[0, 1]
    return 2 * rho * x.std() * y.std() / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def batch_of(dimensions: torch.Tensor) -> Batch:
    rows = len(dimensions)
    targets = Targets(torch.zeros(rows, dtype=torch.long), torch.full((rows, 4), torch.nan), dimensions)
    return Batch({}, targets, [str(i) for i in range(rows)])


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and targets (12, 3) that agree somewhat."""
    torch.manual_seed(0)
    targets = torch.rand(12, 3)
    return 0.5 * targets + 0.3 * torch.rand(12, 3), targets


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.uniform(size=(30, 3))
    x = rng.uniform(-1, 1, size=3) * y + rng.normal(scale=0.2, size=(30, 3)) + rng.normal(size=3)
    found, count = concordance(torch.tensor(x), torch.tensor(y))
    expected = [ccc_by_correlation(x[:, k], y[:, k]) for k in range(3)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    assert count.tolist() == [30, 30, 30]


def test_is_one_only_for_identity(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    _, targets = pair
    loss, parts = ConcordanceLoss(4)(Outputs(dimensions=targets.clone()), batch_of(targets))
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert list(parts) == ["ccc_loss"]
    # Perfect correlation is not enough: another offset or another scale costs.
    for other in (targets + 0.1, 0.8 * targets, 1.2 * targets - 0.1):
        assert ConcordanceLoss(4)(Outputs(dimensions=other), batch_of(targets))[0] > 0.01
    mirrored, _ = concordance(2 * targets.mean(dim=0) - targets, targets)
    torch.testing.assert_close(mirrored, -torch.ones(3), rtol=0, atol=1e-6)


def test_gradient_vanishes_at_the_target_and_leads_there(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    _, targets = pair
    values = targets.double().requires_grad_()
    ConcordanceLoss(4)(Outputs(dimensions=values), batch_of(targets.double()))[0].backward()
    assert values.grad.abs().max() < 1e-6
    free = torch.rand(12, 3, generator=torch.Generator().manual_seed(3)).requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        loss, _ = ConcordanceLoss(4)(Outputs(dimensions=free), batch_of(targets))
        loss.backward()
        optimizer.step()
    assert loss < 1e-3
    torch.testing.assert_close(free.detach(), targets, rtol=0, atol=0.05)


def test_a_constant_prediction_scores_zero_and_learns(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    _, targets = pair
    constant = torch.full((12, 3), 0.5, requires_grad=True)
    loss, _ = ConcordanceLoss(4)(Outputs(dimensions=constant), batch_of(targets))
    assert loss.item() == pytest.approx(1, abs=1e-6)
    loss.backward()
    # The way out of the constant is towards the targets' deviations.
    assert (-constant.grad * (targets - targets.mean(dim=0))).sum() > 0


def test_targets_are_masked_dimension_by_dimension(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    predictions, targets = pair
    masked = targets.clone()
    masked[::3, 0] = torch.nan
    masked[:, 2] = torch.nan
    loss, _ = ConcordanceLoss(4)(Outputs(dimensions=predictions), batch_of(masked))
    keep = ~masked[:, 0].isnan().numpy()
    x, y = predictions.double().numpy(), targets.double().numpy()
    expected = [1 - ccc_by_correlation(x[keep, 0], y[keep, 0]), 1 - ccc_by_correlation(x[:, 1], y[:, 1])]
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_weights_of_dimensions(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    predictions, targets = pair
    ccc, _ = concordance(predictions, targets)
    loss, _ = ConcordanceLoss(4, weights=[2.0, 0.0, 1.0])(Outputs(dimensions=predictions), batch_of(targets))
    assert loss.item() == pytest.approx(((2 * (1 - ccc[0]) + (1 - ccc[2])) / 3).item(), rel=1e-6)
    only_unwanted = torch.full_like(targets, torch.nan)
    only_unwanted[:, 1] = targets[:, 1]
    loss, _ = ConcordanceLoss(4, weights=[2.0, 0.0, 1.0])(Outputs(dimensions=predictions), batch_of(only_unwanted))
    assert loss == 0


@pytest.mark.parametrize("weights", [[1.0, 1.0], [0.0, 0.0, 0.0], [1.0, -1.0, 1.0], [1.0, float("nan"), 1.0], []])
def test_refuses_weights_that_are_no_weights(weights: list[float]) -> None:
    with pytest.raises(RecipeError, match=r"3 numbers >= 0 \(valence, arousal, dominance\)"):
        ConcordanceLoss(4, weights=weights)
    with pytest.raises(RecipeError, match="CrossEntropyConcordance"):
        CrossEntropyConcordance(4, dimension_weights=weights)


values = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 1e-30]), st.floats(-1e3, 1e3, width=32))


@settings(max_examples=100, deadline=None)
@given(data=st.data(), rows=st.integers(1, 6))
def test_always_finite_and_between_zero_and_two(data: st.DataObject, rows: int) -> None:
    predictions = torch.tensor(data.draw(hnp.arrays(np.float32, (rows, 3), elements=values))).requires_grad_()
    with_gaps = st.one_of(st.just(float("nan")), values)
    targets = torch.tensor(data.draw(hnp.arrays(np.float32, (rows, 3), elements=with_gaps)))
    loss, _ = ConcordanceLoss(4)(Outputs(dimensions=predictions), batch_of(targets))
    loss.backward()
    assert -1e-5 <= loss.item() <= 2 + 1e-5
    assert predictions.grad.isfinite().all()


class TestCrossEntropyConcordance:
    def both(self, pair: tuple[torch.Tensor, torch.Tensor]) -> tuple[Outputs, Batch]:
        predictions, targets = pair
        torch.manual_seed(1)
        return Outputs(logits=torch.randn(12, 4), dimensions=predictions), batch_of(targets)

    @pytest.mark.parametrize("alpha", [0.0, 0.5, 3.0])
    def test_is_the_sum_of_its_parts(self, pair: tuple[torch.Tensor, torch.Tensor], alpha: float) -> None:
        outputs, batch = self.both(pair)
        objective = CrossEntropyConcordance(4, alpha, "balanced", 0.1, [1.0, 2.0, 0.0])
        single, ccc = CrossEntropy(4, "balanced", 0.1), ConcordanceLoss(4, [1.0, 2.0, 0.0])
        counts = torch.tensor([5.0, 1.0, 2.0, 8.0])
        objective.set_class_counts(counts)
        single.set_class_counts(counts)
        loss, parts = objective(outputs, batch)
        torch.testing.assert_close(parts["cross_entropy"], single(outputs, batch)[0])
        torch.testing.assert_close(parts["ccc_loss"], ccc(outputs, batch)[0])
        torch.testing.assert_close(loss, parts["cross_entropy"] + alpha * parts["ccc_loss"])

    def test_a_task_without_targets_adds_nothing(self, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
        outputs, batch = self.both(pair)
        batch.targets.dimensions = torch.full_like(batch.targets.dimensions, torch.nan)
        loss, parts = CrossEntropyConcordance(4)(outputs, batch)
        assert parts["ccc_loss"] == 0
        assert loss == parts["cross_entropy"]

    def test_refuses_a_negative_alpha(self) -> None:
        with pytest.raises(RecipeError, match="alpha must be at least 0, found -1"):
            CrossEntropyConcordance(4, alpha=-1)
