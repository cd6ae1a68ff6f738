"""Choice of one channel of a recording that has several."""

from __future__ import annotations

import numpy as np

from ser_toolkit.errors import AudioError, RecipeError

#: All channels averaged.
MIX = "mix"
_NAMES = {"left": 0, "right": 1}


def channel_index(channel: str | int) -> int | None:
    """Number of the channel, from 0; None for the average of all.

    Raises:
        RecipeError: it is neither ``mix``, ``left``, ``right`` nor a number from 0 on.

    >>> channel_index("mix"), channel_index("right"), channel_index("0")
    (None, 1, 0)
    """
    if channel == MIX:
        return None
    if str(channel).isdecimal():
        return int(channel)
    if channel not in _NAMES:
        raise RecipeError(f"data.channel is {channel!r}, expected mix, left, right or a number from 0 on.")
    return _NAMES[str(channel)]


def one_channel(samples: np.ndarray, channel: str | int, name: str) -> np.ndarray:
    """Choose a channel, or average all: (N, C) -> (N,). A recording of one channel is taken as it is.

    Raises:
        AudioError: the recording has several channels, but not this one.
    """
    if samples.shape[1] == 1:
        return samples[:, 0]
    index = channel_index(channel)
    if index is None:
        return samples.mean(axis=1, dtype=np.float32)
    if index >= samples.shape[1]:
        raise AudioError(
            f"{name}: {samples.shape[1]} channels, numbered from 0: there is no channel {index} as data.channel says."
        )
    return samples[:, index]
