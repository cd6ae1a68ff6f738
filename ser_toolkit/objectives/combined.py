"""Objectives of several tasks at once."""

from __future__ import annotations

from torch import Tensor

from ser_toolkit.data.batch import Batch, Outputs
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives._numeric import needed
from ser_toolkit.objectives.categorical import ClassWeights, CrossEntropy
from ser_toolkit.objectives.dimensional import concordance_loss, weights_of_dimensions


class CrossEntropyConcordance(CrossEntropy):
    """Cross-entropy + alpha * (1 - CCC): classes and valence, arousal, dominance at once.

    An utterance that has a target for one task only counts for that task only.

    Args:
        num_classes: C, injected from the data.
        alpha: weight of the 1 - CCC part, not negative.
        class_weights: "balanced" weighs a class by N / (C * n_c), its inverse frequency in the training part, "sqrt"
            by the square root of that, "effective" by its effective number of samples (Cui et al. 2019).
        label_smoothing: mass that is spread evenly over all classes, in [0, 1).
        dimension_weights: of valence, arousal, dominance in the 1 - CCC part, not negative; null weighs all alike.

    Raises:
        RecipeError: an option is out of range.
    """

    requires = ("logits", "dimensions")
    dimension_weights: Tensor

    def __init__(
        self,
        num_classes: int,
        alpha: float = 0.5,
        class_weights: ClassWeights = "none",
        label_smoothing: float = 0.0,
        dimension_weights: list[float] | None = None,
    ) -> None:
        super().__init__(num_classes, class_weights, label_smoothing)
        if not alpha >= 0:
            raise RecipeError(f"CrossEntropyConcordance: alpha must be at least 0, found {alpha}.")
        self.alpha = alpha
        tensor = weights_of_dimensions(dimension_weights, "CrossEntropyConcordance")
        self.register_buffer("dimension_weights", tensor, persistent=False)

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its parts "cross_entropy" and "ccc_loss" (before alpha)."""
        entropy, parts = super().forward(outputs, batch)
        predictions = needed(outputs.dimensions, "dimensions", type(self).__name__)
        ccc_loss = concordance_loss(predictions, batch.targets.dimensions, self.dimension_weights)
        return entropy + self.alpha * ccc_loss, {**parts, "ccc_loss": ccc_loss}
