"""Numbers that a setting may have: one message for all of them, before anything is read or trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

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


def check_training(trainer: Any, upstream_lr: float | None) -> None:
    """Refuse settings of a trainer with which nothing would be trained, or gradients would be left as they are.

    Args:
        trainer: the group of the configuration.
        upstream_lr: ``model.upstream_lr``.

    Raises:
        RecipeError: a number is outside its limits.
    """
    endless = trainer.max_epochs is None or trainer.max_epochs < 0  # until max_steps
    if trainer.max_epochs == 0 or (endless and trainer.max_steps < 1):
        raise RecipeError(f"trainer.max_epochs must be at least 1, found {trainer.max_epochs}.")
    if trainer.fast_dev_run:
        raise RecipeError(
            "trainer.fast_dev_run keeps no weights, so that there is nothing to test. For a quick look take "
            "trainer.max_epochs=1 trainer.limit_train_batches=2."
        )
    check_least({"trainer.max_steps": None if trainer.max_steps == -1 else trainer.max_steps}, 1)
    check_least({"trainer.accumulate_grad_batches": trainer.accumulate_grad_batches}, 1)
    check_least({"trainer.gradient_clip_val": trainer.gradient_clip_val, "model.upstream_lr": upstream_lr}, 0)
    check_above_zero({"trainer.limit_train_batches": trainer.limit_train_batches})
