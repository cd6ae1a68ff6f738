"""Cross-entropy of frames against a loop over them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ser_toolkit.data.batch import Batch, Outputs, Targets
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives.categorical import CrossEntropy
from ser_toolkit.objectives.frames import FrameCrossEntropy

COUNTS = torch.tensor([10.0, 40.0, 25.0, 5.0])
LABELS, LENGTHS = torch.tensor([0, 3, 1, -1]), torch.tensor([5, 1, 3, 2])


def batch_of(labels: torch.Tensor) -> Batch:
    rows = len(labels)
    return Batch({}, Targets(labels, torch.full((rows, 4), torch.nan), torch.full((rows, 3), torch.nan)))


def balanced() -> FrameCrossEntropy:
    objective = FrameCrossEntropy(4, "balanced")
    objective.set_class_counts(COUNTS)
    return objective


@pytest.fixture
def logits() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(4, 5, 4)


def test_every_utterance_counts_alike_however_long(logits: torch.Tensor) -> None:
    found, parts = balanced()(Outputs(frame_logits=logits, frame_lengths=LENGTHS), batch_of(LABELS))
    losses, weights = [], []
    for row, (label, length) in enumerate(zip(LABELS[:3], LENGTHS[:3], strict=True)):
        losses.append(F.cross_entropy(logits[row, :length], label.expand(length)))
        weights.append(80 / (4 * COUNTS[label]))
    expected = sum(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights)
    torch.testing.assert_close(found, expected)
    assert list(parts) == ["frame_cross_entropy"]


@pytest.mark.parametrize("garbage", [torch.nan, torch.inf, -torch.inf, 1e4])
def test_what_lies_behind_the_lengths_never_matters(logits: torch.Tensor, garbage: float) -> None:
    clean = logits.clone().requires_grad_()
    expected, _ = balanced()(Outputs(frame_logits=clean, frame_lengths=LENGTHS), batch_of(LABELS))
    expected.backward()
    dirty = logits.clone()
    for row, length in enumerate(LENGTHS):
        dirty[row, length:] = garbage
    dirty.requires_grad_()
    found, _ = balanced()(Outputs(frame_logits=dirty, frame_lengths=LENGTHS), batch_of(LABELS))
    found.backward()
    assert torch.equal(found, expected)
    assert torch.equal(dirty.grad, clean.grad)


def test_one_frame_each_is_cross_entropy(logits: torch.Tensor) -> None:
    plain = CrossEntropy(4, "balanced")
    plain.set_class_counts(COUNTS)
    expected, _ = plain(Outputs(logits=logits[:, 0]), batch_of(LABELS))
    ones = torch.ones(4, dtype=torch.long)
    found, _ = balanced()(Outputs(frame_logits=logits, frame_lengths=ones), batch_of(LABELS))
    torch.testing.assert_close(found, expected)


def test_says_what_is_missing(logits: torch.Tensor) -> None:
    with pytest.raises(RecipeError, match="frame_logits without frame_lengths"):
        FrameCrossEntropy(4)(Outputs(frame_logits=logits), batch_of(LABELS))
    with pytest.raises(RecipeError, match="FrameCrossEntropy: class_weights"):
        FrameCrossEntropy(4, "inverse")
