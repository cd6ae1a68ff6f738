"""Weights of classes, and the objectives in which they weigh distributions, against formulas in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ser_toolkit.data.batch import Batch, Outputs, Targets
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.categorical import CrossEntropy, weights_of_classes
from ser_toolkit.objectives.soft import ClassBalancedSoftCrossEntropy, SoftCrossEntropy, SoftKLDivergence

COUNTS = [10, 40, 25, 5]
WAYS = ("none", "balanced", "sqrt", "effective")


def effective_number(counts: list[int]) -> np.ndarray:
    """Cui et al.'s E_n = 1 + b + ... + b^(n-1) summed term by term; weights 1 / E_n with mean 1."""
    beta = (sum(counts) - 1) / sum(counts)
    weights = np.array([1 / sum(beta**power for power in range(n)) for n in counts])
    return weights / weights.mean()


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Logits and distributions (8, 4); some classes have no mass."""
    rng = np.random.default_rng(0)
    votes = rng.multinomial(5, [0.2, 0.5, 0.2, 0.1], size=8)
    return 2 * rng.normal(size=(8, 4)), votes / 5


def loss_of(objective: Objective, logits: np.ndarray, soft: np.ndarray) -> float:
    rows = len(logits)
    targets = Targets(torch.full((rows,), -1), torch.tensor(soft), torch.full((rows, 3), torch.nan))
    objective.set_class_counts(torch.tensor(COUNTS))
    return objective(Outputs(logits=torch.tensor(logits)), Batch({}, targets))[0].item()


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_effective_number_is_the_geometric_sum() -> None:
    found = weights_of_classes(torch.tensor(COUNTS, dtype=torch.float32), "effective")
    np.testing.assert_allclose(found.numpy(), effective_number(COUNTS), rtol=1e-5)
    # Between no weights and balanced ones, on this side of balanced.
    balanced = weights_of_classes(torch.tensor(COUNTS, dtype=torch.float32), "balanced")
    assert 1 < found[3] / found[1] < balanced[3] / balanced[1]


def test_effective_number_of_a_large_corpus_does_not_cancel() -> None:
    counts = [150_000, 9_000, 1_200]
    beta = np.longdouble(1) - np.longdouble(1) / sum(counts)
    weights = 1 / (1 - beta ** np.array(counts, dtype=np.longdouble))
    found = weights_of_classes(torch.tensor(counts, dtype=torch.float32), "effective")
    np.testing.assert_allclose(found.numpy(), (weights / weights.mean()).astype(float), rtol=1e-5)


def test_square_root_weights() -> None:
    found = weights_of_classes(torch.tensor(COUNTS, dtype=torch.float32), "sqrt")
    np.testing.assert_allclose(found.numpy(), [np.sqrt(80 / (4 * n)) for n in COUNTS], rtol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_equal_counts_weigh_nothing_and_an_unseen_class_one(way: str) -> None:
    for count in (1.0, 17.0, 50_000.0):
        torch.testing.assert_close(weights_of_classes(torch.full((3,), count), way), torch.ones(3))
    # What is known of the others does not depend on whether a class is on the list that nobody showed.
    known = weights_of_classes(torch.tensor([40.0, 9.0]), way)
    torch.testing.assert_close(weights_of_classes(torch.tensor([40.0, 0.0, 9.0]), way)[[0, 2]], known)
    assert weights_of_classes(torch.tensor([40.0, 0.0, 9.0]), way)[1] == 1
    assert weights_of_classes(torch.ones(1), way).tolist() == [1]
    assert weights_of_classes(torch.zeros(2), way).tolist() == [1, 1]


@pytest.mark.parametrize("way", WAYS)
def test_label_smoothing_does_not_pull_towards_a_class_that_nobody_showed(way: str) -> None:
    """The best prediction under smoothing is the label; with the weight of a rare class it was the absent one."""
    objective = CrossEntropy(4, way, label_smoothing=0.1)
    objective.set_class_counts(torch.tensor([300.0, 300.0, 300.0, 0.0]))
    targets = Targets(torch.tensor([0, 1, 2]), torch.full((3, 4), torch.nan), torch.full((3, 3), torch.nan))
    logits = torch.zeros(3, 4, requires_grad=True)
    solver = torch.optim.LBFGS([logits], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = objective(Outputs(logits=logits), Batch({}, targets))[0]
        loss.backward()
        return loss

    solver.step(closure)
    assert logits.argmax(dim=1).tolist() == [0, 1, 2]
    assert logits.softmax(dim=1)[:, 3].max() < 0.05


@pytest.mark.parametrize("way", WAYS)
def test_cross_entropy_takes_every_way(way: str) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 1, 2, 3, 1])
    objective = CrossEntropy(4, way)
    objective.set_class_counts(torch.tensor(COUNTS))
    targets = Targets(labels, torch.full((6, 4), torch.nan), torch.full((6, 3), torch.nan))
    weights = {
        "none": np.ones(4),
        "balanced": np.array([80 / (4 * n) for n in COUNTS]),
        "sqrt": np.array([np.sqrt(80 / (4 * n)) for n in COUNTS]),
        "effective": effective_number(COUNTS),
    }[way][labels.numpy()]
    losses = -log_softmax(logits.double().numpy())[np.arange(6), labels.numpy()]
    found = objective(Outputs(logits=logits), Batch({}, targets))[0].item()
    assert found == pytest.approx((weights * losses).sum() / weights.sum(), rel=1e-5)


def test_soft_cross_entropy_weighs_classes(pair: tuple[np.ndarray, np.ndarray]) -> None:
    logits, soft = pair
    mass = soft * effective_number(COUNTS)
    found = loss_of(SoftCrossEntropy(4, "effective"), logits, soft)
    assert found == pytest.approx(-(mass * log_softmax(logits)).sum() / mass.sum(), rel=1e-5)


def test_class_balanced_soft_cross_entropy_is_that_of_emo_superb(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Row by row: w_i = sum_c w_c q_ic, l_i = -sum_c w_i q_ic log p_ic, then the plain mean over rows."""
    logits, soft = pair
    class_weights, losses = effective_number(COUNTS), []
    for scores, votes in zip(logits, soft, strict=True):
        weight = sum(w * q for w, q in zip(class_weights, votes, strict=True))
        probabilities = np.exp(scores) / np.exp(scores).sum()
        losses.append(-sum(weight * q * np.log(p) for q, p in zip(votes, probabilities, strict=True)))
    assert loss_of(ClassBalancedSoftCrossEntropy(4), logits, soft) == pytest.approx(np.mean(losses), rel=1e-5)
    # A row without votes is not a row of the mean.
    with_gap = np.vstack([soft, np.full((1, 4), np.nan)])
    found = loss_of(ClassBalancedSoftCrossEntropy(4), np.vstack([logits, np.ones((1, 4))]), with_gap)
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("part", [ClassBalancedSoftCrossEntropy, SoftKLDivergence])
def test_weights_of_utterances_leave_the_minimum_at_the_targets(
    part: type[Objective], pair: tuple[np.ndarray, np.ndarray]
) -> None:
    soft = 0.9 * pair[1] + 0.1 / 4
    objective = part(4, "balanced")
    objective.set_class_counts(torch.tensor(COUNTS))
    targets = Targets(torch.full((8,), -1), torch.tensor(soft), torch.full((8, 3), torch.nan))
    logits = torch.tensor(np.log(soft), requires_grad=True)
    objective(Outputs(logits=logits), Batch({}, targets))[0].backward()
    assert logits.grad.abs().max() < 1e-7


