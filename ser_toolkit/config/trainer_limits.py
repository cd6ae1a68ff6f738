"""Numbers that settings of the trainer may have."""

from __future__ import annotations

from typing import Any

from ser_toolkit.data.limits import check_above_zero, check_least
from ser_toolkit.errors import RecipeError


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
