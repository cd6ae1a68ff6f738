"""Ordinal, hierarchical and prototype heads against formulas that are written differently."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ser_toolkit.downstream.structured import HierarchicalHead, OrdinalHead, PrototypeHead
from ser_toolkit.errors import RecipeError

CLASSES = ("anger", "joy", "neutral", "sadness")


@pytest.fixture
def vectors() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(9, 6)


class TestOrdinal:
    def test_probabilities_are_differences_of_the_cumulative_odds(self, vectors: torch.Tensor) -> None:
        head = OrdinalHead(6, 5).double()
        torch.nn.init.normal_(head.gaps)
        score = (vectors.double() @ head.score.weight[0]).detach().numpy()
        thresholds = head.first.item() + np.concatenate([[0], np.cumsum(np.log1p(np.exp(head.gaps.detach().numpy())))])
        cumulative = np.stack([1 / (1 + np.exp(score - theta)) for theta in thresholds], axis=1)
        expected = np.diff(np.pad(cumulative, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1))), axis=1)
        found = head(vectors.double()).logits.exp().detach().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-10)

    def test_softmax_of_the_logits_changes_nothing(self, vectors: torch.Tensor) -> None:
        logits = OrdinalHead(6, 4)(vectors).logits
        torch.testing.assert_close(logits.log_softmax(dim=1), logits)

    def test_odds_are_proportional(self, vectors: torch.Tensor) -> None:
        """The log odds of every "at most k" differ between two utterances by the same amount."""
        cumulative = OrdinalHead(6, 5).double()(vectors.double()).logits.exp().cumsum(dim=1)[:, :-1]
        between = torch.logit(cumulative[0]) - torch.logit(cumulative[1])
        torch.testing.assert_close(between, between[:1].expand(4))

    def test_two_classes_are_logistic_regression(self, vectors: torch.Tensor) -> None:
        head = OrdinalHead(6, 2)
        torch.nn.init.constant_(head.first, 0.7)
        expected = torch.sigmoid(vectors @ head.score.weight[0] - 0.7)
        torch.testing.assert_close(head(vectors).logits.softmax(dim=1)[:, 1], expected)

    def test_levels_start_out_equally_probable(self) -> None:
        logits = OrdinalHead(6, 5)(torch.zeros(1, 6)).logits
        torch.testing.assert_close(logits.exp(), torch.full((1, 5), 0.2))

    @pytest.mark.parametrize("score", [-1e4, -80.0, 80.0, 1e4])
    def test_far_from_the_thresholds_it_stays_finite_and_right(self, score: float) -> None:
        head = OrdinalHead(1, 4)
        torch.nn.init.constant_(head.score.weight, 1.0)
        logits = head(torch.tensor([[score]])).logits
        F.cross_entropy(logits, torch.tensor([1])).backward()
        theta = head.thresholds.detach().double()
        # far out log P(1) is log(e^-|score|) up to a constant: exp(t1 - s) - exp(t0 - s), or its mirror image
        constant = (
            torch.log(theta.exp()[1] - theta.exp()[0]) if score > 0 else torch.log(-torch.diff((-theta).exp())[0])
        )
        assert logits[0, 1].item() == pytest.approx(-abs(score) + constant.item(), rel=1e-5)
        assert all(p.grad.isfinite().all() for p in head.parameters())

    def test_nearly_equal_thresholds_stay_finite(self, vectors: torch.Tensor) -> None:
        head = OrdinalHead(6, 4)
        torch.nn.init.constant_(head.gaps, -60.0)
        assert head(vectors).logits.isfinite().all()

    def test_it_learns_an_order_that_one_score_explains(self) -> None:
        torch.manual_seed(0)
        x = torch.randn(400, 3)
        labels = torch.bucketize(x[:, 0].clone(), torch.tensor([-0.7, 0.0, 0.7]))
        head = OrdinalHead(3, 4)
        optimizer = torch.optim.LBFGS(head.parameters(), max_iter=60)

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(head(x).logits, labels)
            loss.backward()
            return loss

        optimizer.step(closure)
        assert (head(x).logits.argmax(dim=1) == labels).float().mean() > 0.97


class TestHierarchical:
    def test_root_first_then_the_others(self, vectors: torch.Tensor) -> None:
        head = HierarchicalHead(6, 4)
        head.set_classes(CLASSES)
        found = head(vectors).logits.softmax(dim=1)
        root = torch.sigmoid(head.is_root(vectors))[:, 0]
        others = head.others(vectors).softmax(dim=1)
        torch.testing.assert_close(found[:, 2], root)
        torch.testing.assert_close(found[:, [0, 1, 3]], (1 - root)[:, None] * others)

    def test_logits_are_log_probabilities_even_far_out(self, vectors: torch.Tensor) -> None:
        logits = HierarchicalHead(6, 4)(1e4 * vectors).logits
        assert logits.isfinite().all()
        torch.testing.assert_close(logits.logsumexp(dim=1), torch.zeros(9), atol=1e-3, rtol=0)

    def test_the_stored_weights_mean_the_same_behind_a_fresh_head(self, vectors: torch.Tensor) -> None:
        head, fresh = HierarchicalHead(6, 4, root="joy"), HierarchicalHead(6, 4, root="joy")
        for one in (head, fresh):
            one.set_classes(CLASSES)
        fresh.load_state_dict(head.state_dict())
        assert torch.equal(fresh(vectors).logits, head(vectors).logits)

    def test_a_root_that_is_not_there(self) -> None:
        with pytest.raises(RecipeError, match=r"'calm'.*anger, joy, neutral, sadness.*model\.head\.root=anger"):
            HierarchicalHead(6, 4, root="calm").set_classes(CLASSES)


class TestPrototypes:
    def test_cosines_are_torchs(self, vectors: torch.Tensor) -> None:
        head = PrototypeHead(6, 4, scale=10)
        outputs = head(vectors)
        expected = F.cosine_similarity(vectors[:, None], head.prototypes[None], dim=2)
        torch.testing.assert_close(outputs.cosines, expected)
        torch.testing.assert_close(outputs.logits, 10 * expected)

    def test_lengths_do_not_matter(self, vectors: torch.Tensor) -> None:
        head = PrototypeHead(6, 4)
        expected = head(vectors).cosines
        head.prototypes.data *= 5
        torch.testing.assert_close(head(100 * vectors).cosines, expected)

    def test_a_prototype_is_as_near_to_itself_as_can_be(self) -> None:
        head = PrototypeHead(512, 7)
        cosines = head(head.prototypes.detach()).cosines
        torch.testing.assert_close(cosines.diagonal(), torch.ones(7))
        assert cosines.max() <= 1

    def test_zeros_are_equally_far_and_have_a_moderate_gradient(self) -> None:
        values = torch.zeros(2, 6, requires_grad=True)
        head = PrototypeHead(6, 4)
        outputs = head(values)
        assert torch.equal(outputs.logits, torch.zeros(2, 4))
        F.cross_entropy(outputs.logits, torch.tensor([0, 1])).backward()
        assert values.grad.abs().max() < 100
        assert head.prototypes.grad.isfinite().all()

    def test_a_projection_comes_first(self, vectors: torch.Tensor) -> None:
        head = PrototypeHead(6, 4, dim=3)
        expected = F.cosine_similarity(head.projection(vectors)[:, None], head.prototypes[None], dim=2)
        torch.testing.assert_close(head(vectors).cosines, expected)

    def test_half_precision_does_not_coarsen_the_cosines(self, vectors: torch.Tensor) -> None:
        head = PrototypeHead(6, 4)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(head(vectors).cosines, head(vectors).cosines.float(), atol=1e-6, rtol=0)
            found = head(vectors).cosines
        torch.testing.assert_close(found, head(vectors).cosines)

    @pytest.mark.parametrize("scale", [0.0, -1.0, math.nan])
    def test_scale_is_checked(self, scale: float) -> None:
        with pytest.raises(RecipeError, match="scale"):
            PrototypeHead(6, 4, scale=scale)


@pytest.mark.parametrize("part", [OrdinalHead, HierarchicalHead])
def test_one_class_is_refused(part: type) -> None:
    with pytest.raises(RecipeError, match="at least 2, found 1"):
        part(6, 1)


@pytest.mark.parametrize("size", [16, 1024])
def test_prototypes_start_short_enough_to_be_turned(size: int) -> None:
    # with rows of length sqrt(size), as standard normal numbers have, a wide head hardly learnt on real speech
    torch.manual_seed(0)
    head = PrototypeHead(size, 6)
    assert head.prototypes.norm(dim=1).mean().item() == pytest.approx(1, abs=0.2)
