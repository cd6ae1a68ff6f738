"""Contract checks of heads: of vectors, of frames, and those fitted in closed form."""

from __future__ import annotations

import copy
from typing import Any

import torch

from ser_toolkit.contracts.common import (
    CLASSES,
    DIM,
    LENGTHS,
    Make,
    equal_again,
    frames,
    garbage_gets_no_gradient,
    gradients_are_right,
    gradients_reach,
    padding_changes_no_frame,
    padding_changes_no_vector,
    refusal,
    reloaded,
    require,
    same,
    shaken,
)
from ser_toolkit.data.batch import Outputs
from ser_toolkit.downstream.heads import FittedHead
from ser_toolkit.errors import TrainingError


def make_head(make: Make) -> Any:
    """A head away from its start; one that is fitted has been, on random vectors."""
    head = shaken(make())
    if isinstance(head, FittedHead):
        head.fit(torch.randn(60, DIM), torch.arange(60) % CLASSES)
    return head


def outputs_are_what_the_class_states(make: Make) -> None:
    """``outputs`` lists exactly what is filled in, each in its shape."""
    head = make_head(make)
    outputs = head(torch.randn(3, DIM))
    if not isinstance(outputs, Outputs):
        require(False, f"a {type(outputs).__name__} came back: write `return Outputs(logits=...)`.")
    filled = {name: tuple(value.shape) for name, value in vars(outputs).items() if value is not None}
    classes = (3, CLASSES)
    expected = {"logits": classes, "dimensions": (3, 3), "cosines": classes, "frame_logits": (3, 1, CLASSES)}
    require(set(filled) == set(head.outputs), f"outputs states {head.outputs}, filled in is {tuple(filled)}.")
    for name, shape in filled.items():
        require(shape == expected.get(name), f"{name} has the shape {shape}, expected {expected.get(name)}.")


def stored_weights_give_the_same_outputs(make: Make) -> None:
    """Saved and loaded, it gives the same bits."""
    head, vectors = make_head(make), torch.randn(3, DIM)
    outputs, again = head(vectors), reloaded(head, make)(vectors)
    for name in head.outputs:
        equal_again(getattr(again, name), getattr(outputs, name))


def utterances_do_not_see_each_other(make: Make) -> None:
    """An utterance's outputs are the same alone and in a batch."""
    head, vectors = make_head(make), torch.randn(4, DIM)
    for name in head.outputs:
        alone = torch.cat([getattr(head(row[None]), name) for row in vectors])
        same(getattr(head(vectors), name), alone, f"{name} in a batch, against those of each utterance alone")


def every_weight_gets_a_gradient(make: Make) -> None:
    """No parameter is left out of the result, and gradients are those of finite differences."""
    head = make_head(make)
    if isinstance(head, FittedHead):
        names = [name for name, _ in head.named_parameters()]
        require(not names, f"{names} are parameters: what is fitted is kept in buffers, an optimiser would move it.")
        return
    gradients_reach(copy.deepcopy(head), torch.randn(4, DIM))
    head = head.double()
    vectors = torch.randn(2, DIM, dtype=torch.float64, requires_grad=True)
    gradients_are_right(lambda x: tuple(getattr(head(x), name) for name in head.outputs), vectors)


def half_precision_comes_close(make: Make) -> None:
    """Under autocast the outputs are the same within 5 %."""
    head, vectors = make_head(make), torch.randn(4, DIM)
    expected = head(vectors)
    with torch.autocast("cpu", torch.bfloat16):
        found = head(vectors)
    for name in head.outputs:
        same(getattr(found, name).float(), getattr(expected, name), f"{name} under autocast", tolerance=0.05)


def names_of_classes_do_not_change_the_weights(make: Make) -> None:
    """``set_classes`` gives the head its class names and draws no weight anew."""
    head = make_head(make)
    weights = copy.deepcopy(head.state_dict())
    head.set_classes(("neutral", *(f"class {number}" for number in range(1, CLASSES))))
    for name, value in head.state_dict().items():
        require(torch.equal(value, weights[name]), f"set_classes changed {name}.")


CHECKS = (
    outputs_are_what_the_class_states,
    stored_weights_give_the_same_outputs,
    utterances_do_not_see_each_other,
    every_weight_gets_a_gradient,
    half_precision_comes_close,
    names_of_classes_do_not_change_the_weights,
)


def padding_never_changes_the_judgement(make: Make) -> None:
    """Lengths are kept to: what lies behind an utterance's end never matters."""
    head = make_head(make)
    padding_changes_no_vector(lambda values, lengths: head.from_frames(values, lengths).logits)
    if "frame_logits" in head.outputs:
        padding_changes_no_frame(lambda values, lengths: (head.from_frames(values, lengths).frame_logits, lengths))


def frames_behind_the_end_get_no_gradient(make: Make) -> None:
    """NaN behind the end reaches no gradient, and each valid frame has one."""
    head = make_head(make)
    values = frames(behind=float("nan")).requires_grad_()
    outputs = head.from_frames(values, LENGTHS)
    found = [getattr(outputs, name) for name in head.outputs]
    torch.stack([(value * torch.randn_like(value)).sum() for value in found]).sum().backward()
    garbage_gets_no_gradient(values)
    for name, parameter in head.named_parameters():
        require(
            parameter.grad is not None and parameter.grad.isfinite().all(), f"the gradient of {name} is not finite."
        )


def gradients_from_frames_are_those_of_finite_differences(make: Make) -> None:
    """Gradients equal finite differences in float64, for an utterance of one frame, too."""
    head = make_head(make).double()
    values = torch.randn(2, 4, DIM, dtype=torch.float64, requires_grad=True)
    gradients_are_right(lambda x: head.from_frames(x, torch.tensor([4, 1])).logits, values)


FRAME_CHECKS = (
    padding_never_changes_the_judgement,
    frames_behind_the_end_get_no_gradient,
    gradients_from_frames_are_those_of_finite_differences,
)


def what_can_be_learnt_is_learnt(make: Make) -> None:
    """Classes that lie far apart are told apart."""
    head = make()
    labels = torch.arange(100) % CLASSES
    vectors = 8 * torch.eye(CLASSES, DIM)[labels] + torch.randn(100, DIM)
    head.fit(vectors, labels)
    right = float((head(vectors).logits.argmax(dim=1) == labels).float().mean())
    require(right > 0.95, f"{right:.0%} of vectors that lie far apart are told right behind fit, expected 95 %.")


def an_unfitted_head_says_so(make: Make) -> None:
    """Before ``fit``, TrainingError names the class."""
    head = make()
    error = refusal(TrainingError, lambda: head(torch.randn(2, DIM)))
    require(error, "it gives outputs before fit: raise TrainingError that names the class.")
    require(type(head).__name__ in str(error), f"the error does not name the class: {error}")


FITTED_CHECKS = (what_can_be_learnt_is_learnt, an_unfitted_head_says_so)
