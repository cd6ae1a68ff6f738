"""Support vector machine with a kernel, fitted by scikit-learn and evaluated in torch."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ser_toolkit.downstream._fitting import (
    ClassWeights,
    StandardisedHead,
    balance,
    check_option,
    check_positive,
    two_sided,
)
from ser_toolkit.errors import RecipeError

KERNELS = ("rbf", "linear", "poly")


class KernelSVM(StandardisedHead):
    """Support vector machine with a kernel, every class against every other (scikit-learn's SVC).

    The support vectors, one row of coefficients a pair of classes and the intercepts are kept. The logits are
    scikit-learn's decision function of shape "ovr": a class has its votes among its pairs, and below 1/3 either way for
    how sure they were. An order, not calibrated probabilities. Two classes have -d and d.

    Source: Chang & Lin 2011, "LIBSVM: a library for support vector machines", ACM TIST 2(3).

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data.
        C: inverse strength of the penalty, above 0.
        kernel: ``rbf`` exp(-gamma |x - y|^2), ``linear`` x.y, or ``poly`` (gamma x.y + coef0)^degree.
        gamma: of rbf and poly, above 0; "scale" is 1 / (E * variance of all values of the training part).
        degree: of poly, at least 1.
        coef0: of poly.
        ties: between classes with equally many votes: ``confidence`` decides (scikit-learn's decision function), or the
            ``first`` class wins (what its ``SVC.predict`` says, and most published SVM baselines with it).
        class_weights: "balanced" weighs a class by N / (K * n_c), its inverse frequency in the training part.
        standardise: vectors to mean 0 and standard deviation 1 on the training part; use model.normalisation=none.

    Raises:
        RecipeError: an option is out of range.
    """

    vectors: Tensor
    weight: Tensor
    bias: Tensor
    scale: Tensor

    def __init__(
        self,
        input_dim: int,
        num_classes: int,
        C: float = 1.0,  # noqa: N803 (its name everywhere)
        kernel: Literal["rbf", "linear", "poly"] = "rbf",
        gamma: float | Literal["scale"] = "scale",
        degree: int = 3,
        coef0: float = 0.0,
        ties: Literal["confidence", "first"] = "confidence",
        class_weights: ClassWeights = "balanced",
        standardise: bool = True,
    ) -> None:
        super().__init__(input_dim, num_classes, standardise)
        check_positive("KernelSVM", "C", C)
        check_option("KernelSVM", "kernel", kernel, KERNELS)
        check_option("KernelSVM", "ties", ties, ("confidence", "first"))
        check_option("KernelSVM", "class_weights", class_weights, ("none", "balanced"))
        if isinstance(gamma, str):
            check_option("KernelSVM", "gamma", gamma, ("scale",))
        else:
            check_positive("KernelSVM", "gamma", gamma)
        if degree < 1:
            raise RecipeError(f"KernelSVM: degree must be at least 1, found {degree}.")
        self.C, self.kernel, self.gamma, self.degree, self.coef0 = C, kernel, gamma, degree, coef0
        self.ties, self.class_weights = ties, class_weights
        pairs = num_classes * (num_classes - 1) // 2
        self.register_buffer("vectors", torch.zeros(0, input_dim))
        self.register_buffer("weight", torch.zeros(pairs, 0))
        self.register_buffer("bias", torch.zeros(pairs))
        self.register_buffer("scale", torch.ones(()))

    def _fit(self, values: np.ndarray, label: np.ndarray) -> None:
        from sklearn.svm import SVC

        variance = float(values.var())
        gamma = 1 / (values.shape[1] * (variance or 1.0)) if isinstance(self.gamma, str) else self.gamma
        machine = SVC(
            C=self.C,
            kernel=self.kernel,
            gamma=gamma,
            degree=self.degree,
            coef0=self.coef0,
            class_weight=balance(self.class_weights),
        ).fit(values, label)
        self._keep("vectors", machine.support_vectors_)
        self._keep("weight", pair_weights(machine.dual_coef_, machine.n_support_))
        self._keep("bias", machine.intercept_)
        self._keep("scale", gamma)

    def _decide(self, values: Tensor) -> Tensor:
        pairs = self._kernel(values, self.vectors.to(values)) @ self.weight.to(values).T + self.bias.to(values)
        if pairs.shape[1] == 1:
            return two_sided(pairs)
        count, confidence = votes(pairs, len(self.present))
        if self.ties == "first":
            # less than a vote for the earlier class
            confidence = -torch.arange(len(self.present)).to(count) / (3 * len(self.present))
        return count + confidence

    def _kernel(self, values: Tensor, others: Tensor) -> Tensor:
        """(B, E), (S, E) -> (B, S)."""
        product = values @ others.T
        gamma = self.scale.to(values)
        if self.kernel == "linear":
            return product
        if self.kernel == "poly":
            return (gamma * product + self.coef0) ** self.degree
        squares = values.square().sum(dim=1, keepdim=True) + others.square().sum(dim=1)
        return torch.exp(-gamma * (squares - 2 * product).clamp_min(0))


def pair_weights(dual: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """One row of coefficients a pair of classes, in the order (0, 1), (0, 2), ... (1, 2), ...: (P, S).

    Args:
        dual: (K - 1, S) as LIBSVM packs them: a support vector of class i has its coefficient against class j in row j,
            or in row j - 1 where j > i.
        counts: (K,) support vectors of each class; they lie class by class.
    """
    if len(dual) == 1:
        return dual
    owner = np.repeat(np.arange(len(counts)), counts)
    rows = [
        np.where(owner == first, dual[second - 1], np.where(owner == second, dual[first], 0.0))
        for first, second in combinations(range(len(counts)), 2)
    ]
    return np.stack(rows)


def votes(pairs: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Votes of each class, and how sure they were, in (-1/3, 1/3): (B, P) -> (B, K), (B, K).

    A pair's decision value d speaks for its first class where d >= 0. With s the sum of a class's decision values, each
    with the sign that is in its favour, the confidence is s / (3 (|s| + 1)): too small to outvote anyone.
    """
    first, second = torch.triu_indices(num_classes, num_classes, offset=1, device=pairs.device)
    in_favour = (pairs >= 0).to(pairs)
    count = pairs.new_zeros(len(pairs), num_classes)
    count = count.index_add(1, first, in_favour).index_add(1, second, 1 - in_favour)
    total = torch.zeros_like(count).index_add(1, first, pairs).index_add(1, second, -pairs)
    return count, total / (3 * (total.abs() + 1))
