"""Shared parts of all fitted heads: standardised vectors, classes that the training part lacks, precision."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ser_toolkit.data.batch import Outputs
from ser_toolkit.downstream.heads import FittedHead
from ser_toolkit.errors import RecipeError, TrainingError

ClassWeights = Literal["none", "balanced"]
#: Logit of a class without training examples: finite, and never the largest.
ABSENT = -1e4


def check_option(head: str, name: str, found: str, known: tuple[str, ...]) -> None:
    """Refuse a value that is none of the known ones.

    Raises:
        RecipeError: ``found`` is not among ``known``.
    """
    if found not in known:
        raise RecipeError(f"{head}: {name} must be one of {', '.join(known)}, found {found!r}.")


def check_positive(head: str, name: str, found: float) -> None:
    """Refuse a number that is not above 0.

    Raises:
        RecipeError: it is not.
    """
    if not 0 < found < float("inf"):
        raise RecipeError(f"{head}: {name} must be a number above 0, found {found}.")


class StandardisedHead(FittedHead):
    """A fitted head that standardises vectors on the training part and gives absent classes the logit -1e4.

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data.
        standardise: subtract mean and divide by standard deviation (population) of the training part.
    """

    mean: Tensor
    std: Tensor
    rounded_off: Tensor
    present: Tensor

    def __init__(self, input_dim: int, num_classes: int, standardise: bool) -> None:
        super().__init__(input_dim, num_classes)
        self.standardise = standardise
        self.register_buffer("mean", torch.zeros(input_dim))
        self.register_buffer("std", torch.ones(input_dim))
        #: Part of the mean that float32 drops, in standard deviations: it shows where a feature is far from zero.
        self.register_buffer("rounded_off", torch.zeros(input_dim))
        #: (K,) indices of the classes that were fitted; empty before that.
        self.register_buffer("present", torch.zeros(0, dtype=torch.long))

    def fit(self, vectors: Tensor, labels: Tensor) -> None:
        """Fit to the training part: (N, E), (N,) class indices, none missing.

        Raises:
            TrainingError: fewer than two classes, a value that is not finite, or the library gives up.
        """
        known, label = self._check(vectors, labels)
        values = vectors.detach().cpu().double().numpy()
        if self.standardise:
            from sklearn.preprocessing import StandardScaler  # not at the top: a prediction fits nothing

            scaler = StandardScaler().fit(values)
            self._keep("mean", scaler.mean_)
            self._keep("std", scaler.scale_)
            self._keep("rounded_off", (scaler.mean_ - self.mean.cpu().double().numpy()) / scaler.scale_)
            values = scaler.transform(values)
        try:
            self._fit(values, label)
        except ValueError as error:
            raise TrainingError(
                f"{type(self).__name__} cannot be fitted to {len(values)} vectors of {len(known)} classes: {error}"
            ) from error
        self.present = known.to(self.mean.device)

    def forward(self, embedding: Tensor) -> Outputs:
        """(B, E) -> logits (B, C).

        Raises:
            TrainingError: it was neither fitted nor loaded.
        """
        if not len(self.present):
            raise TrainingError(
                f"{type(self).__name__} has not been fitted yet, so it cannot judge {len(embedding)} vectors. "
                "ser-train fits it; elsewhere call fit(vectors, labels) or load stored weights first."
            )
        # decision values are what the library computed; under autocast they would be rounded to three digits
        with torch.autocast(embedding.device.type, enabled=False):
            values = embedding.to(torch.promote_types(embedding.dtype, torch.float32))
            values = (values - self.mean.to(values)) / self.std.to(values) - self.rounded_off.to(values)
            decision = self._decide(values)
            logits = decision.new_full((len(values), self.num_classes), ABSENT)
            return Outputs(logits=logits.index_copy(1, self.present, decision))

    @abstractmethod
    def _fit(self, values: np.ndarray, label: np.ndarray) -> None:
        """Fit to (N, E) standardised float64 vectors and (N,) labels in 0..K-1, all of which occur."""

    @abstractmethod
    def _decide(self, values: Tensor) -> Tensor:
        """(B, E) standardised vectors, float32 at least -> (B, K) logits of the K classes that were fitted."""

    def _keep(self, name: str, value: np.ndarray | float) -> None:
        """Put a fitted value in a buffer, in the precision and on the device of the module."""
        setattr(self, name, torch.as_tensor(value).to(self.mean).contiguous())

    def _check(self, vectors: Tensor, labels: Tensor) -> tuple[Tensor, np.ndarray]:
        """Classes that occur, and each label's place among them."""
        name = type(self).__name__
        if vectors.shape != (len(labels), self.input_dim):
            raise TrainingError(
                f"{name} fits (N, {self.input_dim}) vectors with N labels; found vectors {tuple(vectors.shape)} and "
                f"{len(labels)} labels."
            )
        broken = ~vectors.isfinite().all(dim=1)
        if broken.any():
            raise TrainingError(
                f"{name}: {int(broken.sum())} of {len(vectors)} training vectors hold NaN or infinity (the first is "
                f"number {int(broken.nonzero()[0])}). Look for silent or broken recordings with ser-corpus inspect."
            )
        known, label = labels.detach().cpu().unique(return_inverse=True)
        if len(known) < 2 or known[0] < 0 or known[-1] >= self.num_classes:
            raise TrainingError(
                f"{name} needs examples of at least two of the {self.num_classes} classes; found the class indices "
                f"{known.tolist()} in {len(labels)} training utterances. Check the labels and the split."
            )
        return known, label.numpy()


def two_sided(decision: Tensor) -> Tensor:
    """One decision value d for the second of two classes -> (-d, d); several stay: (B, K or 1) -> (B, K)."""
    return torch.cat([-decision, decision], dim=1) if decision.shape[1] == 1 else decision


def balance(class_weights: ClassWeights) -> str | None:
    """The name that scikit-learn knows: N / (K * n_c) for "balanced"."""
    return "balanced" if class_weights == "balanced" else None
