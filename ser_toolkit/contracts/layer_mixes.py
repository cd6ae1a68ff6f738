"""Contract checks of layer mixes."""

from __future__ import annotations

import torch

from ser_toolkit.contracts.common import (
    DIM,
    LAYERS,
    Make,
    equal_again,
    gradients_are_right,
    gradients_reach,
    refusal,
    reloaded,
    require,
    same,
    shaken,
)
from ser_toolkit.data.batch import stack_moments
from ser_toolkit.data.reduction import moments_of
from ser_toolkit.errors import RecipeError
from ser_toolkit.parts.finding import check_size


def _values(frames: int = 7) -> torch.Tensor:
    return torch.randn(2, LAYERS, frames, DIM, generator=torch.Generator().manual_seed(2))


def frames_have_the_promised_size(make: Make) -> None:
    """(B, L, T, D) gives (B, T, output_dim), for one frame too."""
    mix = shaken(make())
    for values in (_values(), _values()[:, :, :1]):
        mixed = mix(values)
        check_size(mix, "output_dim", mix.output_dim, mixed)
        wanted = (2, values.shape[2], mix.output_dim)
        require(mixed.shape == wanted, f"shape {tuple(mixed.shape)}, expected (B, T, output_dim) = {wanted}.")


def every_weight_gets_a_gradient(make: Make) -> None:
    """No parameter is left out of the result."""
    gradients_reach(shaken(make()), _values())


def stored_weights_give_the_same_frames(make: Make) -> None:
    """Saved and loaded, it gives the same bits."""
    mix = shaken(make())
    equal_again(reloaded(mix, make)(_values()), mix(_values()))


def gradients_are_those_of_finite_differences(make: Make) -> None:
    """Gradients equal finite differences, in float64."""
    gradients_are_right(shaken(make()).double(), torch.randn(1, LAYERS, 2, DIM).double().requires_grad_())


def each_frame_is_mixed_by_itself(make: Make) -> None:
    """A frame's result does not depend on other frames."""
    mix, values = shaken(make()), _values()
    apart = torch.cat([mix(values[:, :, [t]]) for t in range(values.shape[2])], dim=1)
    same(mix(values), apart, "frames mixed together, against each by itself")


def linear_says_whether_it_commutes_with_the_mean(make: Make) -> None:
    """The class attribute ``linear`` is True exactly when the mean of mixed frames is the mix of their mean."""
    mix, values = shaken(make()), _values()
    of_mean = mix(values.mean(dim=2, keepdim=True))[:, 0]
    commutes = torch.allclose(mix(values).mean(dim=1), of_mean, atol=1e-5)
    require(commutes == mix.linear, f"linear is {mix.linear}, which is not so: set linear = {commutes} in the class.")


def weights_are_shares(make: Make) -> None:
    """``weights`` are (L,), at least 0 and sum to 1; or None."""
    weights = shaken(make()).weights
    if weights is not None:
        good = weights.shape == (LAYERS,) and weights.min() >= 0 and abs(weights.sum().item() - 1) <= 1e-6
        require(good, f"weights are {weights.tolist()}, expected {LAYERS} shares that sum to 1.")


def moments_are_mixed_exactly(make: Make) -> None:
    """Mean and variance of the mixed frames are those that ``from_moments`` gives."""
    mix, values = shaken(make()), _values(9)
    moments = stack_moments([moments_of(one, "covariances" if mix.crosses_layers else "variances") for one in values])
    if not mix.linear:
        error = refusal(RecipeError, lambda: mix.from_moments(moments))
        require(error, "from_moments gives something although linear is False.")
        require("features.keep=frames" in str(error), f"from_moments should say features.keep=frames: {error}")
        return
    mean, variance = mix.from_moments(moments)
    same(mean, mix(values).mean(dim=1), "the mean from moments")
    same(variance, mix(values).var(dim=1, unbiased=False), "the variance from moments")
    only_means = stack_moments([moments_of(one, "means") for one in values])
    require(mix.from_moments(only_means)[1] is None, "from_moments gives a variance from means alone.")


def crosses_layers_says_whether_layers_that_move_together_matter(make: Make) -> None:
    """The class attribute ``crosses_layers`` is True exactly when variances need second moments across layers."""
    mix, values = shaken(make()), _values(9)
    # every other layer mirrored about its mean: each has the variance it had, but no longer moves with the others
    mirrored = values.clone()
    mirrored[:, ::2] = 2 * values[:, ::2].mean(dim=2, keepdim=True) - values[:, ::2]
    found, expected = (mix(one).var(dim=1, unbiased=False) for one in (mirrored, values))
    crosses = not torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
    require(crosses == mix.crosses_layers, f"crosses_layers is {mix.crosses_layers}, which is not so.")


CHECKS = (
    frames_have_the_promised_size,
    every_weight_gets_a_gradient,
    stored_weights_give_the_same_frames,
    gradients_are_those_of_finite_differences,
    each_frame_is_mixed_by_itself,
    linear_says_whether_it_commutes_with_the_mean,
    weights_are_shares,
    moments_are_mixed_exactly,
    crosses_layers_says_whether_layers_that_move_together_matter,
)
