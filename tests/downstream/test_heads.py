"""Heads, and the published compositions that are told apart by their function and not by their size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ser_toolkit.downstream.frames import FrameStage, LinearProjection, LinearReLU
from ser_toolkit.downstream.heads import LinearHead, MLPHead, MultiTaskHead, RegressionHead
from ser_toolkit.downstream.pooling import MeanPooling
from ser_toolkit.errors import RecipeError


def parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def composition(stage: type[FrameStage]) -> nn.ModuleList:
    """Frame stage, mean pooling and linear head for D = 768 and four classes, as SUPERB and EmoBox size them."""
    torch.manual_seed(0)
    frames = stage(768)
    pooling = MeanPooling(frames.output_dim)
    return nn.ModuleList([frames, pooling, LinearHead(pooling.output_dim, 4)])


def logits(parts: nn.ModuleList, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    frames, pooling, head = parts
    return head(pooling(*frames(values, lengths))).logits


class TestPublishedCompositions:
    LENGTHS = torch.tensor([9, 4])

    def both(self) -> tuple[nn.ModuleList, nn.ModuleList]:
        superb, emobox = composition(LinearProjection), composition(LinearReLU)
        emobox.load_state_dict(superb.state_dict())
        return superb, emobox

    def test_both_have_the_published_number_of_parameters(self) -> None:
        # 768 * 256 + 256 + 256 * 4 + 4
        assert [parameters(parts) for parts in self.both()] == [197_892, 197_892]

    def test_superb_commutes_with_the_mean_and_emobox_does_not(self) -> None:
        torch.manual_seed(1)
        values, one = torch.randn(2, 9, 768), torch.tensor([1, 1])
        mean = torch.stack([row[:n].mean(dim=0) for row, n in zip(values, self.LENGTHS, strict=True)])[:, None]
        superb, emobox = self.both()
        torch.testing.assert_close(
            logits(superb, values, self.LENGTHS), logits(superb, mean, one), rtol=1e-4, atol=1e-5
        )
        assert (logits(emobox, values, self.LENGTHS) - logits(emobox, mean, one)).abs().max() > 0.01

    def test_they_differ_by_the_relu_alone(self) -> None:
        torch.manual_seed(1)
        values = torch.randn(2, 9, 768)
        superb, emobox = self.both()
        weights = superb.state_dict()
        expected = []
        for row, n in zip(values, self.LENGTHS, strict=True):
            hidden = row[:n] @ weights["0.projection.weight"].T + weights["0.projection.bias"]
            pooled = torch.stack([hidden.mean(dim=0), hidden.clamp_min(0).mean(dim=0)])
            expected.append(pooled @ weights["2.classes.weight"].T + weights["2.classes.bias"])
        found = [logits(parts, values, self.LENGTHS) for parts in (superb, emobox)]
        torch.testing.assert_close(torch.stack(found, dim=1), torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_regression_head_of_wagner() -> None:
    head = RegressionHead(1024, 4, hidden_dim=1024, dropout=0.1)
    assert parameters(head) == 1024 * 1024 + 1024 + 1024 * 3 + 3 == 1_052_675
    torch.manual_seed(0)
    vectors = torch.randn(2, 1024)
    state = head.eval().state_dict()
    hidden = torch.tanh(vectors @ state["hidden.1.weight"].T + state["hidden.1.bias"])
    expected = hidden @ state["dimensions.weight"].T + state["dimensions.bias"]
    torch.testing.assert_close(head(vectors).dimensions, expected, rtol=1e-4, atol=1e-5)


def test_multi_task_head_shares_its_hidden_layer() -> None:
    head = MultiTaskHead(6, 4, hidden_dim=5, dropout=0.0)
    assert parameters(head) == (6 * 5 + 5) + (5 * 4 + 4) + (5 * 3 + 3)
    outputs = head(torch.randn(2, 6))
    for task in (outputs.logits, outputs.dimensions):
        head.zero_grad()
        task.sum().backward(retain_graph=True)
        assert head.hidden[1].weight.grad.abs().sum() > 0


def test_mlp_head_has_the_layers_it_was_asked_for() -> None:
    head = MLPHead(6, 4, hidden_dim=5, num_layers=3)
    assert parameters(head) == (6 * 5 + 5) + 2 * (5 * 5 + 5) + (5 * 4 + 4)
    with pytest.raises(RecipeError, match="at least 1, found 0"):
        MLPHead(6, 4, num_layers=0)
    with pytest.raises(RecipeError, match="relu, gelu, tanh, found 'swish'"):
        MLPHead(6, 4, activation="swish")  # type: ignore[arg-type]


@pytest.mark.parametrize("head", [LinearHead(50, 4, dropout=0.5), MLPHead(50, 4), MultiTaskHead(50, 4)])
def test_dropout_acts_in_training_only(head: nn.Module) -> None:
    torch.manual_seed(0)
    vectors = torch.randn(2, 50)
    head.train()
    assert not torch.equal(head(vectors).logits, head(vectors).logits)
    head.eval()
    assert torch.equal(head(vectors).logits, head(vectors).logits)
