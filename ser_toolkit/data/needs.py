"""Demands of a model on the loaders of a fold."""

from __future__ import annotations

from dataclasses import dataclass

from ser_toolkit.data.conditions import Condition


@dataclass(frozen=True)
class Needs:
    """Demands of a model on its batches: sampling rate and conditions.

    Args:
        sampling_rate: of waveforms, in Hz.
        conditions: facts about an utterance that the model takes besides its sound.
    """

    sampling_rate: int
    conditions: tuple[Condition, ...] = ()
