"""Objectives of several present classes: by hand, against torch, and where their minimum lies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ser_toolkit.data.batch import Batch, Outputs, Targets
from ser_toolkit.data.labels import AllInclusive
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives.multilabel import (
    MultiLabelBinaryCrossEntropy,
    MultiLabelCrossEntropy,
    present_classes,
)
from ser_toolkit.objectives.soft import SoftCrossEntropy

#: Shares of four classes; the published example (A, S, S, N, A) first, then one class, a tie of all, and no votes.
SOFT = torch.tensor([[0.2, 0.4, 0.4, 0.0], [0.0, 0.9, 0.1, 0.0], [0.25] * 4, [float("nan")] * 4])
PRESENT = torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
BOTH = pytest.mark.parametrize("part", [MultiLabelBinaryCrossEntropy, MultiLabelCrossEntropy])


def batch(soft: torch.Tensor) -> Batch:
    rows = len(soft)
    targets = Targets(label=torch.zeros(rows, dtype=torch.long), soft=soft, dimensions=torch.zeros(rows, 3))
    return Batch({}, targets, ids=[f"u{i}" for i in range(rows)])


def logits_of(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))


def test_present_is_what_the_label_rule_calls_present() -> None:
    assert torch.equal(present_classes(SOFT, None), PRESENT)
    shares = np.random.default_rng(1).dirichlet(np.ones(4), 200).astype(np.float32)
    assert present_classes(torch.from_numpy(shares), None).numpy().tolist() == AllInclusive.present(shares).tolist()
    assert present_classes(SOFT[:1], 0.1).sum() > present_classes(SOFT[:1], None).sum()


def test_binary_cross_entropy_decides_at_one_over_c() -> None:
    logits = logits_of(4)
    probability = 4 * logits.softmax(dim=1) / (1 + 4 * logits.softmax(dim=1))
    expected = F.binary_cross_entropy(probability[:3], PRESENT[:3].float())
    loss, parts = MultiLabelBinaryCrossEntropy(4)(Outputs(logits=logits), batch(SOFT))
    torch.testing.assert_close(loss, expected)
    assert list(parts) == ["multilabel_binary_cross_entropy"]
    even = Outputs(logits=torch.zeros(1, 4))  # every class at 1/C: as likely as not
    assert MultiLabelBinaryCrossEntropy(4)(even, batch(SOFT[:1]))[0].item() == pytest.approx(math.log(2))


def test_cross_entropy_shares_among_the_present() -> None:
    logits = logits_of(4)
    shared = torch.tensor([[0, 0.5, 0.5, 0], [0, 1.0, 0, 0], *[[float("nan")] * 4] * 2])
    expected = SoftCrossEntropy(4)(Outputs(logits=logits), batch(shared))[0]
    found = MultiLabelCrossEntropy(4)(Outputs(logits=logits), batch(SOFT))[0]
    torch.testing.assert_close(found, expected)


@BOTH
def test_at_the_minimum_the_present_classes_are_those_above_the_threshold(part) -> None:
    logits = logits_of(2).requires_grad_()
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = part(4)(Outputs(logits=logits), batch(SOFT[:2]))[0]
        loss.backward()
        return loss

    optimizer.step(closure)
    probabilities = logits.detach().softmax(dim=1)
    assert torch.equal(present_classes(probabilities, None), PRESENT[:2])
    assert probabilities[0, 1:3].tolist() == pytest.approx([0.5, 0.5], abs=0.02), "present classes share evenly"


@BOTH
def test_rows_without_votes_do_not_count(part) -> None:
    logits = logits_of(4)
    whole = part(4)(Outputs(logits=logits), batch(SOFT))[0]
    voted = part(4)(Outputs(logits=logits[:3]), batch(SOFT[:3]))[0]
    torch.testing.assert_close(whole, voted)
    alone = logits[3:].clone().requires_grad_()
    nothing = part(4)(Outputs(logits=alone), batch(SOFT[3:]))[0]
    nothing.backward()
    assert nothing.item() == 0
    assert alone.grad.tolist() == [[0, 0, 0, 0]]


@BOTH
def test_the_threshold_is_a_share(part) -> None:
    lower = part(4, threshold=0.05)(Outputs(logits=logits_of(1)), batch(SOFT[:1]))[0]
    assert lower != part(4)(Outputs(logits=logits_of(1)), batch(SOFT[:1]))[0]
    with pytest.raises(RecipeError, match=rf"{part.__name__}: threshold must be None or in \[0, 1\), found 1.5"):
        part(4, threshold=1.5)
