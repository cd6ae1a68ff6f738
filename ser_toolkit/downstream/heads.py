"""Heads: utterance vector -> logits and/or valence, arousal, dominance."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import DIMENSIONS, Outputs
from ser_toolkit.errors import RecipeError
from ser_toolkit.parts.finding import Part

Activation = Literal["relu", "gelu", "tanh"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


class Head(nn.Module, Part):
    """Utterance vector -> outputs: (B, E) -> Outputs.

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data.
    """

    #: Fields of Outputs that the head fills in: "logits", "dimensions", "frame_logits", "cosines".
    outputs: tuple[str, ...] = ("logits",)

    def __init__(self, input_dim: int, num_classes: int) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.num_classes = num_classes

    @abstractmethod
    def forward(self, embedding: Tensor) -> Outputs:
        """(B, E) -> Outputs with ``logits`` (B, C) and/or ``dimensions`` (B, 3)."""

    def set_classes(self, classes: Sequence[str]) -> None:
        """Hear which classes there are, in order, before the first use; most heads need not know.

        Raises:
            RecipeError: a class that the head needs is not there.
        """


def trained_outputs(given: Collection[str], required: Collection[str]) -> tuple[str, ...]:
    """The outputs of a head that an objective looks at; the others stay as random as the head began.

    Logits are trained too where the objective looks at what they are made of (cosines, logits of frames).

    >>> trained_outputs(("logits", "dimensions"), ("dimensions",)), trained_outputs(("logits", "cosines"), ("cosines",))
    (('dimensions',), ('logits', 'cosines'))

    Args:
        given: ``Head.outputs``.
        required: ``Objective.requires``.
    """
    behind = {"logits"} if {"cosines", "frame_logits"} & set(required) else set()
    return tuple(name for name in given if name in {*required, *behind})


class FrameHead(Head):
    """A head that judges frames: (B, T, D), (B,) -> Outputs. The pooling then serves as the embedding only.

    Args:
        input_dim: D of the frames that enter the pooling, injected.
        num_classes: C, injected from the data.
    """

    @abstractmethod
    def from_frames(self, frames: Tensor, lengths: Tensor) -> Outputs:
        """(B, T, D), (B,) -> Outputs; frames behind ``lengths`` (at least 1) must never matter."""

    def forward(self, embedding: Tensor) -> Outputs:
        """(B, D) vectors: each is a sequence of one frame."""
        return self.from_frames(
            embedding[:, None], torch.ones(len(embedding), dtype=torch.long, device=embedding.device)
        )


class FittedHead(Head):
    """A head that a library fits at once on fixed utterance vectors, without gradients.

    What was fitted is kept in buffers, so that it is stored, averaged over folds and loaded like every other weight
    (safetensors, nothing pickled). Buffers may have any shape once fitted.

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data.
    """

    @abstractmethod
    def fit(self, vectors: Tensor, labels: Tensor) -> None:
        """Fit to the training part: (N, E) as the head will see them, (N,) class indices, none missing.

        Raises:
            TrainingError: the library cannot fit these.
        """

    def match_shapes(self, state: Mapping[str, Tensor]) -> None:
        """Make every buffer as large as in a stored state, whose names start at this head."""
        for name, buffer in list(self.named_buffers(recurse=False)):
            if name in state and state[name].shape != buffer.shape:
                setattr(self, name, torch.zeros_like(state[name], device=buffer.device))


def _hidden(
    input_dim: int, hidden_dim: int | None, activation: Activation, dropout: float
) -> tuple[nn.Sequential, int]:
    """Dropout, then (unless ``hidden_dim`` is None) linear, activation, dropout; and the size that comes out."""
    if hidden_dim is None:
        return nn.Sequential(nn.Dropout(dropout)), input_dim
    layers = [nn.Dropout(dropout), nn.Linear(input_dim, hidden_dim), _ACTIVATIONS[activation](), nn.Dropout(dropout)]
    return nn.Sequential(*layers), hidden_dim


class LinearHead(Head):
    """One linear layer to the classes.

    Behind LinearProjection(256) and MeanPooling this is the SUPERB head, behind LinearReLU(256) the EmoBox head.

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data.
        dropout: probability, in [0, 1), that a feature of the utterance vector is dropped.
    """

    def __init__(self, input_dim: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__(input_dim, num_classes)
        self.dropout = nn.Dropout(dropout)
        self.classes = nn.Linear(input_dim, num_classes)

    def forward(self, embedding: Tensor) -> Outputs:
        """(B, E) -> logits (B, C)."""
        return Outputs(logits=self.classes(self.dropout(embedding)))


class MLPHead(Head):
    """Hidden layers, then one linear layer to the classes.

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data.
        hidden_dim: size of each hidden layer.
        num_layers: number of hidden layers, at least 1.
        dropout: probability, in [0, 1), that a feature is dropped behind each hidden layer.
        activation: behind each hidden layer.

    Raises:
        RecipeError: there is no hidden layer, or the activation is unknown.
    """

    def __init__(
        self,
        input_dim: int,
        num_classes: int,
        hidden_dim: int = 128,
        num_layers: int = 1,
        dropout: float = 0.2,
        activation: Activation = "relu",
    ) -> None:
        super().__init__(input_dim, num_classes)
        if num_layers < 1:
            raise RecipeError(f"MLPHead: num_layers must be at least 1, found {num_layers}. For none use LinearHead.")
        if activation not in _ACTIVATIONS:
            raise RecipeError(f"MLPHead: activation must be one of {', '.join(_ACTIVATIONS)}, found {activation!r}.")
        layers: list[nn.Module] = []
        for size in [input_dim] + [hidden_dim] * (num_layers - 1):
            layers += [nn.Linear(size, hidden_dim), _ACTIVATIONS[activation](), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.classes = nn.Linear(hidden_dim, num_classes)

    def forward(self, embedding: Tensor) -> Outputs:
        """(B, E) -> logits (B, C)."""
        return Outputs(logits=self.classes(self.hidden(embedding)))


class RegressionHead(Head):
    """Valence, arousal and dominance, without a bound (targets are scaled to [0, 1]).

    Source: Wagner et al. 2023, "Dawn of the transformer era in speech emotion recognition" (hidden_dim as large as
    the utterance vector, tanh, dropout 0.1).

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data; not used.
        hidden_dim: size of the hidden layer with tanh; null for none.
        dropout: probability, in [0, 1), that a feature is dropped before and behind the hidden layer.
    """

    outputs = ("dimensions",)

    def __init__(self, input_dim: int, num_classes: int, hidden_dim: int | None = None, dropout: float = 0.0) -> None:
        super().__init__(input_dim, num_classes)
        self.hidden, size = _hidden(input_dim, hidden_dim, "tanh", dropout)
        self.dimensions = nn.Linear(size, len(DIMENSIONS))

    def forward(self, embedding: Tensor) -> Outputs:
        """(B, E) -> dimensions (B, 3): valence, arousal, dominance."""
        return Outputs(dimensions=self.dimensions(self.hidden(embedding)))


class MultiTaskHead(Head):
    """Classes and valence, arousal, dominance from one shared hidden layer.

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data.
        hidden_dim: size of the shared hidden layer with ReLU; null for none.
        dropout: probability, in [0, 1), that a feature is dropped before and behind the hidden layer.
    """

    outputs = ("logits", "dimensions")

    def __init__(self, input_dim: int, num_classes: int, hidden_dim: int | None = 128, dropout: float = 0.2) -> None:
        super().__init__(input_dim, num_classes)
        self.hidden, size = _hidden(input_dim, hidden_dim, "relu", dropout)
        self.classes = nn.Linear(size, num_classes)
        self.dimensions = nn.Linear(size, len(DIMENSIONS))

    def forward(self, embedding: Tensor) -> Outputs:
        """(B, E) -> logits (B, C) and dimensions (B, 3)."""
        shared = self.hidden(embedding)
        return Outputs(logits=self.classes(shared), dimensions=self.dimensions(shared))
