"""Numbers that a setting may have: one message for all of them, before anything is read or trained."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ser_toolkit.errors import RecipeError

Numbers = Mapping[str, float | None]


def check_least(settings: Numbers, least: float) -> None:
    """Refuse numbers below a limit, and what is no number; None is no setting.

    Args:
        settings: value by the key of the command line.
        least: the smallest value that is allowed.

    Raises:
        RecipeError: one is smaller, not finite or not a number.
    """
    for name, value in settings.items():
        if value is not None and not (least <= value < math.inf):
            raise RecipeError(f"{name} must be at least {least:g}, found {value:g}.")


def check_above_zero(settings: Numbers) -> None:
    """Refuse numbers that are not above 0; None is no setting.

    Raises:
        RecipeError: one is 0, negative, not finite or not a number.
    """
    for name, value in settings.items():
        if value is not None and not (0 < value < math.inf):
            raise RecipeError(f"{name} must be above 0, found {value:g}.")


def check_data(sizes: Numbers, lengths: Numbers, others: Numbers) -> None:
    """Refuse sizes of batches below 1, lengths that are not above 0 and other negative settings of the data.

    Args:
        sizes: utterances or steps, by their names in the group ``data``.
        lengths: seconds, by their names without ``_seconds``.
        others: what may be 0.

    Raises:
        RecipeError: a number is outside its limits.
    """
    check_least({f"data.{name}": value for name, value in sizes.items()}, 1)
    check_above_zero({f"data.{name}_seconds": value for name, value in lengths.items()})
    check_least({f"data.{name}": value for name, value in others.items()}, 0)
