"""Conditioning: the utterance vector meets what is known besides the sound. Off unless a recipe asks for it.

A speaker embedding needs no part of its own: it comes from the sound, so it is a second upstream fused late
(``FusedUpstreams`` with a speaker-verification encoder, ``model.fusion=LateFusion``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ser_toolkit.data.conditions import Condition, SpeakerSex
from ser_toolkit.errors import RecipeError
from ser_toolkit.parts.finding import Part


class Conditioning(nn.Module, Part):
    """Utterance vector and what is known -> utterance vector: (B, E), (B, K) -> (B, E').

    Args:
        input_dim: E, injected.
        conditions: what the model is told (null: the speaker's sex); K is the sum of their sizes.
        hidden: probability, in [0, 1), that an utterance's conditions are hidden (zeros) in training, so that the model
            also knows what to do when nothing is said.

    Raises:
        RecipeError: there is no condition, two read the same column, or ``hidden`` is out of range.
    """

    def __init__(self, input_dim: int, conditions: Sequence[Condition] | None, hidden: float) -> None:
        super().__init__()
        conditions = [SpeakerSex()] if conditions is None else conditions
        columns = [condition.column for condition in conditions]
        if not columns or len(set(columns)) != len(columns):
            raise RecipeError(
                f"{type(self).__name__}: conditions should list at least one condition, each once, found {columns}."
            )
        if not 0 <= hidden < 1:
            raise RecipeError(f"{type(self).__name__}: hidden must be in [0, 1), found {hidden}.")
        self.input_dim = self.output_dim = input_dim
        self.conditions = tuple(conditions)
        self.condition_dim = sum(len(condition.values) for condition in conditions)
        self.hidden = hidden

    def forward(self, embedding: Tensor, condition: Tensor) -> Tensor:
        """(B, E), (B, K) -> (B, E')."""
        if self.training and self.hidden > 0:
            shown = torch.rand(len(condition), 1, device=condition.device) >= self.hidden
            condition = condition * shown
        return self.combine(embedding, condition.to(embedding.dtype))

    @abstractmethod
    def combine(self, embedding: Tensor, condition: Tensor) -> Tensor:
        """(B, E), (B, K) -> (B, E')."""


class ConcatenateCondition(Conditioning):
    """A learnt embedding of what is known stands beside the utterance vector: E' = E + dim.

    Source: Diatlova et al. 2024, "Adapting WavLM for speech emotion recognition" (gender embedding).

    Args:
        input_dim: E, injected.
        conditions: what the model is told; null tells it the speaker's sex.
        dim: size of the embedding.
        hidden: probability, in [0, 1), that an utterance's conditions are hidden in training.
    """

    def __init__(
        self, input_dim: int, conditions: Sequence[Condition] | None = None, dim: int = 8, hidden: float = 0.1
    ) -> None:
        super().__init__(input_dim, conditions, hidden)
        if dim < 1:
            raise RecipeError(f"ConcatenateCondition: dim must be at least 1, found {dim}.")
        # No bias: where nothing is known the embedding is zero.
        self.embedding = nn.Linear(self.condition_dim, dim, bias=False)
        self.output_dim = input_dim + dim

    def combine(self, embedding: Tensor, condition: Tensor) -> Tensor:
        """(B, E), (B, K) -> (B, E + dim)."""
        return torch.cat([embedding, self.embedding(condition)], dim=1)


class FeatureWiseModulation(Conditioning):
    """Scale and shift each feature by known conditions: E' = E. At the start nothing changes.

    Source: Perez et al. 2018, "FiLM: visual reasoning with a general conditioning layer", eq. 1-2 (as 1 + gamma).

    Args:
        input_dim: E, injected.
        conditions: what the model is told; null tells it the speaker's sex.
        hidden: probability, in [0, 1), that an utterance's conditions are hidden in training.
    """

    def __init__(self, input_dim: int, conditions: Sequence[Condition] | None = None, hidden: float = 0.1) -> None:
        super().__init__(input_dim, conditions, hidden)
        self.scale = nn.Linear(self.condition_dim, input_dim, bias=False)
        self.shift = nn.Linear(self.condition_dim, input_dim, bias=False)
        nn.init.zeros_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def combine(self, embedding: Tensor, condition: Tensor) -> Tensor:
        """(B, E), (B, K) -> (B, E)."""
        return embedding * (1 + self.scale(condition)) + self.shift(condition)
