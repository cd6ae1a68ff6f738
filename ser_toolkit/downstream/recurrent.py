"""Recurrent parts: a frame stage over time, and the last state as the utterance vector."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ser_toolkit.downstream.frames import FrameStage
from ser_toolkit.downstream.pooling import Pooling
from ser_toolkit.errors import RecipeError

Cell = Literal["lstm", "gru"]
_CELLS: dict[str, type[nn.LSTM | nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class _PackedNetwork(nn.Module):
    """A recurrent network over the valid frames alone: what stands behind the lengths is never read.

    Args:
        part: class that is configured, for messages.
        input_dim: D.
        hidden_dim: H, size of the state in each direction.
        num_layers: layers on top of each other.
        cell: "lstm" or "gru".
        bidirectional: also run from the last valid frame to the first.
        dropout: probability, in [0, 1), between layers.
    """

    def __init__(
        self,
        part: str,
        input_dim: int,
        hidden_dim: int,
        num_layers: int,
        cell: str,
        bidirectional: bool,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if cell not in _CELLS:
            raise RecipeError(f"{part}: cell must be one of {', '.join(_CELLS)}, found {cell!r}.")
        if min(hidden_dim, num_layers) < 1:
            raise RecipeError(
                f"{part}: hidden_dim ({hidden_dim}) and num_layers ({num_layers}) must be positive whole numbers."
            )
        if not 0 <= dropout < 1:
            raise RecipeError(f"{part}: dropout must lie in [0, 1), found {dropout}.")
        self.directions = 2 if bidirectional else 1
        self.output_dim = self.directions * hidden_dim
        self.cells = _CELLS[cell](
            input_dim,
            hidden_dim,
            num_layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if num_layers > 1 else 0.0,
        )

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B,) -> states of the last layer (B, T, E), zero behind the lengths; its last states (B, E)."""
        # The network runs in the precision of its weights: rounding a state to bfloat16 at every frame adds up.
        with torch.autocast(frames.device.type, enabled=False):
            values = frames.to(next(self.cells.parameters()).dtype)
            packed = pack_padded_sequence(values, lengths.cpu(), batch_first=True, enforce_sorted=False)
            states, last = self.cells(packed)
        out, _ = pad_packed_sequence(states, batch_first=True, total_length=frames.shape[1])
        hidden = last[0] if isinstance(last, tuple) else last
        summary = hidden[-self.directions :].transpose(0, 1).flatten(1)
        return out.to(frames.dtype), summary.to(frames.dtype)


class RecurrentEncoder(FrameStage):
    """A recurrent network over the frames (BLSTM, GRU): as many frames, each with its context.

    The backward direction starts at the last valid frame of each utterance, never in the padding.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory"; Schuster & Paliwal 1997, "Bidirectional recurrent
    neural networks"; Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder" (gated units).

    Args:
        input_dim: D, injected.
        hidden_dim: H, size of the state in each direction: D' = H, or 2 * H with both directions.
        num_layers: layers on top of each other.
        cell: "lstm" or "gru".
        bidirectional: run over the frames in both directions.
        dropout: probability, in [0, 1), that a value is dropped behind each layer.

    Raises:
        RecipeError: the cell is unknown, a size is not positive, or the dropout is no probability.
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int = 128,
        num_layers: int = 1,
        cell: Cell = "lstm",
        bidirectional: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(input_dim)
        self.network = _PackedNetwork(
            "RecurrentEncoder", input_dim, hidden_dim, num_layers, cell, bidirectional, dropout
        )
        self.dropout = nn.Dropout(dropout)
        self.output_dim = self.network.output_dim

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B,) -> (B, T, D'), (B,)."""
        states, _ = self.network(frames, lengths)
        return self.dropout(states), lengths


class LastStatePooling(Pooling):
    """Last state of a recurrent network: of the forward direction behind the last frame, of the backward the first.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory"; Cho et al. 2014, "Learning phrase representations
    using RNN encoder-decoder", section 2.2 (the summary c of a sequence).

    Args:
        input_dim: D, injected.
        hidden_dim: H, size of the state in each direction: E = H, or 2 * H with both directions.
        cell: "lstm" or "gru".
        bidirectional: run over the frames in both directions.

    Raises:
        RecipeError: the cell is unknown, or hidden_dim is not positive.
    """

    ordered = True

    def __init__(self, input_dim: int, hidden_dim: int = 128, cell: Cell = "lstm", bidirectional: bool = True) -> None:
        super().__init__(input_dim)
        self.network = _PackedNetwork("LastStatePooling", input_dim, hidden_dim, 1, cell, bidirectional)
        self.output_dim = self.network.output_dim

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, E)."""
        return self.network(frames, lengths)[1]
