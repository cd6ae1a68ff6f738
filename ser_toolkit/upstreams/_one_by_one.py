"""Utterances through a model one at a time, which makes the results of any model independent of padding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import pad_sequences
from ser_toolkit.errors import AudioError


def one_by_one(states: Callable[[Tensor], Tensor], wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Run a model on every utterance alone, with gradients: (B, N), (B,) -> (B, L, T, D), (B,).

    Args:
        states: (N,) waveform -> (L, T, D) hidden states.
        wav: (B, N) waveforms; samples beyond ``lengths`` never change a result.
        lengths: valid samples of each.
    """
    rows = [states(signal[:length]) for signal, length in zip(wav, lengths.tolist(), strict=True)]
    counts = torch.tensor([row.shape[1] for row in rows], device=lengths.device)
    longest = int(counts.max())
    return torch.stack([nn.functional.pad(row, (0, 0, 0, longest - row.shape[1])) for row in rows]), counts


def arrays_one_by_one(
    who: str, features: Callable[[np.ndarray], np.ndarray], wav: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute every utterance alone by a library that takes NumPy arrays: (B, N), (B,) -> (B, 1, T, D), (B,).

    Args:
        who: name of the library, for messages.
        features: (N,) float32 waveform, finite, on the CPU -> (T, D) float32.
        wav: (B, N) waveforms; samples beyond ``lengths`` never change a result.
        lengths: valid samples of each.

    Raises:
        AudioError: a recording is not finite.
    """
    signals = wav.detach().to("cpu", torch.float32).numpy()
    rows = []
    for signal, length in zip(signals, lengths.tolist(), strict=True):
        if not np.isfinite(signal[:length]).all():
            raise AudioError(
                f"{who} got a recording of {length} samples of which some are not finite numbers. "
                "Repair it or remove it from the corpus."
            )
        rows.append(torch.from_numpy(features(signal[:length])))
    frames, counts = pad_sequences(rows)
    return frames[:, None].to(wav.device), counts.to(lengths.device)