def test_kl_divergence_is_soft_cross_entropy_less_entropy(pair: tuple[np.ndarray, np.ndarray]) -> None:
    logits, soft = pair
    entropy = -np.sum(soft * np.log(np.where(soft > 0, soft, 1)), axis=1).mean()
    found = loss_of(SoftKLDivergence(4), logits, soft)
    assert found == pytest.approx(loss_of(SoftCrossEntropy(4), logits, soft) - entropy, rel=1e-6)


def test_kl_divergence_is_from_the_target_to_the_model() -> None:
    target, model = np.array([[0.7, 0.3, 0.0, 0.0]]), np.array([[0.4, 0.3, 0.2, 0.1]])
    # The other direction would be infinite: the target has no mass on two classes.
    assert loss_of(SoftKLDivergence(4), np.log(model), target) == pytest.approx(0.7 * np.log(0.7 / 0.4))
    assert loss_of(SoftKLDivergence(4), np.log(model), model) == pytest.approx(0, abs=1e-12)


def test_weighted_kl_divergence_weighs_rows_and_is_never_negative(pair: tuple[np.ndarray, np.ndarray]) -> None:
    logits, soft = pair
    terms = np.where(soft > 0, soft * (np.log(np.where(soft > 0, soft, 1)) - log_softmax(logits)), 0).sum(axis=1)
    weights = soft @ np.array([80 / (4 * n) for n in COUNTS])
    found = loss_of(SoftKLDivergence(4, "balanced"), logits, soft)
    assert found == pytest.approx((weights * terms).sum() / weights.sum(), rel=1e-5)
    assert found > 0


@pytest.mark.parametrize("part", [ClassBalancedSoftCrossEntropy, SoftKLDivergence, SoftCrossEntropy])
def test_refuses_an_unknown_way(part: type[Objective]) -> None:
    with pytest.raises(RecipeError, match=f"{part.__name__}: class_weights must be one of none, balanced, sqrt, eff"):
        part(4, "inverse")
