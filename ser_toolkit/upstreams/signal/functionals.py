"""Functionals: a contour over time in a few numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

#: Seconds and values of one contour, at least one frame -> one number.
Functional = Callable[[np.ndarray, np.ndarray], float]


def slope(seconds: np.ndarray, values: np.ndarray) -> float:
    """Slope of the least-squares line, per second; 0 for a single frame: (T,), (T,) -> one number."""
    centred = seconds - seconds.mean()
    spread = float(centred @ centred)
    return float(centred @ (values - values.mean())) / spread if spread > 0 else 0.0


#: Statistics by name. Percentiles are interpolated linearly; the standard deviation is the population's.
FUNCTIONALS: dict[str, Functional] = {
    "mean": lambda seconds, values: float(values.mean()),
    "std": lambda seconds, values: float(values.std()),
    "p05": lambda seconds, values: float(np.percentile(values, 5)),
    "median": lambda seconds, values: float(np.median(values)),
    "p95": lambda seconds, values: float(np.percentile(values, 95)),
    "slope": slope,
}


def functionals(contour: np.ndarray, seconds: np.ndarray, names: Sequence[str]) -> list[float]:
    """Statistics of one contour: (T,), (T,) -> one number for each name; zeros where there is no frame.

    Args:
        contour: values; NaN marks frames in which there is none (F0 of unvoiced speech).
        seconds: when each frame is.
        names: of ``FUNCTIONALS``.
    """
    there = ~np.isnan(contour)
    if not there.any():
        return [0.0] * len(names)
    values, times = contour[there].astype(np.float64), seconds[there]
    return [FUNCTIONALS[name](times, values) for name in names]
