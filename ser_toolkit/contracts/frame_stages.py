"""Contract checks of frame stages."""

from __future__ import annotations

import torch

from ser_toolkit.contracts.common import (
    DIM,
    LENGTHS,
    Make,
    equal_again,
    frames,
    gradients_are_right,
    gradients_reach,
    padding_changes_no_frame,
    reloaded,
    require,
    same,
    shaken,
)
from ser_toolkit.parts.finding import check_size


def frames_have_the_promised_size(make: Make) -> None:
    """(B, T, D), (B,) give (B, T', output_dim) and (B,) lengths of at least 1."""
    stage = shaken(make())
    values, lengths = stage(frames(), LENGTHS)
    check_size(stage, "output_dim", stage.output_dim, values)
    wanted = (len(LENGTHS), int(lengths.max()), stage.output_dim)
    require(values.shape == wanted, f"shape {tuple(values.shape)}, expected (B, max(lengths), output_dim) = {wanted}.")
    require(
        lengths.dtype == LENGTHS.dtype and lengths.min() >= 1,
        f"lengths are {lengths.tolist()} ({lengths.dtype}): expected whole numbers of at least 1.",
    )


def padding_never_changes_valid_frames(make: Make) -> None:
    """Lengths are kept to: what lies behind an utterance's end never reaches its frames."""
    padding_changes_no_frame(shaken(make()))


def every_weight_gets_a_gradient(make: Make) -> None:
    """No parameter is left out of the result."""
    gradients_reach(shaken(make()), frames(), LENGTHS)


def stored_weights_give_the_same_frames(make: Make) -> None:
    """Saved and loaded, it gives the same bits."""
    stage = shaken(make())
    equal_again(reloaded(stage, make)(frames(), LENGTHS)[0], stage(frames(), LENGTHS)[0])


def gradients_are_those_of_finite_differences(make: Make) -> None:
    """Gradients equal finite differences, in float64."""
    stage = shaken(make()).double()
    values, lengths = torch.randn(2, 4, DIM, dtype=torch.float64, requires_grad=True), torch.tensor([4, 2])
    gradients_are_right(lambda x: stage(x, lengths)[0], values, fast=True)


def linear_says_whether_it_commutes_with_the_mean(make: Make) -> None:
    """The class attribute ``linear`` is True exactly when the mean of the frames is that of their mean."""
    stage = shaken(make())
    torch.manual_seed(2)
    values, length, one = torch.randn(2, 8, DIM), torch.tensor([8, 8]), torch.tensor([1, 1])
    of_frames, of_mean = stage(values, length)[0], stage(values.mean(dim=1, keepdim=True), one)[0]
    commutes = torch.allclose(of_frames.mean(dim=1), of_mean[:, 0], atol=1e-4)
    require(
        commutes == stage.linear, f"linear is {stage.linear}, which is not so: set linear = {commutes} in the class."
    )


def half_precision_comes_close(make: Make) -> None:
    """Under autocast the frames are the same within 5 %, and bfloat16 stays bfloat16."""
    stage = shaken(make())
    expected, lengths = stage(frames(), LENGTHS)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = stage(frames(), LENGTHS)
    for row, own, length in zip(found.float(), expected, lengths, strict=True):
        same(row[:length], own[:length], "frames under autocast", tolerance=0.05)
    dtype = stage.bfloat16()(frames().bfloat16(), LENGTHS)[0].dtype
    require(dtype == torch.bfloat16, f"bfloat16 frames give {dtype}: return .to(frames.dtype).")


CHECKS = (
    frames_have_the_promised_size,
    padding_never_changes_valid_frames,
    every_weight_gets_a_gradient,
    stored_weights_give_the_same_frames,
    gradients_are_those_of_finite_differences,
    linear_says_whether_it_commutes_with_the_mean,
    half_precision_comes_close,
)
