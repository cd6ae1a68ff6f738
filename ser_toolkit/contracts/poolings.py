"""Contract checks of poolings."""

from __future__ import annotations

import torch

from ser_toolkit.contracts.common import (
    DIM,
    LENGTHS,
    Make,
    NotApplicable,
    equal_again,
    frames,
    garbage_gets_no_gradient,
    gradients_are_right,
    gradients_reach,
    padding_changes_no_vector,
    refusal,
    reloaded,
    require,
    same,
    shaken,
)
from ser_toolkit.errors import RecipeError
from ser_toolkit.parts.finding import check_size


def _exact(pooling: object) -> None:
    if not getattr(pooling, "padding_exact", True):
        raise NotApplicable("the class says padding_exact = False")


def the_vector_has_the_promised_size(make: Make) -> None:
    """(B, T, D) frames give (B, output_dim)."""
    pooling = shaken(make())
    vector = pooling(frames(), LENGTHS)
    check_size(pooling, "output_dim", pooling.output_dim, vector)
    require(
        vector.shape == (len(LENGTHS), pooling.output_dim), f"shape {tuple(vector.shape)}, expected (B, output_dim)."
    )


def padding_never_changes_the_vector(make: Make) -> None:
    """Lengths are kept to: what lies behind an utterance's end never matters."""
    pooling = shaken(make())
    _exact(pooling)
    padding_changes_no_vector(pooling)


def frames_behind_the_end_get_no_gradient(make: Make) -> None:
    """NaN behind the end reaches no gradient, and each valid frame has one."""
    pooling = shaken(make())
    _exact(pooling)
    values = frames(behind=float("nan")).requires_grad_()
    pooling(values, LENGTHS).sum().backward()
    garbage_gets_no_gradient(values)


def every_weight_gets_a_gradient(make: Make) -> None:
    """No parameter is left out of the result."""
    gradients_reach(shaken(make()), frames(), LENGTHS)


def stored_weights_give_the_same_vector(make: Make) -> None:
    """Saved and loaded, it gives the same bits."""
    pooling = shaken(make())
    equal_again(reloaded(pooling, make)(frames(), LENGTHS), pooling(frames(), LENGTHS))


def gradients_are_those_of_finite_differences(make: Make) -> None:
    """Gradients equal finite differences in float64, for a batch and for an utterance of one frame."""
    pooling = shaken(make()).double()
    for length in (1, 4):
        values = torch.randn(2, 4, DIM, dtype=torch.float64, requires_grad=True)
        gradients_are_right(lambda x, n=length: pooling(x, torch.tensor([4, n])), values)


def equal_frames_have_finite_gradients(make: Make) -> None:
    """A constant utterance, such as silence, does not break training."""
    values = torch.full((2, 5, DIM), 3.0, requires_grad=True)
    shaken(make())(values, torch.tensor([5, 1])).sum().backward()
    require(
        values.grad is not None and values.grad.isfinite().all(),
        "the gradient is not finite where all frames are equal: add eps under a root, clamp before it.",
    )


def ordered_says_whether_the_order_of_frames_matters(make: Make) -> None:
    """The class attribute ``ordered`` is True exactly when reversed frames give another vector."""
    pooling = shaken(make())
    torch.manual_seed(2)
    values, length = torch.randn(1, 7, DIM), torch.tensor([7])
    found, expected = pooling(values.flip(1), length), pooling(values, length)
    differs = not torch.allclose(found, expected, rtol=1e-3, atol=1e-3)
    require(
        differs == pooling.ordered,
        f"ordered is {pooling.ordered}, but reversed frames give {'another' if differs else 'the same'} vector: set "
        f"ordered = {differs} in the class.",
    )


def moment_order_says_which_moments_suffice(make: Make) -> None:
    """``moment_order`` and ``from_moments`` are true: None, 1 (the mean) or 2 (mean and variance)."""
    pooling = shaken(make())
    _exact(pooling)
    torch.manual_seed(2)
    values, length = torch.randn(2, 7, DIM), torch.tensor([7, 7])
    mean, variance = values.mean(dim=1), values.var(dim=1, unbiased=False)
    vector = pooling(values, length)
    if pooling.moment_order is None:
        refused = refusal(RecipeError, lambda: pooling.from_moments(mean, variance))
        require(refused, "from_moments gives a vector although moment_order is None: state moment_order.")
        # Neither the mirror image nor the frames twice over change mean and variance: one of them must tell.
        mirrored = pooling(2 * mean[:, None] - values, length)
        twice = pooling(values.repeat(1, 2, 1), 2 * length)
        alike = torch.allclose(mirrored, vector, rtol=1e-3) and torch.allclose(twice, vector, rtol=1e-3)
        require(
            not alike,
            "the vector seems to depend on mean and variance alone: state moment_order = 2 (1 for the mean alone) and "
            "write from_moments(mean, variance), so that no frames have to be stored.",
        )
        return
    same(pooling.from_moments(mean, variance), vector, "the vector from moments, against that from frames", 1e-6)
    wider = pooling(mean[:, None] + 2 * (values - mean[:, None]), length)
    alike = torch.allclose(wider, vector, rtol=1e-4, atol=1e-6)
    require(alike == (pooling.moment_order == 1), f"moment_order is {pooling.moment_order}, which is not so.")


def half_precision_comes_close(make: Make) -> None:
    """Under autocast and in bfloat16 the vector is the same within 5 %."""
    pooling = shaken(make())
    _exact(pooling)
    expected = pooling(frames(), LENGTHS)
    with torch.autocast("cpu", torch.bfloat16):
        same(pooling(frames(), LENGTHS).float(), expected, "the vector under autocast", tolerance=0.05)
    found = pooling.bfloat16()(frames(behind="garbage").bfloat16(), LENGTHS)
    require(found.dtype == torch.bfloat16, f"bfloat16 frames give {found.dtype}: return .to(frames.dtype).")
    same(found.float(), expected, "the vector in bfloat16", tolerance=0.05)


CHECKS = (
    the_vector_has_the_promised_size,
    padding_never_changes_the_vector,
    frames_behind_the_end_get_no_gradient,
    every_weight_gets_a_gradient,
    stored_weights_give_the_same_vector,
    gradients_are_those_of_finite_differences,
    equal_frames_have_finite_gradients,
    ordered_says_whether_the_order_of_frames_matters,
    moment_order_says_which_moments_suffice,
    half_precision_comes_close,
)
