"""Context stage: utterance vectors meet those of the same dialogue, between pooling and head."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from ser_toolkit.parts.finding import Part


class ContextStage(nn.Module, Part):
    """Utterance vectors and their places in dialogues -> utterance vectors: (B, E), (B,), (B,) -> (B, E').

    A context stage sees the rows of one batch. Which these are is the sampler's choice: today shuffled utterances in
    training, and utterances of similar length in testing, so that a batch holds parts of dialogues, never whole ones on
    purpose; under several processes each sees its own rows. Recognition of a recording alone gives no dialogue.

    Contract (tested for every context stage): rows of other dialogues never change a result, nor does the order of the
    rows; a row whose dialogue is unknown (-1) is an utterance alone.

    Args:
        input_dim: E, injected.
    """

    output_dim: int

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        self.input_dim = self.output_dim = input_dim

    @abstractmethod
    def forward(self, vectors: Tensor, dialogue: Tensor, turn: Tensor) -> Tensor:
        """Vectors (B, E) -> (B, E').

        Args:
            vectors: (B, E) of the utterances, as pooled and normalised.
            dialogue: (B,) index of each utterance's dialogue, -1 where unknown: each such utterance stands alone.
            turn: (B,) place in the dialogue, in the order of start times, -1 where unknown.
        """


class NoContext(ContextStage):
    """Each utterance is judged alone: E' = E.

    Args:
        input_dim: E, injected.
    """

    def forward(self, vectors: Tensor, dialogue: Tensor, turn: Tensor) -> Tensor:
        """(B, E) -> (B, E), unchanged."""
        return vectors
