"""Percentiles against numpy, moments against scipy, one utterance at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from ser_toolkit.downstream.order import MomentPooling, PercentilePooling
from ser_toolkit.downstream.pooling import Pooling, StatisticsPooling
from ser_toolkit.errors import RecipeError

LENGTHS = torch.tensor([9, 1, 4, 2])


@pytest.fixture
def frames() -> torch.Tensor:
    """Frames (4, 9, 3), skewed, NaN behind the lengths."""
    torch.manual_seed(0)
    values = 2 + 3 * torch.randn(4, 9, 3).exp()
    for row, length in zip(values, LENGTHS, strict=True):
        row[length:] = float("nan")
    return values


def each(frames: torch.Tensor) -> list[np.ndarray]:
    """Valid frames of every utterance as (T, D) float64."""
    return [row[:n].double().numpy() for row, n in zip(frames, LENGTHS, strict=True)]


class TestPercentilePooling:
    @pytest.mark.parametrize("percentiles", [(10, 50, 90), (0, 100), (33.3,), (99.9, 25)])
    def test_equals_numpy(self, frames: torch.Tensor, percentiles: tuple[float, ...]) -> None:
        pooling = PercentilePooling(3, percentiles=percentiles)
        expected = np.stack([np.percentile(x, percentiles, axis=0).ravel() for x in each(frames)])
        assert pooling.output_dim == expected.shape[1]
        np.testing.assert_allclose(pooling(frames, LENGTHS).numpy(), expected, rtol=1e-6)

    def test_gradient_goes_to_the_neighbours_in_their_shares(self) -> None:
        frames = torch.tensor([[[30.0], [10.0], [20.0], [40.0]]], requires_grad=True)
        # Position 3 * 0.75 = 2.25 lies between 30 and 40.
        PercentilePooling(1, percentiles=(75.0,))(frames, torch.tensor([4])).sum().backward()
        torch.testing.assert_close(frames.grad[0, :, 0], torch.tensor([0.75, 0.0, 0.0, 0.25]))

    def test_half_precision_does_not_round_the_percentile(self) -> None:
        frames = torch.arange(101.0)[None, :, None].bfloat16()
        found = PercentilePooling(1, percentiles=(90.0,)).bfloat16()(frames, torch.tensor([101]))
        assert found.item() == 90

    @pytest.mark.parametrize("percentiles", [(), (50, 101), (-1,), (float("nan"),)])
    def test_impossible_percentiles_are_refused(self, percentiles: tuple[float, ...]) -> None:
        with pytest.raises(RecipeError, match="from 0 to 100"):
            PercentilePooling(3, percentiles=percentiles)


class TestMomentPooling:
    def test_equals_scipy(self, frames: torch.Tensor) -> None:
        rows = torch.tensor([0, 2, 3])
        found = MomentPooling(3, eps=1e-12)(frames[rows], LENGTHS[rows]).numpy()
        expected = [
            np.concatenate([x.mean(axis=0), x.std(axis=0), stats.skew(x), stats.kurtosis(x)])
            for x in (each(frames)[row] for row in rows)
        ]
        np.testing.assert_allclose(found, np.stack(expected), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("order", [1, 2, 3, 4])
    def test_orders_are_beginnings_of_the_fourth(self, frames: torch.Tensor, order: int) -> None:
        pooling = MomentPooling(3, order=order)
        assert pooling.output_dim == 3 * order
        assert torch.equal(pooling(frames, LENGTHS), MomentPooling(3)(frames, LENGTHS)[:, : 3 * order])

    def test_one_frame(self) -> None:
        found = MomentPooling(2, eps=1e-4)(torch.tensor([[[5.0, -1.0]]]), torch.tensor([1]))
        torch.testing.assert_close(found, torch.tensor([[5.0, -1.0, 0.01, 0.01, 0.0, 0.0, -3.0, -3.0]]))

    def test_large_features_stay_in_float32(self) -> None:
        torch.manual_seed(0)
        small, lengths = torch.randn(1, 50, 2), torch.tensor([50])
        found = MomentPooling(2)(1e15 * small, lengths)
        torch.testing.assert_close(found[:, 4:], MomentPooling(2)(small, lengths)[:, 4:], rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("order", [1, 2])
    def test_low_orders_are_had_from_moments(self, order: int) -> None:
        torch.manual_seed(0)
        frames, lengths = torch.randn(2, 7, 3), torch.tensor([7, 7])
        pooling = MomentPooling(3, order=order)
        mean, variance = frames.mean(dim=1), frames.var(dim=1, unbiased=False)
        assert pooling.moment_order == order
        torch.testing.assert_close(pooling.from_moments(mean, variance), pooling(frames, lengths))
        # Rounding of stored moments may leave a variance below zero.
        assert pooling.from_moments(mean, variance - 2 * variance.max()).isfinite().all()

    def test_order_two_is_statistics_pooling(self, frames: torch.Tensor) -> None:
        torch.testing.assert_close(
            MomentPooling(3, order=2)(frames, LENGTHS), StatisticsPooling(3)(frames, LENGTHS), rtol=1e-6, atol=0
        )

    @pytest.mark.parametrize("order", [3, 4])
    def test_high_orders_need_frames(self, order: int) -> None:
        pooling = MomentPooling(3, order=order)
        assert pooling.moment_order is None
        with pytest.raises(RecipeError, match="needs frames"):
            pooling.from_moments(torch.zeros(1, 3), torch.ones(1, 3))

    def test_order_two_needs_the_variance(self) -> None:
        with pytest.raises(RecipeError, match="needs the variance"):
            MomentPooling(3, order=2).from_moments(torch.zeros(1, 3))

    @pytest.mark.parametrize(
        ("options", "named"), [({"order": 5}, "order"), ({"order": 0}, "order"), ({"eps": 0.0}, "eps")]
    )
    def test_wrong_options_are_refused(self, options: dict, named: str) -> None:
        with pytest.raises(RecipeError, match=named):
            MomentPooling(3, **options)


@pytest.mark.parametrize("pooling", [PercentilePooling(3), MomentPooling(3)], ids=["percentiles", "moments"])
def test_gradients_are_zero_behind_the_lengths(frames: torch.Tensor, pooling: Pooling) -> None:
    frames = frames.requires_grad_()
    pooling(frames, LENGTHS).square().sum().backward()
    for row, length in zip(frames.grad, LENGTHS, strict=True):
        assert row[:length].isfinite().all()
        assert row[length:].abs().sum() == 0
