"""Objectives for valence, arousal and dominance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ser_toolkit.data.batch import DIMENSIONS, Batch, Outputs
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives._numeric import masked_ratio, needed
from ser_toolkit.objectives.base import Objective

#: Added to the denominator of the CCC, which is 0 when predictions and targets are one and the same constant.
#: Targets are in [0, 1] with a variance near 0.03, so it takes about 2e-7 off a perfect agreement.
EPSILON = 1e-8


@dataclass(frozen=True)
class JointMoments:
    """Population moments of predictions x and targets y of each dimension, over the rows that have a target.

    Args:
        bias: (K,) mean x - mean y.
        covariance: (K,).
        variance: (K,) of x.
        target_variance: (K,) of y.
        count: (K,) rows that have a target; all moments are 0 where there are none.
    """

    bias: Tensor
    covariance: Tensor
    variance: Tensor
    target_variance: Tensor
    count: Tensor


def joint_moments(predictions: Tensor, targets: Tensor) -> JointMoments:
    """Moments of each column: (B, K), (B, K) with NaN where there is no target -> (K,) each."""
    known = targets.isfinite()
    count = known.sum(dim=0)
    divisor = count.clamp_min(1)

    def mean(values: Tensor) -> Tensor:
        return torch.where(known, values, 0.0).sum(dim=0) / divisor

    targets = torch.where(known, targets, 0.0).to(predictions)
    bias = mean(predictions) - mean(targets)
    x = predictions - mean(predictions)
    y = targets - mean(targets)
    return JointMoments(bias, mean(x * y), mean(x * x), mean(y * y), count)


def concordance(predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Concordance correlation coefficient of each column over the rows that have a target.

    CCC = 2 cov(x, y) / (var x + var y + (mean x - mean y)^2) with population (co)variances; 0, with finite gradients,
    where either side is constant or there are fewer than two targets.

    Source: Lin 1989, "A concordance correlation coefficient to evaluate reproducibility", eq. 1-3.

    Args:
        predictions: (B, K).
        targets: (B, K), NaN where there is none.

    Returns:
        CCC (K,) in [-1, 1], and the number of targets (K,).
    """
    found = joint_moments(predictions, targets)
    spread = found.variance + found.target_variance + found.bias.square() + EPSILON
    return 2 * found.covariance / spread, found.count


def pearson(predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Pearson's correlation coefficient of each column over the rows that have a target.

    PCC = cov(x, y) / (sd x * sd y); 0, with finite gradients, where either side is constant or there are fewer than
    two targets.

    Args:
        predictions: (B, K).
        targets: (B, K), NaN where there is none.

    Returns:
        PCC (K,) in [-1, 1], and the number of targets (K,).
    """
    found = joint_moments(predictions, targets)
    # Roots apart: the product of two variances would leave float32 sooner than they do.
    spread = (found.variance + EPSILON).sqrt() * (found.target_variance + EPSILON).sqrt()
    return found.covariance / spread, found.count


def mean_over_dimensions(losses: Tensor, count: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over the dimensions that have targets, 0 with a graph if none has.

    Args:
        losses: (K,).
        count: (K,) number of targets.
        weights: (K,), not negative.
    """
    weights = torch.where(count > 0, weights.to(losses), 0.0)
    return masked_ratio((weights * losses).sum(), weights.sum())


def concordance_loss(predictions: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of 1 - CCC over the dimensions that have targets, 0 with a graph if none has.

    Args:
        predictions: (B, K).
        targets: (B, K), NaN where there is none.
        weights: (K,), not negative.
    """
    ccc, count = concordance(predictions, targets)
    return mean_over_dimensions(1 - ccc, count, weights)


def weights_of_dimensions(weights: list[float] | None, objective: str) -> Tensor:
    """The (3,) weights of valence, arousal, dominance; ones for None.

    Raises:
        RecipeError: not three numbers >= 0, one of them > 0.
    """
    if weights is None:
        return torch.ones(len(DIMENSIONS))
    fine = len(weights) == len(DIMENSIONS) and all(math.isfinite(w) and w >= 0 for w in weights) and sum(weights) > 0
    if not fine:
        raise RecipeError(
            f"{objective}: weights must be {len(DIMENSIONS)} numbers >= 0 ({', '.join(DIMENSIONS)}), at least one "
            f"of them > 0, found {weights}."
        )
    return torch.tensor(weights, dtype=torch.float32)


class ConcordanceLoss(Objective):
    """1 - CCC, averaged over valence, arousal and dominance; a dimension without a target is left out.

    CCC is taken over the batch, so large batches are better: a batch of one has CCC 0 and no gradient.

    Source: Wagner et al. 2023, "Dawn of the transformer era in speech emotion recognition"; Lin 1989 for CCC.

    Args:
        num_classes: C, injected from the data; not used.
        weights: of valence, arousal, dominance in the mean, not negative; null weighs all alike.

    Raises:
        RecipeError: the weights are not three numbers >= 0.
    """

    requires = ("dimensions",)
    dimension_weights: Tensor

    def __init__(self, num_classes: int, weights: list[float] | None = None) -> None:
        super().__init__(num_classes)
        tensor = weights_of_dimensions(weights, "ConcordanceLoss")
        self.register_buffer("dimension_weights", tensor, persistent=False)

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its part "ccc_loss"."""
        predictions = needed(outputs.dimensions, "dimensions", type(self).__name__)
        loss = concordance_loss(predictions, batch.targets.dimensions, self.dimension_weights)
        return loss, {"ccc_loss": loss}


class PearsonLoss(Objective):
    """1 - PCC, averaged over valence, arousal and dominance: order and spacing count, scale and offset do not.

    Predictions come out in any range: use it beside an objective that fixes it (WeightedObjectives), or where only
    correlation is scored. As ConcordanceLoss it is taken over the batch.

    Source: Pearson 1895; as an objective for emotion dimensions, Ringeval et al. 2015, "Prediction of asynchronous
    dimensional emotion ratings from audiovisual and physiological data".

    Args:
        num_classes: C, injected from the data; not used.
        weights: of valence, arousal, dominance in the mean, not negative; null weighs all alike.

    Raises:
        RecipeError: the weights are not three numbers >= 0.
    """

    requires = ("dimensions",)
    dimension_weights: Tensor

    def __init__(self, num_classes: int, weights: list[float] | None = None) -> None:
        super().__init__(num_classes)
        tensor = weights_of_dimensions(weights, "PearsonLoss")
        self.register_buffer("dimension_weights", tensor, persistent=False)

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its part "pcc_loss"."""
        predictions = needed(outputs.dimensions, "dimensions", type(self).__name__)
        pcc, count = pearson(predictions, batch.targets.dimensions)
        loss = mean_over_dimensions(1 - pcc, count, self.dimension_weights)
        return loss, {"pcc_loss": loss}
