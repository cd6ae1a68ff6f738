"""What a model needs of the loaders of a fold."""

from __future__ import annotations

from dataclasses import dataclass

from ser_toolkit.data.conditions import Condition


@dataclass(frozen=True)
class Needs:
    """What a model needs of the batches it is given.

    Args:
        sampling_rate: of waveforms, in Hz.
        conditions: what the model is told of an utterance besides its sound.
    """

    sampling_rate: int
    conditions: tuple[Condition, ...] = ()
