"""Attentive poolings against their formulas in numpy, and against torch's own attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ser_toolkit.downstream.attention import (
    ChannelAttentiveStatisticsPooling,
    MultiHeadAttentivePooling,
    QueryPooling,
    SelfAttentivePooling,
)
from ser_toolkit.downstream.pooling import Pooling
from ser_toolkit.errors import RecipeError

LENGTHS = torch.tensor([5, 1, 3])
OPTIONS = [
    (SelfAttentivePooling, {"hidden": "relu"}),
    (SelfAttentivePooling, {"hidden": "tanh"}),
    (MultiHeadAttentivePooling, {"num_heads": 3, "statistics": True}),
    (QueryPooling, {"num_queries": 3, "num_heads": 3}),
    (ChannelAttentiveStatisticsPooling, {"attention_channels": 3}),
]


@pytest.fixture
def frames() -> torch.Tensor:
    """Frames (3, 7, 6), NaN behind the lengths."""
    torch.manual_seed(0)
    values = torch.randn(3, 7, 6)
    for row, length in zip(values, LENGTHS, strict=True):
        row[length:] = float("nan")
    return values


def each(frames: torch.Tensor) -> list[np.ndarray]:
    """Valid frames of every utterance as (T, D) float64."""
    return [row[:n].double().numpy() for row, n in zip(frames, LENGTHS, strict=True)]


def shaken(pooling: Pooling) -> Pooling:
    """Every weight and running statistic away from its start value, in evaluation mode."""
    torch.manual_seed(1)
    for tensor in pooling.state_dict().values():
        nn.init.normal_(tensor)
    for name, tensor in pooling.state_dict().items():
        if name.endswith("running_var"):
            nn.init.uniform_(tensor, 0.5, 2.0)
    return pooling.eval()


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=0))
    return powers / powers.sum(axis=0)


def numbers(pooling: Pooling) -> dict[str, np.ndarray]:
    return {name: tensor.double().numpy() for name, tensor in pooling.state_dict().items()}


def assert_rows(found: torch.Tensor, expected: list[np.ndarray], rtol: float = 1e-5) -> None:
    np.testing.assert_allclose(found.detach().numpy(), np.stack(expected), rtol=rtol, atol=1e-5)


@pytest.mark.parametrize(("part", "options"), OPTIONS)
def test_options_are_exact_under_padding(frames: torch.Tensor, part: type[Pooling], options: dict) -> None:
    pooling = shaken(part(6, **options))
    found = pooling(frames, LENGTHS)
    alone = torch.cat([pooling(row[None, :n], n[None]) for row, n in zip(frames, LENGTHS, strict=True)])
    assert found.shape == (3, pooling.output_dim)
    torch.testing.assert_close(found, alone, rtol=1e-5, atol=1e-5)


class TestSelfAttentivePooling:
    @pytest.mark.parametrize("hidden", ["none", "relu", "tanh"])
    def test_formula(self, frames: torch.Tensor, hidden: str) -> None:
        pooling = shaken(SelfAttentivePooling(6, hidden=hidden))
        w = numbers(pooling)
        expected = []
        for x in each(frames):
            h = x if hidden == "none" else x @ w["layer.weight"].T + w["layer.bias"]
            h = {"none": h, "relu": np.maximum(h, 0), "tanh": np.tanh(h)}[hidden]
            expected.append(softmax(h @ w["score.weight"][0]) @ x)
        assert_rows(pooling(frames, LENGTHS), expected)

    def test_equal_scores_give_the_mean(self, frames: torch.Tensor) -> None:
        pooling = SelfAttentivePooling(6)
        nn.init.zeros_(pooling.score.weight)
        assert_rows(pooling(frames, LENGTHS), [x.mean(axis=0) for x in each(frames)])

    def test_unknown_hidden_is_refused(self) -> None:
        with pytest.raises(RecipeError, match="'none', 'relu' or 'tanh', found 'gelu'"):
            SelfAttentivePooling(6, hidden="gelu")


class TestMultiHeadAttentivePooling:
    def test_each_head_pools_its_own_features(self, frames: torch.Tensor) -> None:
        pooling = shaken(MultiHeadAttentivePooling(6, num_heads=3, statistics=True))
        queries = numbers(pooling)["queries"]
        expected = []
        for x in each(frames):
            means, stds = [], []
            for part, query in zip(np.split(x, 3, axis=1), queries, strict=True):
                weights = softmax(part @ query / np.sqrt(2))
                means.append(weights @ part)
                stds.append(np.sqrt(weights @ (part - means[-1]) ** 2 + 1e-6))
            expected.append(np.concatenate(means + stds))
        assert_rows(pooling(frames, LENGTHS), expected)
        without = MultiHeadAttentivePooling(6, num_heads=3)
        without.load_state_dict(pooling.state_dict())
        assert_rows(without(frames, LENGTHS), [row[:6] for row in expected])

    @pytest.mark.parametrize("num_heads", [4, 0])
    def test_heads_that_do_not_divide_are_refused(self, num_heads: int) -> None:
        with pytest.raises(RecipeError, match=f"num_heads={num_heads} and 6 features"):
            MultiHeadAttentivePooling(6, num_heads=num_heads)


class TestQueryPooling:
    def test_equals_torch_attention(self, frames: torch.Tensor) -> None:
        pooling = shaken(QueryPooling(6, num_queries=2, num_heads=3))
        theirs = nn.MultiheadAttention(6, 3, batch_first=True)
        with torch.no_grad():
            theirs.in_proj_weight.copy_(torch.cat([torch.eye(6), pooling.key.weight, pooling.value.weight]))
            theirs.in_proj_bias.copy_(torch.cat([torch.zeros(12), pooling.value.bias]))
        theirs.out_proj.load_state_dict(pooling.out.state_dict())
        values = frames.nan_to_num(7.0)
        behind = torch.arange(7) >= LENGTHS[:, None]
        queries = pooling.queries.expand(3, -1, -1)
        expected, _ = theirs(queries, values, values, key_padding_mask=behind)
        torch.testing.assert_close(pooling(frames, LENGTHS), expected.flatten(1), rtol=1e-5, atol=1e-5)

    def test_dropout_is_for_training_only(self, frames: torch.Tensor) -> None:
        pooling = shaken(QueryPooling(6, dropout=0.5))
        assert torch.equal(pooling(frames, LENGTHS), pooling(frames, LENGTHS))
        pooling.train()
        assert not torch.equal(pooling(frames, LENGTHS), pooling(frames, LENGTHS))

    @pytest.mark.parametrize(
        ("options", "named"),
        [({"num_heads": 4}, "num_heads=4"), ({"num_queries": 0}, "num_queries=0"), ({"dropout": 1.0}, "dropout=1.0")],
    )
    def test_wrong_options_are_refused(self, options: dict, named: str) -> None:
        with pytest.raises(RecipeError, match=named):
            QueryPooling(6, **options)


class TestChannelAttentiveStatisticsPooling:
    def test_formula(self, frames: torch.Tensor) -> None:
        pooling = shaken(ChannelAttentiveStatisticsPooling(6, attention_channels=3))
        w = numbers(pooling)
        expected = []
        for x in each(frames):
            std = np.sqrt(np.maximum(x.var(axis=0), 1e-12))
            seen = np.concatenate([x, np.tile(x.mean(axis=0), (len(x), 1)), np.tile(std, (len(x), 1))], axis=1)
            layer = np.concatenate([w["frame.weight"], w["context.weight"]], axis=1)
            hidden = np.maximum(seen @ layer.T + w["context.bias"], 0) - w["norm.running_mean"]
            hidden = hidden / np.sqrt(w["norm.running_var"] + 1e-5) * w["norm.weight"] + w["norm.bias"]
            weights = softmax(np.tanh(hidden) @ w["score.weight"].T)
            mean = (weights * x).sum(axis=0)
            variance = (weights * (x - mean) ** 2).sum(axis=0)
            expected.append(np.concatenate([mean, np.sqrt(np.maximum(variance, 1e-12))]))
        assert_rows(pooling(frames, LENGTHS), expected)

    def test_padding_does_not_enter_the_batch_statistics(self, frames: torch.Tensor) -> None:
        torch.manual_seed(2)
        pooling = ChannelAttentiveStatisticsPooling(6, attention_channels=3)
        short = pooling(frames[:, :5], LENGTHS)
        statistics = pooling.norm.running_mean.clone()
        nn.init.zeros_(pooling.norm.running_mean)
        torch.testing.assert_close(pooling(frames, LENGTHS), short)
        torch.testing.assert_close(pooling.norm.running_mean, statistics)

    @pytest.mark.parametrize("options", [{"attention_channels": 0}, {"eps": 0.0}])
    def test_wrong_options_are_refused(self, options: dict) -> None:
        with pytest.raises(RecipeError, match="must be positive"):
            ChannelAttentiveStatisticsPooling(6, **options)
