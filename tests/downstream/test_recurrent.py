"""Recurrent parts against an LSTM and a GRU written out, and what packing must not change."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from ser_toolkit.downstream.recurrent import LastStatePooling, RecurrentEncoder
from ser_toolkit.errors import RecipeError

LENGTHS = torch.tensor([4, 9, 1])


def frames(behind: float = 0.0, extra: int = 0) -> Tensor:
    """(3, 9 + extra, 5) frames of LENGTHS with a number behind them."""
    noise = torch.Generator().manual_seed(0)
    out = torch.full((3, 9 + extra, 5), behind)
    for row, length in zip(out, LENGTHS, strict=True):
        row[:length] = torch.randn(int(length), 5, generator=noise)
    return out


def lstm(values: Tensor, weights: dict[str, Tensor], suffix: str) -> Tensor:
    """States (T, H) of one utterance (T, D): Gers et al. 2000, gates in the order input, forget, cell, output."""
    hidden = cell = torch.zeros(weights["weight_hh_l0"].shape[1])
    states = []
    for frame in values:
        gates = weights[f"weight_ih_l0{suffix}"] @ frame + weights[f"bias_ih_l0{suffix}"]
        gates = gates + weights[f"weight_hh_l0{suffix}"] @ hidden + weights[f"bias_hh_l0{suffix}"]
        enter, forget, new, leave = gates.chunk(4)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        states.append(hidden)
    return torch.stack(states)


def gru(values: Tensor, weights: dict[str, Tensor], suffix: str) -> Tensor:
    """States (T, H) of one utterance (T, D): Cho et al. 2014, gates in the order reset, update, new."""
    hidden = torch.zeros(weights["weight_hh_l0"].shape[1])
    states = []
    for frame in values:
        own = (weights[f"weight_ih_l0{suffix}"] @ frame + weights[f"bias_ih_l0{suffix}"]).chunk(3)
        past = (weights[f"weight_hh_l0{suffix}"] @ hidden + weights[f"bias_hh_l0{suffix}"]).chunk(3)
        reset, update = (own[0] + past[0]).sigmoid(), (own[1] + past[1]).sigmoid()
        hidden = (1 - update) * (own[2] + reset * past[2]).tanh() + update * hidden
        states.append(hidden)
    return torch.stack(states)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("cell", "formula"), [("lstm", lstm), ("gru", gru)])
class TestFormula:
    def test_encoder(self, cell: str, formula, bidirectional: bool) -> None:
        torch.manual_seed(0)
        stage = RecurrentEncoder(5, hidden_dim=3, cell=cell, bidirectional=bidirectional).eval()
        weights = dict(stage.network.cells.named_parameters())
        values, lengths = stage(frames(behind=float("nan"), extra=2), LENGTHS)
        assert values.shape == (3, 11, stage.output_dim)
        assert torch.equal(lengths, LENGTHS)
        for row, own, length in zip(values, frames(), LENGTHS, strict=True):
            expected = formula(own[:length], weights, "")
            if bidirectional:
                backward = formula(own[:length].flip(0), weights, "_reverse").flip(0)
                expected = torch.cat([expected, backward], dim=1)
            torch.testing.assert_close(row[:length], expected)

    def test_last_state(self, cell: str, formula, bidirectional: bool) -> None:
        torch.manual_seed(0)
        pooling = LastStatePooling(5, hidden_dim=3, cell=cell, bidirectional=bidirectional)
        weights = dict(pooling.network.cells.named_parameters())
        vectors = pooling(frames(behind=float("nan"), extra=2), LENGTHS)
        assert vectors.shape == (3, pooling.output_dim)
        for vector, own, length in zip(vectors, frames(), LENGTHS, strict=True):
            expected = formula(own[:length], weights, "")[-1]
            if bidirectional:
                expected = torch.cat([expected, formula(own[:length].flip(0), weights, "_reverse")[-1]])
            torch.testing.assert_close(vector, expected)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_layers_on_top_of_each_other_are_exact_under_padding(cell: str) -> None:
    torch.manual_seed(0)
    stage = RecurrentEncoder(5, hidden_dim=4, num_layers=3, cell=cell, dropout=0.3).eval()
    values, _ = stage(frames(behind=float("inf"), extra=3), LENGTHS)
    for row, own, length in zip(values, frames(), LENGTHS, strict=True):
        alone, _ = stage(own[None, :length], length[None])
        torch.testing.assert_close(row[:length], alone[0], rtol=1e-5, atol=1e-6)


def test_padding_gets_no_gradient_and_changes_none() -> None:
    gradients = []
    for behind, extra in ((0.0, 0), (float("nan"), 6)):
        torch.manual_seed(0)
        pooling = LastStatePooling(5, hidden_dim=3)
        values = frames(behind, extra).requires_grad_()
        pooling(values, LENGTHS).square().sum().backward()
        assert values.grad is not None
        for row, length in zip(values.grad, LENGTHS, strict=True):
            assert row[length:].abs().sum() == 0
        gradients.append([values.grad[:, :9], *(p.grad for p in pooling.parameters())])
    for plain, with_padding in zip(*gradients, strict=True):
        torch.testing.assert_close(with_padding, plain)


def test_autocast_does_not_round_the_states() -> None:
    torch.manual_seed(0)
    stage = RecurrentEncoder(5, hidden_dim=8)
    expected, _ = stage(frames(), LENGTHS)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = stage(frames(), LENGTHS)
        rounded, _ = stage(frames().bfloat16(), LENGTHS)
    assert torch.equal(found, expected)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), expected, rtol=0.02, atol=0.02)


def test_dropout_acts_behind_every_layer_in_training_only() -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns when one layer is given a dropout between layers
        stage = RecurrentEncoder(5, hidden_dim=40, dropout=0.5).train()
    dropped, _ = stage(frames(), LENGTHS)
    share = (dropped[1] == 0).float().mean()
    assert 0.35 < share < 0.65
    stage.eval()
    assert (stage(frames(), LENGTHS)[0][1] != 0).all()
    deep = RecurrentEncoder(5, hidden_dim=4, num_layers=2, dropout=0.5)
    assert deep.network.cells.dropout == 0.5


def test_memory_reaches_over_the_utterance() -> None:
    # The class is told by the first frame alone, of many: the last state of a forward network must still know it.
    torch.manual_seed(0)
    signs = torch.tensor([1.0, -1.0]).repeat(16)
    values = 0.3 * torch.randn(32, 10, 4)
    values[:, 0, 0] += 2 * signs
    lengths = torch.randint(6, 11, (32,))
    pooling, head = LastStatePooling(4, hidden_dim=8, bidirectional=False), torch.nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*pooling.parameters(), *head.parameters()], lr=0.03)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.soft_margin_loss(head(pooling(values, lengths))[:, 0], signs).backward()
        optimizer.step()
    assert (head(pooling(values, lengths))[:, 0].sign() == signs).float().mean() > 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "elman"}, "cell must be one of lstm, gru, found 'elman'"),
        ({"hidden_dim": 0}, r"hidden_dim \(0\)"),
        ({"num_layers": 0}, r"num_layers \(0\)"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), found 1.0"),
    ],
)
def test_refuses_impossible_options(options: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=f"RecurrentEncoder: .*{message}"):
        RecurrentEncoder(5, **options)


def test_last_state_refuses_an_unknown_cell_under_its_own_name() -> None:
    with pytest.raises(RecipeError, match="LastStatePooling: cell"):
        LastStatePooling(5, cell="rnn")  # type: ignore[arg-type]
