"""The frame-level head: what is averaged, over which frames."""

from __future__ import annotations

import pytest
import torch

from ser_toolkit.downstream.frame_heads import FrameLevelHead
from ser_toolkit.errors import RecipeError

LENGTHS = torch.tensor([5, 2, 1])


@pytest.fixture
def frames() -> torch.Tensor:
    torch.manual_seed(0)
    values = torch.randn(3, 5, 4)
    values[1, 2:], values[2, 1:] = torch.nan, torch.inf
    return values


def test_the_utterance_has_the_mean_probability_of_its_frames(frames: torch.Tensor) -> None:
    head = FrameLevelHead(4, 3, hidden_dim=6)
    found = head.from_frames(frames, LENGTHS).logits.softmax(dim=1)
    for row, length, probabilities in zip(frames, LENGTHS, found, strict=True):
        one_by_one = [head.classes(head.hidden(frame)).softmax(dim=0) for frame in row[:length]]
        torch.testing.assert_close(probabilities, sum(one_by_one) / len(one_by_one))


def test_mean_logits_without_a_hidden_layer_are_a_linear_head_behind_mean_pooling(frames: torch.Tensor) -> None:
    head = FrameLevelHead(4, 3, average="logits")
    pooled = torch.stack([row[:length].mean(dim=0) for row, length in zip(frames, LENGTHS, strict=True)])
    torch.testing.assert_close(head.from_frames(frames, LENGTHS).logits, head.classes(pooled))


def test_one_sure_frame_outweighs_doubtful_ones_only_where_logits_are_averaged() -> None:
    probabilities, logits = FrameLevelHead(2, 2), FrameLevelHead(2, 2, average="logits")
    for head in (probabilities, logits):
        torch.nn.init.eye_(head.classes.weight)
        torch.nn.init.zeros_(head.classes.bias)
    frames = torch.tensor([[[9.0, 0.0], [0.0, 1.0], [0.0, 1.0]]])
    assert logits.from_frames(frames, torch.tensor([3])).logits.argmax() == 0
    found = probabilities.from_frames(frames, torch.tensor([3])).logits
    sure, doubtful = 1 / (1 + torch.tensor(-9.0).exp()), 1 / (1 + torch.tensor(1.0).exp())
    torch.testing.assert_close(found.exp()[0, 0], (sure + 2 * doubtful) / 3)


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_frame_logits_are_of_single_frames_and_zero_behind_them(frames: torch.Tensor, average: str) -> None:
    head = FrameLevelHead(4, 3, average=average)
    found = head.from_frames(frames, LENGTHS).frame_logits
    torch.testing.assert_close(found[0], head.classes(frames[0]))
    assert torch.equal(found[1, 2:], torch.zeros(3, 3))
    assert torch.equal(found[2, 1:], torch.zeros(4, 3))


def test_garbage_behind_the_lengths_does_not_reach_the_weights(frames: torch.Tensor) -> None:
    head = FrameLevelHead(4, 3, hidden_dim=6)
    outputs = head.from_frames(frames, LENGTHS)
    (outputs.logits.sum() + outputs.frame_logits.square().sum()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad.isfinite().all(), name


def test_extreme_frames_keep_the_logarithm_finite() -> None:
    head = FrameLevelHead(4, 3)
    values = torch.full((1, 2, 4), 1e4, requires_grad=True)
    logits = head.from_frames(values, torch.tensor([2])).logits
    logits.sum().backward()
    assert logits.isfinite().all()
    assert values.grad.isfinite().all()


def test_an_unknown_average_is_refused() -> None:
    with pytest.raises(RecipeError, match="'probabilities' or 'logits', found 'votes'"):
        FrameLevelHead(4, 3, average="votes")
