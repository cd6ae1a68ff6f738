"""A context stage of one's own, of thirty lines; it does not ship. Tests copy this file into a working directory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ser_toolkit.downstream.context import ContextStage


class RecurrentContext(ContextStage):
    """A GRU over the turns of each dialogue, from the first to the last: E' = hidden_dim.

    Args:
        input_dim: E, injected.
        hidden_dim: size of the state.
    """

    def __init__(self, input_dim: int, hidden_dim: int = 8) -> None:
        super().__init__(input_dim)
        self.output_dim = hidden_dim
        self.recurrent = nn.GRU(input_dim, hidden_dim, batch_first=True)

    def forward(self, vectors: Tensor, dialogue: Tensor, turn: Tensor) -> Tensor:
        """(B, E), (B,), (B,) -> (B, E')."""
        alone = -1 - torch.arange(len(dialogue), device=dialogue.device)
        group = torch.where(dialogue < 0, alone, dialogue)
        rows = [torch.nonzero(group == one)[:, 0] for one in group.unique()]
        rows = [some[turn[some].argsort(stable=True)] for some in rows]
        # the state runs forward alone, so that what is padded behind the last turn never matters
        states, _ = self.recurrent(pad_sequence([vectors[some] for some in rows], batch_first=True))
        found = torch.cat([state[: len(some)] for state, some in zip(states, rows, strict=True)])
        return found[torch.cat(rows).argsort()]
