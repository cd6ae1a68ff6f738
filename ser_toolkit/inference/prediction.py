"""The prediction for one recording, with class, probabilities and dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Prediction:
    """The emotion of one recording, as a recogniser predicts it.

    Args:
        label: the most probable class, or None for a system without classes.
        probabilities: by class, in class order, summing to 1; None for a system without classes.
        dimensions: valence, arousal and dominance, those that had ratings in training, on ``dimension_range``; they are
            not clipped, so that a linear head may leave it. None for a system that was not trained on them.
        duration: of the recording, in seconds.
        windows: how many stretches of a long recording were averaged; 1 when it was taken as a whole.
        dimension_range: lowest and highest rating on the scale of the training corpus, such as (1, 7); (0, 1) for a run
            on several corpora, whose scales were brought to it.
    """

    label: str | None
    probabilities: dict[str, float] | None
    dimensions: dict[str, float] | None
    duration: float
    windows: int = 1
    dimension_range: tuple[float, float] = (0.0, 1.0)


def prediction_from(
    values: np.ndarray,
    classes: Sequence[str],
    dimensions: Sequence[str],
    duration: float,
    windows: int,
    dimension_range: tuple[float, float] | None = None,
) -> Prediction:
    """Make the prediction of a recording from its numbers.

    Args:
        values: (C,) probabilities, then (D,) dimensions where there are any, scaled to [0, 1] as in training.
        classes: C names; empty for a system without classes.
        dimensions: names of the dimensions that follow; empty for none.
        duration: in seconds.
        windows: how many windows the values are the mean of.
        dimension_range: scale that dimensions are brought back to; None leaves them.
    """
    numbers = [float(value) for value in values]
    low, high = dimension_range or (0.0, 1.0)
    scaled = [low + (high - low) * value for value in numbers[len(classes) :]]
    return Prediction(
        classes[int(np.argmax(values[: len(classes)]))] if classes else None,
        dict(zip(classes, numbers[: len(classes)], strict=True)) if classes else None,
        dict(zip(dimensions, scaled, strict=True)) if dimensions else None,
        duration,
        windows,
        (low, high),
    )
