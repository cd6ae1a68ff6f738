"""Layer mixes against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from ser_toolkit.downstream.layers import ConcatenateLayers, SingleLayer, WeightedSum, normalised_layers
from ser_toolkit.errors import RecipeError


@pytest.fixture
def hidden() -> torch.Tensor:
    """Hidden states (2, 3, 4, 5): utterances, layers, frames, features."""
    return torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)


@pytest.mark.parametrize(("layer", "index"), [(-1, 2), (0, 0), (1, 1), (-3, 0)])
def test_single_layer_takes_that_layer(hidden: torch.Tensor, layer: int, index: int) -> None:
    mix = SingleLayer(3, 5, layer)
    assert torch.equal(mix(hidden), hidden[:, index])
    assert mix.weights.tolist() == [float(i == index) for i in range(3)]
    assert mix.state_dict() == {}


@pytest.mark.parametrize("layer", [3, -4, 99])
def test_single_layer_out_of_range_says_what_there_is(layer: int) -> None:
    with pytest.raises(RecipeError, match=rf"layer {layer} .* 3 layers.*between -3 and 2"):
        SingleLayer(3, 5, layer)


def test_weighted_sum_starts_as_the_average(hidden: torch.Tensor) -> None:
    torch.testing.assert_close(WeightedSum(3, 5)(hidden), hidden.mean(dim=1))


def test_weighted_sum_is_the_softmax_of_its_scores(hidden: torch.Tensor) -> None:
    mix = WeightedSum(3, 5)
    with torch.no_grad():
        mix.scores.copy_(torch.tensor([0.0, math.log(2.0), math.log(5.0)]))
    expected = (hidden[:, 0] + 2 * hidden[:, 1] + 5 * hidden[:, 2]) / 8
    torch.testing.assert_close(mix(hidden), expected)
    torch.testing.assert_close(mix.weights, torch.tensor([1.0, 2.0, 5.0]) / 8)


def test_layer_norm_makes_layers_of_any_scale_alike(hidden: torch.Tensor) -> None:
    torch.manual_seed(0)
    states = torch.randn(2, 3, 4, 64)
    scaled = states * torch.tensor([1.0, 1e3, 10.0])[:, None, None] + 7
    torch.testing.assert_close(normalised_layers(scaled), normalised_layers(states), rtol=1e-3, atol=1e-3)
    centred = scaled[:, 1] - scaled[:, 1].mean(dim=-1, keepdim=True)
    expected = centred / centred.square().mean(dim=-1, keepdim=True).sqrt()
    torch.testing.assert_close(normalised_layers(scaled)[:, 1], expected)


def test_layer_norm_comes_before_the_mix_which_stays_a_sum(hidden: torch.Tensor) -> None:
    mix = WeightedSum(3, 5, layer_norm=True)
    assert mix.linear
    assert [p.shape for p in mix.parameters()] == [torch.Size([3])]
    # what comes in has been normalised by the model or the store: scaled again, a speaker's normalisation would be lost
    torch.testing.assert_close(mix(3 * hidden), 3 * WeightedSum(3, 5)(hidden))


def test_concatenation_keeps_layers_in_order(hidden: torch.Tensor) -> None:
    mix = ConcatenateLayers(3, 5)
    assert mix.output_dim == 15
    assert torch.equal(mix(hidden), torch.cat([hidden[:, 0], hidden[:, 1], hidden[:, 2]], dim=-1))
