"""Margins against angles, and at the ends of the cosine's range."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ser_toolkit.data.batch import Batch, Outputs, Targets
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.margin import AdditiveAngularMargin, AdditiveMargin

LABELS = torch.tensor([0, 3, 1, 1, 2, -1])
COUNTS = torch.tensor([10.0, 40.0, 25.0, 5.0])


def loss_of(objective: Objective, cosines: torch.Tensor, labels: torch.Tensor = LABELS) -> torch.Tensor:
    rows = len(labels)
    batch = Batch({}, Targets(labels, torch.full((rows, 4), torch.nan), torch.full((rows, 3), torch.nan)))
    objective.set_class_counts(COUNTS)
    return objective(Outputs(cosines=cosines), batch)[0]


@pytest.fixture
def cosines() -> torch.Tensor:
    torch.manual_seed(0)
    return F.normalize(torch.randn(6, 8), dim=1) @ F.normalize(torch.randn(8, 4), dim=0)


@pytest.mark.parametrize("part", [AdditiveAngularMargin, AdditiveMargin])
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_without_margin_it_is_the_cross_entropy_of_scaled_cosines(
    part: type, class_weights: str, cosines: torch.Tensor
) -> None:
    weights = 80 / (4 * COUNTS) if class_weights == "balanced" else None
    found = loss_of(part(4, margin=0.0, scale=12.0, class_weights=class_weights), cosines)
    torch.testing.assert_close(found, F.cross_entropy(12 * cosines, LABELS, weights, ignore_index=-1))


def test_angular_margin_is_added_to_the_angle(cosines: torch.Tensor) -> None:
    angles = np.arccos(cosines.double().numpy())
    angles[np.arange(5), LABELS[:5].numpy()] += 0.3
    assert angles.max() < np.pi  # nowhere the stand-in
    expected = F.cross_entropy(torch.tensor(20 * np.cos(angles)), LABELS, ignore_index=-1)
    found = loss_of(AdditiveAngularMargin(4, margin=0.3, scale=20), cosines)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_additive_margin_is_taken_off_the_cosine(cosines: torch.Tensor) -> None:
    smaller = cosines.clone()
    smaller[torch.arange(5), LABELS[:5]] -= 0.35
    expected = F.cross_entropy(20 * smaller, LABELS, ignore_index=-1)
    torch.testing.assert_close(loss_of(AdditiveMargin(4, margin=0.35, scale=20), cosines), expected)


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5, math.pi / 2])
def test_a_larger_angle_always_costs_more(margin: float) -> None:
    angles = torch.linspace(0, math.pi, 500, dtype=torch.float64)
    counted = AdditiveAngularMargin(4, margin).shrink(angles.cos())
    assert (counted.diff() < 0).all()
    assert (counted <= angles.cos() + 1e-12).all()


@pytest.mark.parametrize("part", [AdditiveAngularMargin, AdditiveMargin])
@pytest.mark.parametrize("end", [1.0, -1.0, 1.0 + 1e-6, 1.0 - 6e-8, -1.0 + 6e-8])
def test_ends_of_the_range_are_finite(part: type, end: float) -> None:
    cosines = torch.full((2, 4), end, requires_grad=True)
    loss = loss_of(part(4), cosines, torch.tensor([0, 2]))
    loss.backward()
    assert loss.isfinite()
    assert cosines.grad.isfinite().all()


def test_exactly_at_the_prototype_the_cosine_is_that_of_the_margin() -> None:
    found = AdditiveAngularMargin(4, margin=0.4).shrink(torch.ones(1, 1))
    torch.testing.assert_close(found, torch.tensor([[math.cos(0.4)]]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdditiveAngularMargin(4, margin=2.0), r"margin must be in \[0, pi / 2\] radians, found 2.0"),
        (lambda: AdditiveMargin(4, margin=-0.1), r"AdditiveMargin: margin must be in \[0, 2\), found -0.1"),
        (lambda: AdditiveMargin(4, scale=0.0), "AdditiveMargin: scale must be above 0, found 0.0"),
        (lambda: AdditiveAngularMargin(4, class_weights="inverse"), "AdditiveAngularMargin: class_weights"),
    ],
)
def test_refuses_options_out_of_range(make, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make()
