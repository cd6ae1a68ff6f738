"""Contract checks of objectives."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ser_toolkit.contracts.common import CLASSES, Make, gradients_are_right, refusal, require
from ser_toolkit.data.batch import MISSING_LABEL, Batch, Outputs, Targets
from ser_toolkit.errors import RecipeError

FRAMES = 3
COUNTS = torch.tensor([10.0, 40.0, 25.0, 5.0, 20.0])
_TARGETS = ("label", "soft", "dimensions")


def make_objective(make: Make) -> Any:
    """Make an objective and give it class frequencies."""
    objective = make()
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
    """Random outputs of every kind a head can give, with gradients."""
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


def finite(objective: Any, predicted: dict[str, Tensor], batch: Batch) -> Tensor:
    """Demand a loss and gradients that are numbers; returns the loss."""
    found = objective(outputs_of(predicted), batch)
    require(
        isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict),
        'it must return the loss and its named parts: `return loss, {"name": loss.detach()}`.',
    )
    loss, parts = found
    require(loss.shape == () and loss.isfinite(), f"the loss is {loss.detach().tolist()}, expected one finite number.")
    for name, part in parts.items():
        require(part.shape == () and part.isfinite(), f"the part {name} is not one finite number.")
    loss.backward()
    for name in objective.requires:
        gradient = predicted[name].grad
        require(gradient is not None and gradient.isfinite().all(), f"the gradient of {name} is missing or not finite.")
    return loss.detach()


def _near(found: Tensor, expected: Tensor, what: str, relative: float = 1e-6) -> None:
    a, b = found.item(), expected.item()
    require(abs(a - b) <= max(relative * abs(b), 1e-12), f"{what}: {a:.7g} instead of {b:.7g}.")


def the_loss_is_finite_for_any_batch_size(make: Make) -> None:
    """Loss and gradients are finite for one, two and nine utterances."""
    known = set(predictions(1))
    requires = set(make_objective(make).requires)
    require(requires and requires <= known, f"requires is {sorted(requires)}: expected some of {sorted(known)}.")
    for size in (1, 2, 9):
        finite(make_objective(make), predictions(size), batch_of(size))


def the_loss_is_finite_on_constants(make: Make) -> None:
    """Loss and gradients are finite where all predictions, or all targets, are equal."""
    for size in (1, 6):
        batch = batch_of(size)
        for constant_targets in (False, True):
            if constant_targets:
                batch.targets.label = torch.zeros(size, dtype=torch.long)
                batch.targets.soft = torch.eye(CLASSES)[:1].repeat(size, 1)
                batch.targets.dimensions = torch.full((size, 3), 0.5)
            predicted = {
                "logits": torch.zeros(size, CLASSES, requires_grad=True),
                "dimensions": torch.full((size, 3), 0.5, requires_grad=True),
                "frame_logits": torch.zeros(size, FRAMES, CLASSES, requires_grad=True),
                "cosines": torch.zeros(size, CLASSES, requires_grad=True),
            }
            finite(make_objective(make), predicted, batch)


def a_step_down_the_gradient_lowers_the_loss(make: Make) -> None:
    """The sign of the gradient is right."""
    objective, batch, predicted = make_objective(make), batch_of(9), predictions(9)
    before = finite(objective, predicted, batch)
    with torch.no_grad():
        steps = {
            name: value if value.grad is None else value - 0.01 * value.grad / value.grad.norm()
            for name, value in predicted.items()
        }
        after, _ = objective(outputs_of(steps), batch)
    require(after < before, f"a step down the gradient takes the loss from {float(before):.6g} to {float(after):.6g}.")


def requires_lists_exactly_what_gets_a_gradient(make: Make) -> None:
    """``requires`` is what the loss depends on, and what is missing of it is named."""
    objective, predicted = make_objective(make), predictions(9)
    finite(objective, predicted, batch_of(9))
    reached = {name for name, value in predicted.items() if value.grad is not None and value.grad.abs().sum() > 0}
    require(reached == set(objective.requires), f"requires is {objective.requires}, a gradient reaches {reached}.")
    for name in objective.requires:
        outputs = outputs_of({**predicted, name: None})
        error = refusal((RecipeError, TypeError, AttributeError), partial(objective, outputs, batch_of(9)))
        advice = f"raise RecipeError that names {name}."
        require(error, f"without {name} it gives a loss: {advice}")
        require(isinstance(error, RecipeError), f"without {name} it raises {type(error).__name__}: {advice}")
        require(name in str(error), f"without {name}, the error does not name it: {error}")


def gradients_are_those_of_finite_differences(make: Make) -> None:
    """Gradients equal finite differences, in float64."""
    objective, batch, predicted = make_objective(make), batch_of(5), predictions(5, dtype=torch.float64)
    values = [predicted[name] for name in objective.requires]

    def loss(*given: Tensor) -> Tensor:
        found, _ = objective(outputs_of(dict(zip(objective.requires, given, strict=True))), batch)
        return found

    gradients_are_right(loss, *values)


def an_utterance_without_a_label_counts_as_if_it_were_not_there(make: Make) -> None:
    """Masking is dropping the row."""
    objective, batch, predicted = make_objective(make), batch_of(9), predictions(9)
    rows, dropped = torch.tensor([0, 2, 3, 5, 6, 8]), torch.tensor([1, 4, 7])
    reduced = batch_of(9)
    reduced.targets = Targets(*(getattr(batch.targets, name)[rows] for name in _TARGETS))
    _unlabel(batch, dropped)
    masked, _ = objective(outputs_of(predicted), batch)
    expected, _ = objective(outputs_of({name: value[rows] for name, value in predicted.items()}), reduced)
    _near(masked, expected, "loss with three utterances without a label, against the loss without these utterances")
    masked.backward()
    for name in objective.requires:
        gradient = predicted[name].grad
        require(gradient is not None and gradient[dropped].abs().max() == 0, f"{name} of such an utterance is learnt.")


def a_batch_without_labels_is_zero_with_a_graph(make: Make) -> None:
    """Such a batch does not stop training, and teaches nothing."""
    objective, batch, predicted = make_objective(make), batch_of(3), predictions(3)
    _unlabel(batch, torch.arange(3))
    loss = finite(objective, predicted, batch)
    require(loss == 0, f"the loss of a batch without labels is {float(loss):.3g}, expected 0 with a gradient graph.")
    for name in objective.requires:
        gradient = predicted[name].grad
        require(gradient is not None and gradient.abs().max() == 0, f"{name} gets a gradient without any label.")


def _unlabel(batch: Batch, rows: Tensor) -> None:
    batch.targets.label[rows] = MISSING_LABEL
    batch.targets.soft[rows] = torch.nan
    batch.targets.dimensions[rows] = torch.nan


def the_order_of_utterances_does_not_matter(make: Make) -> None:
    """A permuted batch has the same loss."""
    objective, batch, predicted = make_objective(make), batch_of(9), predictions(9)
    expected, _ = objective(outputs_of(predicted), batch)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    batch.targets = Targets(*(getattr(batch.targets, name)[order] for name in _TARGETS))
    found, _ = objective(outputs_of({name: value[order] for name, value in predicted.items()}), batch)
    _near(found, expected, "loss of a permuted batch")


def half_precision_is_computed_in_float32(make: Make) -> None:
    """Half precision and autocast give the loss of the same numbers in float32; large numbers stay finite."""
    for dtype in (torch.float16, torch.bfloat16):
        objective, batch, predicted = make_objective(make), batch_of(9), predictions(9, dtype=dtype)
        loss = finite(objective, predicted, batch)
        require(
            loss.dtype == torch.float32,
            f"{dtype} predictions give a loss in {loss.dtype}: compute in float32 at least.",
        )
        full = {name: value.detach().float() for name, value in predicted.items()}
        expected, _ = objective(outputs_of(full), batch)
        _near(loss, expected, f"loss of {dtype} predictions, against float32")
        with torch.autocast("cpu", dtype):
            inside, _ = objective(outputs_of(predicted), batch)
        _near(inside, expected, f"loss under autocast to {dtype}", 1e-5)
    large = {
        name: (value.detach() * 0 + 3e4 * torch.sign(value.detach() - 0.5)).half().requires_grad_()
        for name, value in predictions(9).items()
    }
    finite(make_objective(make), large, batch_of(9))


def class_counts_travel_with_the_weights(make: Make) -> None:
    """Loaded into another, the state gives the same loss."""
    objective, fresh = make_objective(make), make()
    fresh.load_state_dict(copy.deepcopy(objective.state_dict()))
    expected, _ = objective(outputs_of(predictions(9)), batch_of(9))
    found, _ = fresh(outputs_of(predictions(9)), batch_of(9))
    require(torch.equal(fresh.class_counts, COUNTS), "class_counts are not stored: call super().__init__(num_classes).")
    require(torch.equal(found, expected), "loaded weights give another loss: keep what it depends on in buffers.")


CHECKS = (
    the_loss_is_finite_for_any_batch_size,
    the_loss_is_finite_on_constants,
    a_step_down_the_gradient_lowers_the_loss,
    requires_lists_exactly_what_gets_a_gradient,
    gradients_are_those_of_finite_differences,
    an_utterance_without_a_label_counts_as_if_it_were_not_there,
    a_batch_without_labels_is_zero_with_a_graph,
    the_order_of_utterances_does_not_matter,
    half_precision_is_computed_in_float32,
    class_counts_travel_with_the_weights,
)
