"""What a recogniser says about one recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Prediction:
    """What a recogniser says about one recording.

    Args:
        label: the most probable class, or None for a system without classes.
        probabilities: by class, in class order, summing to 1; None for a system without classes.
        dimensions: valence, arousal and dominance on the scale that the targets were brought to, [0, 1]; they are not
            clipped, so that a linear head may leave it. None for a system that was not trained on them.
        duration: of the recording, in seconds.
        windows: how many stretches of a long recording were averaged; 1 when it was taken as a whole.
    """

    label: str | None
    probabilities: dict[str, float] | None
    dimensions: dict[str, float] | None
    duration: float
    windows: int = 1


def prediction_from(
    values: np.ndarray, classes: Sequence[str], dimensions: Sequence[str], duration: float, windows: int
) -> Prediction:
    """Name the numbers of a recording.

    Args:
        values: (C,) probabilities, then (3,) dimensions where there are any.
        classes: C names; empty for a system without classes.
        dimensions: names of the dimensions that follow; empty for none.
        duration: in seconds.
        windows: how many windows the values are the mean of.
    """
    numbers = [float(value) for value in values]
    return Prediction(
        classes[int(np.argmax(values[: len(classes)]))] if classes else None,
        dict(zip(classes, numbers[: len(classes)], strict=True)) if classes else None,
        dict(zip(dimensions, numbers[len(classes) :], strict=True)) if dimensions else None,
        duration,
        windows,
    )
