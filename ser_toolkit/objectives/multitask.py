"""Objectives made of other objectives: sums with weights that are given or learnt."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import Batch, Outputs
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.categorical import CrossEntropy
from ser_toolkit.objectives.dimensional import ConcordanceLoss


class _Sum(Objective):
    """Objectives of which a sum is made; it needs the outputs that any of them needs."""

    def __init__(self, num_classes: int, objectives: Sequence[Callable[[int], Objective]] | None) -> None:
        super().__init__(num_classes)
        makers = (CrossEntropy, ConcordanceLoss) if objectives is None else tuple(objectives)
        if not makers:
            raise RecipeError(f"{type(self).__name__}: objectives must name at least one objective, found none.")
        self.objectives = nn.ModuleList(make(num_classes) for make in makers)
        # In the order of their first use, each once.
        self.requires = tuple(dict.fromkeys(name for objective in self._members() for name in objective.requires))
        #: A name of each, also where a class is used twice: CrossEntropy, CrossEntropy_2.
        self.names = _unique([type(objective).__name__ for objective in self._members()])

    def set_class_counts(self, counts: Tensor) -> None:
        """Tell every objective how often each class occurs in the training part: (C,)."""
        super().set_class_counts(counts)
        for objective in self._members():
            objective.set_class_counts(counts)

    def losses(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each objective, (K,), and the parts of all by name (``mse``, ``mse_2`` where two say mse)."""
        found = [objective(outputs, batch) for objective in self._members()]
        named = [item for _, parts in found for item in parts.items()]
        names = _unique([name for name, _ in named])
        return torch.stack([loss for loss, _ in found]), dict(zip(names, (part for _, part in named), strict=True))

    def _members(self) -> list[Objective]:
        return [member for member in self.objectives if isinstance(member, Objective)]


class WeightedObjectives(_Sum):
    """Sum of several objectives with given weights.

    CrossEntropy and ConcordanceLoss with weights 1 and alpha are CrossEntropyConcordance.

    Args:
        num_classes: C, injected from the data.
        objectives: what is summed; null is CrossEntropy and ConcordanceLoss.
        weights: one for each, not negative; null weighs all by 1.

    Raises:
        RecipeError: there is no objective, or not one weight >= 0 for each.
    """

    def __init__(
        self,
        num_classes: int,
        objectives: Sequence[Callable[[int], Objective]] | None = None,
        weights: list[float] | None = None,
    ) -> None:
        super().__init__(num_classes, objectives)
        given = [1.0] * len(self.objectives) if weights is None else weights
        if len(given) != len(self.objectives) or not all(math.isfinite(w) and w >= 0 for w in given):
            raise RecipeError(
                f"WeightedObjectives: weights must be {len(self.objectives)} numbers >= 0, one for each of "
                f"{', '.join(self.names)}, found {given}."
            )
        self.weights = given

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and the parts of all objectives, before their weights."""
        losses, parts = self.losses(outputs, batch)
        return (losses * losses.new_tensor(self.weights)).sum(), parts


class UncertaintyWeighted(_Sum):
    """Sum of several objectives whose weights are learnt: each is divided by its noise, which itself costs.

    sum_k exp(-s_k) L_k + s_k / 2, with the log-variance s_k = log sigma_k^2 learnt from 0, where it is the plain sum.
    At its minimum sigma_k^2 = 2 L_k: every term ends at 1/2, so that the weights follow the scale and the difficulty
    of the tasks. The loss may fall below 0 and moves with the weights: choose epochs by a metric, not by dev/loss, and
    keep weight decay off, which pulls the s_k to 0.

    A term whose loss is exactly 0, as in a batch without labels for its task, leaves its s_k alone.

    Source: Kendall et al. 2018, "Multi-task learning using uncertainty to weigh losses for scene geometry and
    semantics", eq. 7-10, all terms in the form that eq. 10 has for classes, L / sigma^2 + log sigma: the 1/2 that a
    squared error gets there only changes the unit of its sigma^2.

    Args:
        num_classes: C, injected from the data.
        objectives: what is summed; null is CrossEntropy and ConcordanceLoss. None may be negative.

    Raises:
        RecipeError: there is no objective.
    """

    def __init__(self, num_classes: int, objectives: Sequence[Callable[[int], Objective]] | None = None) -> None:
        super().__init__(num_classes, objectives)
        self.log_variances = nn.Parameter(torch.zeros(len(self.objectives)))

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss, the parts of all objectives before their weights, and the weights "weight_CrossEntropy", ..."""
        losses, parts = self.losses(outputs, batch)
        weights = (-self.log_variances).exp()
        cost = torch.where(losses == 0, 0.0, self.log_variances / 2)
        learnt = {f"weight_{name}": weight for name, weight in zip(self.names, weights.detach(), strict=True)}
        return (weights * losses + cost).sum(), {**parts, **learnt}


def _unique(names: Sequence[str]) -> list[str]:
    """Names with a number behind those that came before.

    >>> _unique(["mse", "mae", "mse"])
    ['mse', 'mae', 'mse_2']
    """
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return found
