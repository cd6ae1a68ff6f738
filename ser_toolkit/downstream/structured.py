"""Heads that know how the classes relate: as ordered levels, or as one class against all others first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ser_toolkit.data.batch import Outputs
from ser_toolkit.downstream.heads import Head
from ser_toolkit.errors import RecipeError


def _need_two_classes(head: str, num_classes: int) -> None:
    if num_classes < 2:
        raise RecipeError(f"{head} tells classes apart and needs at least 2, found {num_classes}. Check the data.")


def _in_float32(values: Tensor) -> Tensor:
    """Float32 at least: half precision would blur probabilities near 0 and 1."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


class OrdinalHead(Head):
    """Classes as ordered levels (low, medium, high): one score and a threshold between each two neighbours.

    Proportional odds: P(y <= k) = sigmoid(theta_k - s), with s = w.x and thresholds theta_0 < ... < theta_(C-2), in the
    order of the classes. Logits are log probabilities, so that the objective CrossEntropy is the exact likelihood and
    softmax gives the probabilities. With two classes it is logistic regression. At s = 0 all levels start out equally
    probable.

    Source: McCullagh 1980, "Regression models for ordinal data", J. Royal Statistical Society B 42(2), section 2.

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data, at least 2.
        dropout: probability, in [0, 1), that a feature of the utterance vector is dropped.

    Raises:
        RecipeError: there are fewer than two classes.
    """

    def __init__(self, input_dim: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__(input_dim, num_classes)
        _need_two_classes("OrdinalHead", num_classes)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(input_dim, 1, bias=False)
        even = torch.logit(torch.arange(1, num_classes, dtype=torch.float64) / num_classes)
        self.first = nn.Parameter(even[:1].float())
        #: Softplus of these are the distances between neighbouring thresholds.
        self.gaps = nn.Parameter(torch.log(torch.expm1(even.diff())).float()) if num_classes > 2 else None

    @property
    def thresholds(self) -> Tensor:
        """Thresholds theta between the classes, increasing: (C - 1,)."""
        if self.gaps is None:
            return self.first
        return torch.cat([self.first, F.softplus(self.gaps)]).cumsum(dim=0)

    def forward(self, embedding: Tensor) -> Outputs:
        """(B, E) -> log probabilities (B, C)."""
        distance = self.thresholds - _in_float32(self.score(self.dropout(embedding)))
        below, above = F.logsigmoid(distance), F.logsigmoid(-distance)
        if self.gaps is None:
            return Outputs(logits=torch.cat([below, above], dim=1))
        # sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)), and 1 - exp(-softplus(g)) = sigmoid(g):
        # no difference of nearly equal numbers is ever formed
        between = below[:, 1:] + above[:, :-1] + F.logsigmoid(self.gaps)
        return Outputs(logits=torch.cat([below[:, :1], between, above[:, -1:]], dim=1))


class HierarchicalHead(Head):
    """First whether it is the root class (neutral), then which of the others.

    log p(root) = log sigmoid(a) and log p(c) = log sigmoid(-a) + log softmax(b)_c. Logits are these log probabilities.

    Source: Lee et al. 2011, "Emotion recognition using a hierarchical binary decision tree approach" (the first step of
    such a tree, trained as one likelihood).

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data, at least 2.
        root: name of the class that is told apart first. Until the class names are known it is the first class.
        dropout: probability, in [0, 1), that a feature of the utterance vector is dropped.

    Raises:
        RecipeError: there are fewer than two classes.
    """

    def __init__(self, input_dim: int, num_classes: int, root: str = "neutral", dropout: float = 0.0) -> None:
        super().__init__(input_dim, num_classes)
        _need_two_classes("HierarchicalHead", num_classes)
        self.root = root
        self.root_index = 0
        self.dropout = nn.Dropout(dropout)
        self.is_root = nn.Linear(input_dim, 1)
        self.others = nn.Linear(input_dim, num_classes - 1)

    def set_classes(self, classes: Sequence[str]) -> None:
        """Find the root class of the tree.

        Raises:
            RecipeError: it is not among the classes.
        """
        if self.root not in classes:
            raise RecipeError(
                f"HierarchicalHead: the root class {self.root!r} is not among the classes ({', '.join(classes)}). "
                "Name one of them, as in model.head.root=" + (classes[0] if classes else "CLASS") + "."
            )
        self.root_index = list(classes).index(self.root)

    def forward(self, embedding: Tensor) -> Outputs:
        """(B, E) -> log probabilities (B, C)."""
        vector = self.dropout(embedding)
        root = _in_float32(self.is_root(vector))
        others = F.logsigmoid(-root) + _in_float32(self.others(vector)).log_softmax(dim=1)
        parts = [others[:, : self.root_index], F.logsigmoid(root), others[:, self.root_index :]]
        return Outputs(logits=torch.cat(parts, dim=1))


class PrototypeHead(Head):
    """One learnt prototype a class: the logits are scaled cosine similarities.

    Neither the length of the utterance vector nor that of a prototype matters; a vector of zeros is equally far from
    all classes. With the objective AdditiveAngularMargin this is an ArcFace head.

    Source: Deng et al. 2019, "ArcFace", CVPR, eq. 2 (normalised weights and features, scale s).

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data.
        scale: logits are ``scale`` times the cosines; above 0.
        dim: size to which vectors are projected before they are compared; null compares them as they are.

    Raises:
        RecipeError: ``scale`` is not a positive number.
    """

    outputs = ("logits", "cosines")

    def __init__(self, input_dim: int, num_classes: int, scale: float = 30.0, dim: int | None = None) -> None:
        super().__init__(input_dim, num_classes)
        if not 0 < scale < math.inf:
            raise RecipeError(
                f"PrototypeHead: scale must be a number above 0, found {scale}. Values of 10 to 60 are usual."
            )
        self.scale = scale
        self.projection = nn.Identity() if dim is None else nn.Linear(input_dim, dim)
        size = dim or input_dim
        self.prototypes = nn.Parameter(torch.empty(num_classes, size))
        # about length 1: the cosine does not see the length, but a step of the optimiser turns a long prototype less
        nn.init.normal_(self.prototypes, std=size**-0.5)

    def forward(self, embedding: Tensor) -> Outputs:
        """(B, E) -> cosines (B, C) in [-1, 1] and logits (B, C)."""
        vector = _unit(_in_float32(self.projection(embedding)))
        # an angular margin is sensitive to cosines near 1, where half precision has steps of 0.004
        with torch.autocast(vector.device.type, enabled=False):
            cosines = (vector @ _unit(_in_float32(self.prototypes)).T).clamp(-1, 1)
        return Outputs(logits=self.scale * cosines, cosines=cosines)


def _unit(vectors: Tensor) -> Tensor:
    """Rows of length 1: (N, D) -> (N, D); a row of zeros stays, with a gradient that is not enormous."""
    length = vectors.norm(dim=1, keepdim=True)
    return vectors / torch.where(length > 1e-8, length, 1.0)
