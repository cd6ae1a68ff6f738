"""Utterances through a model one at a time: what makes any model's results independent of padding."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def one_by_one(states: Callable[[Tensor], Tensor], wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Run a model on every utterance alone, with gradients: (B, N), (B,) -> (B, L, T, D), (B,).

    Args:
        states: (N,) waveform -> (L, T, D) hidden states.
        wav: waveforms; what lies behind ``lengths`` is not heard.
        lengths: valid samples of each.
    """
    rows = [states(signal[:length]) for signal, length in zip(wav, lengths.tolist(), strict=True)]
    counts = torch.tensor([row.shape[1] for row in rows], device=lengths.device)
    longest = int(counts.max())
    return torch.stack([nn.functional.pad(row, (0, 0, 0, longest - row.shape[1])) for row in rows]), counts
