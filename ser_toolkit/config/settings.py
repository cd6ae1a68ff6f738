"""Settings of a recipe that are no parts: which units are made, and how long and how exactly they are trained."""

from __future__ import annotations

from dataclasses import dataclass

from ser_toolkit.data.limits import check_above_zero, check_least
from ser_toolkit.errors import RecipeError


@dataclass(frozen=True)
class RunSettings:
    """Settings at the top of a recipe.

    Args:
        fold: name or number (from 1) of a fold, or ``all``.
        seed: the first.
        seeds: how many.
        jobs: folds trained side by side.
        baselines: names.
        output: folder of the run directories.
        start_from: a run of the same folds whose weights every unit starts from.
        dry_run: whether only the plan is printed.
        worker: whether another process does the rest: baselines, record and report.
    """

    fold: str | int
    seed: int
    seeds: int
    jobs: int
    baselines: tuple[str, ...]
    output: str
    start_from: str | None
    dry_run: bool
    worker: bool


@dataclass(frozen=True)
class TrainerSettings:
    """Settings of Lightning's trainer that are asked for outside of it; None where Lightning chooses.

    Args:
        accelerator: ``auto``, ``cpu``, ``gpu``, ``cuda`` ...
        precision: such as ``32-true``.
        max_epochs: epochs of training; endless where it is None or negative.
        max_steps: steps of training; -1 for no limit.
        fast_dev_run: whether a few batches are run and nothing is kept.
        accumulate_grad_batches: batches of a step.
        gradient_clip_val: limit of the gradients.
        limit_train_batches: batches of an epoch, a number or a share.
    """

    accelerator: str
    precision: str | int | None
    max_epochs: int | None
    max_steps: int
    fast_dev_run: bool | int
    accumulate_grad_batches: int
    gradient_clip_val: float | None
    limit_train_batches: float | None

    def check(self, upstream_lr: float | None) -> None:
        """Refuse settings with which nothing would be trained, or gradients would be left as they are.

        Args:
            upstream_lr: ``model.upstream_lr``.

        Raises:
            RecipeError: a number is outside its limits.
        """
        endless = self.max_epochs is None or self.max_epochs < 0  # until max_steps
        if self.max_epochs == 0 or (endless and self.max_steps < 1):
            raise RecipeError(f"trainer.max_epochs must be at least 1, found {self.max_epochs}.")
        if self.fast_dev_run:
            raise RecipeError(
                "trainer.fast_dev_run keeps no weights, so that there is nothing to test. For a quick look take "
                "trainer.max_epochs=1 trainer.limit_train_batches=2."
            )
        check_least({"trainer.max_steps": None if self.max_steps == -1 else self.max_steps}, 1)
        check_least({"trainer.accumulate_grad_batches": self.accumulate_grad_batches}, 1)
        check_least({"trainer.gradient_clip_val": self.gradient_clip_val, "model.upstream_lr": upstream_lr}, 0)
        check_above_zero({"trainer.limit_train_batches": self.limit_train_batches})
