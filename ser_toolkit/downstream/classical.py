"""Linear models that scikit-learn fits on fixed utterance vectors: support vector machine, logistic regression."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ser_toolkit.downstream._fitting import (
    ClassWeights,
    StandardisedHead,
    balance,
    check_option,
    check_positive,
    two_sided,
)


class LinearSVM(StandardisedHead):
    """Linear support vector machine, one class against the rest (scikit-learn's LinearSVC).

    With its defaults it is the usual back-end for functionals: standardised, C = 0.1, class-balanced. The logits are
    decision values w.x + b: an order, not calibrated probabilities. Two classes have -d and d. The intercept is
    regularised like every weight, as LIBLINEAR does.

    Source: Fan et al. 2008, "LIBLINEAR: a library for large linear classification", JMLR 9.

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data.
        C: inverse strength of the L2 penalty, above 0.
        loss: ``squared_hinge`` or ``hinge``.
        class_weights: "balanced" weighs a class by N / (K * n_c), its inverse frequency in the training part.
        standardise: vectors to mean 0 and standard deviation 1 on the training part; use model.normalisation=none.
        max_iter: passes over the data at most; scikit-learn warns when they are not enough.

    Raises:
        RecipeError: an option is out of range.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        input_dim: int,
        num_classes: int,
        C: float = 0.1,  # noqa: N803 (its name everywhere)
        loss: Literal["squared_hinge", "hinge"] = "squared_hinge",
        class_weights: ClassWeights = "balanced",
        standardise: bool = True,
        max_iter: int = 10_000,
    ) -> None:
        super().__init__(input_dim, num_classes, standardise)
        check_positive("LinearSVM", "C", C)
        check_positive("LinearSVM", "max_iter", max_iter)
        check_option("LinearSVM", "loss", loss, ("squared_hinge", "hinge"))
        check_option("LinearSVM", "class_weights", class_weights, ("none", "balanced"))
        self.C, self.loss, self.class_weights, self.max_iter = C, loss, class_weights, max_iter
        self.register_buffer("weight", torch.zeros(num_classes, input_dim))
        self.register_buffer("bias", torch.zeros(num_classes))

    def _fit(self, values: np.ndarray, label: np.ndarray) -> None:
        from sklearn.svm import LinearSVC

        machine = LinearSVC(
            C=self.C,
            loss=self.loss,
            class_weight=balance(self.class_weights),
            max_iter=self.max_iter,
            random_state=0,  # LIBLINEAR visits utterances in random order
        ).fit(values, label)
        self._keep("weight", machine.coef_)
        self._keep("bias", machine.intercept_)

    def _decide(self, values: Tensor) -> Tensor:
        return two_sided(F.linear(values, self.weight.to(values), self.bias.to(values)))


class LogisticRegressionHead(StandardisedHead):
    """Multinomial logistic regression with an L2 penalty, solved to its optimum (scikit-learn).

    Softmax of the logits gives scikit-learn's probabilities. The intercept is not regularised.

    Source: Cox 1958, "The regression analysis of binary sequences", J. Royal Statistical Society B 20(2).

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data.
        C: inverse strength of the L2 penalty, above 0.
        class_weights: "balanced" weighs a class by N / (K * n_c), its inverse frequency in the training part.
        standardise: vectors to mean 0 and standard deviation 1 on the training part; use model.normalisation=none.
        max_iter: iterations of L-BFGS at most; scikit-learn warns when they are not enough.

    Raises:
        RecipeError: an option is out of range.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        input_dim: int,
        num_classes: int,
        C: float = 1.0,  # noqa: N803 (its name everywhere)
        class_weights: ClassWeights = "balanced",
        standardise: bool = True,
        max_iter: int = 1000,
    ) -> None:
        super().__init__(input_dim, num_classes, standardise)
        check_positive("LogisticRegressionHead", "C", C)
        check_positive("LogisticRegressionHead", "max_iter", max_iter)
        check_option("LogisticRegressionHead", "class_weights", class_weights, ("none", "balanced"))
        self.C, self.class_weights, self.max_iter = C, class_weights, max_iter
        self.register_buffer("weight", torch.zeros(num_classes, input_dim))
        self.register_buffer("bias", torch.zeros(num_classes))

    def _fit(self, values: np.ndarray, label: np.ndarray) -> None:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=self.C, class_weight=balance(self.class_weights), max_iter=self.max_iter)
        model.fit(values, label)
        self._keep("weight", model.coef_)
        self._keep("bias", model.intercept_)

    def _decide(self, values: Tensor) -> Tensor:
        # of two classes the library keeps the difference of their logits: half of it on either side
        decision = F.linear(values, self.weight.to(values), self.bias.to(values))
        return two_sided(decision / 2) if decision.shape[1] == 1 else decision
