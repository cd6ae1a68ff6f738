"""The regularised optimiser against scikit-learn's optimum of the same problem."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F

from ser_toolkit.model.optimisers import RegularisedLBFGS


def _problem(classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(classes)
    labels = torch.randint(classes, (80,), generator=generator)
    centres = torch.randn(classes, 5, generator=generator)
    return centres[labels] + torch.randn(80, 5, generator=generator) + 0.5, labels


def _solve(inputs: torch.Tensor, labels: torch.Tensor, classes: int, weight_decay: float, start: int = 0) -> nn.Linear:
    torch.manual_seed(start)
    layer = nn.Linear(inputs.shape[1], classes, dtype=inputs.dtype)
    optimizer = RegularisedLBFGS(layer.parameters(), weight_decay=weight_decay, max_iter=300)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(layer(inputs), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    return layer


@pytest.mark.parametrize("classes", [3, 4])
@pytest.mark.parametrize("weight_decay", [1e-1, 1e-3])
def test_the_optimum_is_that_of_scikit_learn(classes: int, weight_decay: float) -> None:
    inputs, labels = _problem(classes)
    inputs = inputs.double()
    layer = _solve(inputs, labels, classes, weight_decay)
    # scikit-learn minimises C * (sum of losses) + |W|^2 / 2, the intercept is free there too.
    reference = LogisticRegression(C=1 / (weight_decay * len(labels)), solver="newton-cg", tol=1e-8, max_iter=1000)
    reference.fit(inputs.numpy(), labels.numpy())
    np.testing.assert_allclose(layer.weight.detach(), reference.coef_, atol=1e-3)
    # The intercepts are free up to a constant that all classes share.
    bias = layer.bias.detach() - layer.bias.detach().mean()
    np.testing.assert_allclose(bias, reference.intercept_ - reference.intercept_.mean(), atol=1e-3)
    probabilities = layer(inputs).softmax(dim=1).detach()
    np.testing.assert_allclose(probabilities, reference.predict_proba(inputs.numpy()), atol=1e-3)


def test_the_start_does_not_matter() -> None:
    inputs, labels = _problem(3)
    first, second = (_solve(inputs, labels, 3, 1e-2, start) for start in (0, 1))
    torch.testing.assert_close(first.weight, second.weight, rtol=0, atol=1e-3)


def test_without_a_penalty_it_is_the_plain_optimiser() -> None:
    inputs, labels = _problem(3)
    assert _solve(inputs, labels, 3, 0.0).weight.abs().max() > _solve(inputs, labels, 3, 1e-1).weight.abs().max()


def test_parameters_that_are_not_trained_stay() -> None:
    inputs, labels = _problem(3)
    fixed, layer = nn.Linear(5, 5), nn.Linear(5, 3)
    fixed.requires_grad_(False)
    before = fixed.weight.clone()
    optimizer = RegularisedLBFGS([*fixed.parameters(), *layer.parameters()], weight_decay=1e-2)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(layer(fixed(inputs)), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert torch.equal(fixed.weight, before)
