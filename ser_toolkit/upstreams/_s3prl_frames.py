"""Frames that an s3prl model makes of a number of samples: found by running it, because no attribute gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ser_toolkit.errors import RecipeError

#: Samples of the longest recording that is tried while the shortest one that a model takes is looked for.
LONGEST_PROBE = 16000
#: Errors that models raise on recordings that are too short for them.
_TOO_SHORT = (RuntimeError, ValueError, AssertionError, IndexError, ZeroDivisionError)

NumberT = TypeVar("NumberT", int, Tensor)


@dataclass(frozen=True)
class Framing:
    """Frames of a recording: ``(samples - offset) // hop``, from ``receptive`` samples on.

    Args:
        hop: distance of two frames, in samples.
        offset: samples by which a recording must exceed its whole hops; negative for models that pad.
        receptive: the shortest recording that the model takes, in samples.
    """

    hop: int
    offset: int
    receptive: int

    def count(self, samples: NumberT) -> NumberT:
        """Number of frames in a waveform of so many samples.

        >>> Framing(hop=320, offset=80, receptive=400).count(16000)
        49
        """
        return (samples - self.offset) // self.hop


def measure_framing(states: Callable[[Tensor], Tensor], hop: int, name: str) -> Framing:
    """Find the framing of a model from about twenty-five recordings of noise, most of them of a few frames.

    Args:
        states: (N,) waveform -> (L, T, D) hidden states.
        hop: distance of two frames that the model claims, in samples.
        name: of the model, for messages.

    Raises:
        RecipeError: the number of frames does not grow by one every ``hop`` samples.
    """
    noise = 0.1 * torch.randn(2 * LONGEST_PROBE, generator=torch.Generator().manual_seed(0))

    def count(samples: int) -> int:
        return int(states(noise[:samples]).shape[1])

    receptive = _shortest(lambda samples: states(noise[:samples]), hop, name)
    low = receptive
    base = count(low)
    if count(low + hop) != base + 1:
        raise _uneven(name, hop)
    high = low + hop
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) == base else (low, middle)
    framing = Framing(hop, high - (base + 1) * hop, receptive)
    if any(count(samples) != framing.count(samples) for samples in (receptive + 7 * hop + hop // 2, 8000, 23999)):
        raise _uneven(name, hop)
    return framing


def _shortest(states: Callable[[Tensor | int], Tensor], hop: int, name: str) -> int:
    """The smallest number of samples of which a model makes at least one frame, all of them finite."""

    def passes(samples: int) -> bool:
        try:
            found = states(samples)
        except _TOO_SHORT:
            return False
        return found.shape[1] > 0 and bool(found.isfinite().all())

    low, high = 0, max(hop, 1)
    while not passes(high):
        low, high = high, 2 * high
        if high > LONGEST_PROBE:
            raise RecipeError(f"s3prl's {name} makes no finite frames of {low} samples of noise. Choose another.")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


def _uneven(name: str, hop: int) -> RecipeError:
    return RecipeError(
        f"s3prl's {name} does not make one more frame every {hop} samples, so its frames cannot be placed in time. "
        "Choose an upstream with a steady frame rate."
    )
