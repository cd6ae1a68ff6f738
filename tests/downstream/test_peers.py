"""The peers' poolings give the peers' numbers, right and wrong ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ser_toolkit.downstream.peers import DropLastFrameMeanPooling, S3prlAttentivePooling, UnmaskedMeanPooling
from ser_toolkit.downstream.pooling import MeanPooling


def fill(module: torch.nn.Module) -> None:
    """Weights by formula, so that another program can have the same ones: sin(0.7 n + 0.013 n^2 + k) / 2."""
    with torch.no_grad():
        for k, parameter in enumerate(module.parameters()):
            n = torch.arange(parameter.numel(), dtype=torch.float64)
            parameter.copy_((torch.sin(0.7 * n + 0.013 * n * n + k) * 0.5).reshape(parameter.shape))


def frames() -> Tensor:
    """(2, 7, 6) twice the same frames; zeros behind the third of the second."""
    n = torch.arange(7 * 6, dtype=torch.float64).reshape(1, 7, 6)
    out = (2 * torch.cos(0.3 * n + 0.01 * n * n)).repeat(2, 1, 1)
    out[1, 3:] = 0
    return out


LENGTHS = torch.tensor([7, 3])
# What s3prl's own AttentivePooling(6, "ReLU") in double precision gives for frames(), its four parameters W_a.weight,
# W_a.bias, W.weight and W.bias filled by the same formula: in the batch of two, and for the second utterance alone.
S3PRL_BATCH = [
    [0.8216896, 1.0583298, 0.8442877, 0.3038227, -0.1880304, -0.341961],
    [0.780327, 0.9892432, 1.0084384, 0.7816935, 0.3254171, -0.2564061],
]
S3PRL_ALONE = [0.9914786, 1.2569262, 1.2813155, 0.9932148, 0.413473, -0.325788]


class TestS3prlAttentivePooling:
    def test_equals_the_original_in_a_batch_with_its_leak(self) -> None:
        pooling = S3prlAttentivePooling(6).double()
        fill(pooling)
        vectors = pooling(frames(), LENGTHS)
        torch.testing.assert_close(vectors, torch.tensor(S3PRL_BATCH).double(), rtol=1e-6, atol=1e-6)

    def test_equals_the_original_alone(self) -> None:
        pooling = S3prlAttentivePooling(6).double()
        fill(pooling)
        vector = pooling(frames()[1:, :3], LENGTHS[1:])
        torch.testing.assert_close(vector[0], torch.tensor(S3PRL_ALONE).double(), rtol=1e-6, atol=1e-6)

    def test_padding_takes_weight(self) -> None:
        pooling = S3prlAttentivePooling(6)
        torch.nn.init.zeros_(pooling.score.weight)  # equal scores: a valid frame weighs e, one behind the end 1
        ones = torch.ones(1, 4, 6)
        ones[:, 1:] = 0
        e = torch.e
        torch.testing.assert_close(pooling(ones, torch.tensor([1])), torch.full((1, 6), e / (e + 3)))


class TestUnmaskedMeanPooling:
    def test_divides_by_the_padded_length(self) -> None:
        vectors = UnmaskedMeanPooling(6)(frames(), LENGTHS)
        exact = MeanPooling(6)(frames(), LENGTHS)
        torch.testing.assert_close(vectors[0], exact[0])
        torch.testing.assert_close(vectors[1], exact[1] * 3 / 7)

    def test_alone_it_is_the_mean(self) -> None:
        alone, length = frames()[1:, :3], LENGTHS[1:]
        torch.testing.assert_close(UnmaskedMeanPooling(6)(alone, length), MeanPooling(6)(alone, length))


class TestDropLastFrameMeanPooling:
    def test_the_last_valid_frame_is_not_counted(self) -> None:
        vectors = DropLastFrameMeanPooling(6)(frames(), LENGTHS)
        torch.testing.assert_close(vectors[0], frames()[0, :6].mean(dim=0))
        torch.testing.assert_close(vectors[1], frames()[1, :2].mean(dim=0))

    @pytest.mark.parametrize(("length", "kept"), [(1, 1), (2, 1)])
    def test_one_frame_is_kept_at_least(self, length: int, kept: int) -> None:
        vector = DropLastFrameMeanPooling(6)(frames()[:1], torch.tensor([length]))
        torch.testing.assert_close(vector[0], frames()[0, :kept].mean(dim=0))


def test_only_those_that_let_padding_in_say_so() -> None:
    assert DropLastFrameMeanPooling.padding_exact
    assert not UnmaskedMeanPooling.padding_exact
    assert not S3prlAttentivePooling.padding_exact
