"""Poolings against their formulas, one utterance at a time in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ser_toolkit.downstream.pooling import (
    AttentivePooling,
    AttentiveStatisticsPooling,
    MaxPooling,
    MeanMaxPooling,
    MeanPooling,
    Pooling,
    StatisticsPooling,
)
from ser_toolkit.errors import RecipeError

LENGTHS = torch.tensor([5, 1, 3])


@pytest.fixture
def frames() -> torch.Tensor:
    """Frames (3, 5, 4), garbage behind the lengths."""
    torch.manual_seed(0)
    return torch.randn(3, 5, 4)


def each(frames: torch.Tensor) -> list[np.ndarray]:
    """Valid frames of every utterance as (T, D) float64."""
    return [row[:n].double().numpy() for row, n in zip(frames, LENGTHS, strict=True)]


def assert_rows(found: torch.Tensor, expected: list[np.ndarray]) -> None:
    np.testing.assert_allclose(found.detach().numpy(), np.stack(expected), rtol=1e-5, atol=1e-6)


def test_mean_max_and_their_two_combinations(frames: torch.Tensor) -> None:
    means, maxima = [x.mean(axis=0) for x in each(frames)], [x.max(axis=0) for x in each(frames)]
    assert_rows(MeanPooling(4)(frames, LENGTHS), means)
    assert_rows(MaxPooling(4)(frames, LENGTHS), maxima)
    both = [np.concatenate(pair) for pair in zip(means, maxima, strict=True)]
    assert_rows(MeanMaxPooling(4)(frames, LENGTHS), both)
    added = [mean + maximum for mean, maximum in zip(means, maxima, strict=True)]
    assert_rows(MeanMaxPooling(4, combine="add")(frames, LENGTHS), added)
    with pytest.raises(RecipeError, match="'concatenate' or 'add', found 'sum'"):
        MeanMaxPooling(4, combine="sum")  # type: ignore[arg-type]


def test_maximum_of_negative_frames_is_negative() -> None:
    assert (MaxPooling(4)(-torch.rand(3, 5, 4) - 1, LENGTHS) <= -1).all()


@pytest.mark.parametrize("eps", [1e-6, 0.1])
def test_statistics(frames: torch.Tensor, eps: float) -> None:
    population = [np.concatenate([x.mean(0), np.sqrt(x.var(0) + eps)]) for x in each(frames)]
    assert_rows(StatisticsPooling(4, eps=eps)(frames, LENGTHS), population)
    sample = [
        np.concatenate([x.mean(0), np.sqrt((x.var(0, ddof=1) if len(x) > 1 else 0) + eps) * np.ones(4)])
        for x in each(frames)
    ]
    assert_rows(StatisticsPooling(4, unbiased=True, eps=eps)(frames, LENGTHS), sample)


def test_statistics_of_a_large_offset_do_not_cancel() -> None:
    torch.manual_seed(0)
    values, lengths = torch.randn(1, 500, 4), torch.tensor([500])
    plain = StatisticsPooling(4)(values, lengths)[:, 4:]
    shifted = StatisticsPooling(4)(values + 1000, lengths)[:, 4:]
    torch.testing.assert_close(shifted, plain, rtol=1e-3, atol=0)


def test_moments_without_variance_are_refused_and_rounding_below_zero_is_not() -> None:
    mean = torch.zeros(2, 4)
    with pytest.raises(RecipeError, match="only their mean is stored"):
        StatisticsPooling(4).from_moments(mean)
    vector = StatisticsPooling(4).from_moments(mean, torch.full((2, 4), -1e-5))
    assert vector.isfinite().all()


def weights_of(pooling: Pooling, x: np.ndarray) -> np.ndarray:
    """Okabe et al. 2018, eq. 1-2, as written: e_t = v . tanh(W x_t + b), a = softmax over t."""
    matrix, offset, vector = (p.detach().double().numpy() for p in pooling.attention.parameters())
    scores = np.tanh(x @ matrix.T + offset) @ vector[0]
    return np.exp(scores) / np.exp(scores).sum()


def test_attentive_pooling(frames: torch.Tensor) -> None:
    pooling = AttentivePooling(4, bottleneck_dim=3)
    torch.nn.init.normal_(pooling.attention.score.weight, std=3)
    assert_rows(pooling(frames, LENGTHS), [weights_of(pooling, x) @ x for x in each(frames)])


def test_attentive_statistics_pooling(frames: torch.Tensor) -> None:
    pooling = AttentiveStatisticsPooling(4, bottleneck_dim=3)
    torch.nn.init.normal_(pooling.attention.score.weight, std=3)
    expected = []
    for x in each(frames):
        weights = weights_of(pooling, x)
        mean = weights @ x
        # The paper's second raw moment; the code centres first.
        variance = np.maximum(weights @ x**2 - mean**2, 0)
        expected.append(np.concatenate([mean, np.sqrt(variance + pooling.eps)]))
    np.testing.assert_allclose(pooling(frames, LENGTHS).detach().numpy(), np.stack(expected), rtol=1e-5, atol=1e-5)


def test_attention_can_find_the_one_frame_that_matters() -> None:
    torch.manual_seed(0)
    pooling = AttentivePooling(2, bottleneck_dim=4)
    values, lengths = torch.zeros(16, 20, 2), torch.full((16,), 20)
    wanted = torch.randn(16)
    rows = torch.arange(16)
    values[:, :, 0] = torch.randn(16, 20)
    values[rows, rows, 0], values[rows, rows, 1] = wanted, 1.0  # the second feature marks the frame
    optimizer = torch.optim.Adam(pooling.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (pooling(values, lengths)[:, 0] - wanted).square().mean()
        loss.backward()
        optimizer.step()
    plain = (MeanPooling(2)(values, lengths)[:, 0] - wanted).square().mean()
    assert loss < 0.05 * plain
