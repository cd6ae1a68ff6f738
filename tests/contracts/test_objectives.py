"""What every objective must keep to. A new objective is tested on the day it is added."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import ser_toolkit.objectives  # noqa: F401  (imports every part, so that the walk finds it)
from ser_toolkit.data.batch import MISSING_LABEL, Batch, Outputs, Targets
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.categorical import CrossEntropy
from ser_toolkit.objectives.combined import CrossEntropyConcordance
from ser_toolkit.objectives.dimensional import ConcordanceLoss
from ser_toolkit.objectives.soft import SoftCrossEntropy
from ser_toolkit.parts import subclasses, summary

CLASSES, FRAMES = 4, 3
COUNTS = torch.tensor([10.0, 40.0, 25.0, 5.0])


def cases() -> list:
    """Every shipped objective with its defaults, and some with other options."""
    shipped = [part for part in subclasses(Objective).values() if part.__module__.startswith("ser_toolkit.")]
    options: list[tuple[type[Objective], dict[str, Any]]] = [
        (CrossEntropy, {"class_weights": "balanced", "label_smoothing": 0.1}),
        (SoftCrossEntropy, {"class_weights": "balanced"}),
        (ConcordanceLoss, {"weights": [1.0, 0.5, 2.0]}),
        (CrossEntropyConcordance, {"alpha": 2.0, "class_weights": "balanced", "dimension_weights": [0.0, 1.0, 1.0]}),
    ]
    return [pytest.param(part, {}, id=part.__name__) for part in shipped] + [
        pytest.param(part, kwargs, id=f"{part.__name__}-{'-'.join(kwargs)}") for part, kwargs in options
    ]


every_objective = pytest.mark.parametrize(("part", "options"), cases())


def made(part: type[Objective], options: dict[str, Any]) -> Objective:
    objective = part(CLASSES, **options)
    objective.set_class_counts(COUNTS)
    return objective


def batch_of(size: int, seed: int = 0) -> Batch:
    """A batch in which every task has its targets."""
    generator = torch.Generator().manual_seed(seed)
    targets = Targets(
        label=torch.randint(CLASSES, (size,), generator=generator),
        soft=torch.randn(size, CLASSES, generator=generator).softmax(dim=1),
        dimensions=torch.rand(size, 3, generator=generator),
    )
    return Batch({}, targets, ids=[f"u{i}" for i in range(size)])


def predictions(size: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(size, CLASSES, generator=generator).to(dtype).requires_grad_()
    dimensions = torch.rand(size, 3, generator=generator).to(dtype).requires_grad_()
    frame_logits = torch.randn(size, FRAMES, CLASSES, generator=generator).to(dtype).requires_grad_()
    cosines = (1.8 * torch.rand(size, CLASSES, generator=generator) - 0.9).to(dtype).requires_grad_()
    return {"logits": logits, "dimensions": dimensions, "frame_logits": frame_logits, "cosines": cosines}


def outputs_of(predicted: dict[str, Any]) -> Outputs:
    """Outputs of a head that predicts everything; the last frame is padding."""
    rows = next(len(value) for value in predicted.values() if value is not None)
    return Outputs(**predicted, frame_lengths=torch.full((rows,), FRAMES - 1))


def assert_finite(objective: Objective, predicted: dict[str, Tensor], batch: Batch) -> Tensor:
    """The loss and its gradients are numbers."""
    loss, parts = objective(outputs_of(predicted), batch)
    assert loss.shape == ()
    assert loss.isfinite()
    assert all(part.shape == () and part.isfinite() for part in parts.values())
    loss.backward()
    for name in objective.requires:
        assert predicted[name].grad is not None
        assert predicted[name].grad.isfinite().all(), name
    return loss.detach()


@every_objective
def test_says_what_it_is(part: type[Objective], options: dict) -> None:
    assert summary(part)
    assert summary(part) != summary(Objective)
    needed = made(part, options).requires
    assert needed and set(needed) <= set(predictions(1))


@every_objective
@pytest.mark.parametrize("size", [1, 2, 9])
def test_finite_on_any_batch_size(part: type[Objective], options: dict, size: int) -> None:
    assert_finite(made(part, options), predictions(size), batch_of(size))


@every_objective
@pytest.mark.parametrize("size", [1, 6])
def test_finite_on_constants(part: type[Objective], options: dict, size: int) -> None:
    batch = batch_of(size)
    for constant_targets in (False, True):
        if constant_targets:
            batch.targets.label = torch.zeros(size, dtype=torch.long)
            batch.targets.soft = torch.tensor([[1.0, 0, 0, 0]]).repeat(size, 1)
            batch.targets.dimensions = torch.full((size, 3), 0.5)
        predicted = {
            "logits": torch.zeros(size, CLASSES, requires_grad=True),
            "dimensions": torch.full((size, 3), 0.5, requires_grad=True),
            "frame_logits": torch.zeros(size, FRAMES, CLASSES, requires_grad=True),
            "cosines": torch.zeros(size, CLASSES, requires_grad=True),
        }
        assert_finite(made(part, options), predicted, batch)


@every_objective
def test_a_step_down_the_gradient_lowers_the_loss(part: type[Objective], options: dict) -> None:
    objective, batch, predicted = made(part, options), batch_of(9), predictions(9)
    before = assert_finite(objective, predicted, batch)
    with torch.no_grad():
        steps = {
            name: value if value.grad is None else value - 0.01 * value.grad / value.grad.norm()
            for name, value in predicted.items()
        }
        after, _ = objective(outputs_of(steps), batch)
    assert after < before


@every_objective
def test_each_required_output_gets_a_gradient_and_no_other_is_touched(part: type[Objective], options: dict) -> None:
    objective, predicted = made(part, options), predictions(9)
    assert_finite(objective, predicted, batch_of(9))
    reached = {name for name, value in predicted.items() if value.grad is not None and value.grad.abs().sum() > 0}
    assert reached == set(objective.requires)
    for name in objective.requires:
        with pytest.raises(RecipeError, match=name):
            objective(outputs_of({**predicted, name: None}), batch_of(9))


@every_objective
def test_gradcheck(part: type[Objective], options: dict) -> None:
    objective, batch, predicted = made(part, options), batch_of(5), predictions(5, dtype=torch.float64)
    values = [predicted[name] for name in objective.requires]
    assert torch.autograd.gradcheck(
        lambda *given: objective(outputs_of(dict(zip(objective.requires, given, strict=True))), batch)[0], values
    )


@every_objective
def test_masking_is_dropping_the_row(part: type[Objective], options: dict) -> None:
    objective, batch, predicted = made(part, options), batch_of(9), predictions(9)
    rows = torch.tensor([0, 2, 3, 5, 6, 8])
    dropped = torch.tensor([1, 4, 7])
    kept = batch_of(9)
    kept.targets = Targets(*(getattr(batch.targets, name)[rows] for name in ("label", "soft", "dimensions")))
    batch.targets.label[dropped] = MISSING_LABEL
    batch.targets.soft[dropped] = torch.nan
    batch.targets.dimensions[dropped] = torch.nan
    masked, _ = objective(outputs_of(predicted), batch)
    expected, _ = objective(outputs_of({name: value[rows] for name, value in predicted.items()}), kept)
    assert masked.item() == pytest.approx(expected.item(), rel=1e-6)
    masked.backward()
    for name in objective.requires:
        assert predicted[name].grad[dropped].abs().max() == 0


@every_objective
def test_a_batch_without_labels_is_zero_with_a_graph(part: type[Objective], options: dict) -> None:
    objective, batch, predicted = made(part, options), batch_of(3), predictions(3)
    batch.targets.label[:] = MISSING_LABEL
    batch.targets.soft[:] = torch.nan
    batch.targets.dimensions[:] = torch.nan
    loss = assert_finite(objective, predicted, batch)
    assert loss == 0
    assert all(predicted[name].grad.abs().max() == 0 for name in objective.requires)


@every_objective
def test_order_of_rows_does_not_matter(part: type[Objective], options: dict) -> None:
    objective, batch, predicted = made(part, options), batch_of(9), predictions(9)
    expected, _ = objective(outputs_of(predicted), batch)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    batch.targets = Targets(*(getattr(batch.targets, name)[order] for name in ("label", "soft", "dimensions")))
    found, _ = objective(outputs_of({name: value[order] for name, value in predicted.items()}), batch)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


@every_objective
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(part: type[Objective], options: dict, dtype: torch.dtype) -> None:
    objective, batch, predicted = made(part, options), batch_of(9), predictions(9, dtype=dtype)
    loss = assert_finite(objective, predicted, batch)
    full = {name: value.detach().float() for name, value in predicted.items()}
    expected, _ = objective(outputs_of(full), batch)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    with torch.autocast("cpu", dtype):
        inside, _ = objective(outputs_of(predicted), batch)
    assert inside.item() == pytest.approx(expected.item(), rel=1e-5)


@every_objective
def test_large_half_precision_values_do_not_overflow(part: type[Objective], options: dict) -> None:
    predicted = {
        name: (value.detach() * 0 + 3e4 * torch.sign(value.detach() - 0.5)).half().requires_grad_()
        for name, value in predictions(9).items()
    }
    assert_finite(made(part, options), predicted, batch_of(9))


@every_objective
def test_class_counts_travel_with_the_weights(part: type[Objective], options: dict) -> None:
    objective, fresh = made(part, options), part(CLASSES, **options)
    fresh.load_state_dict(copy.deepcopy(objective.state_dict()))
    expected, _ = objective(outputs_of(predictions(9)), batch_of(9))
    found, _ = fresh(outputs_of(predictions(9)), batch_of(9))
    assert torch.equal(fresh.class_counts, COUNTS)
    assert torch.equal(found, expected)
