"""Optimisers that torch does not bring along in the form that linear heads need, and a check of one scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import LBFGS
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ser_toolkit.errors import RecipeError


class RegularisedLBFGS(LBFGS):
    """L-BFGS with an L2 penalty: solves a linear head on fixed vectors to its optimum, whatever the start.

    Minimises loss + weight_decay / 2 * |W|^2 over the weights W (biases are left alone). Give the whole training part
    as one batch (``data.batch_size`` at least its size) and one epoch: one step runs up to ``max_iter`` iterations.

    Source: Liu and Nocedal 1989, "On the limited memory BFGS method", Mathematical Programming 45.

    Args:
        params: what is trained; one parameter group.
        weight_decay: strength of the L2 penalty.
        max_iter: iterations in a step, at most.
        tolerance_grad: stop when no gradient is larger.
        tolerance_change: stop when loss or parameters change by less.
        history_size: gradients remembered.
    """

    def __init__(
        self,
        params: Iterable,
        weight_decay: float = 1e-4,
        max_iter: int = 100,
        tolerance_grad: float = 1e-6,
        tolerance_change: float = 1e-9,
        history_size: int = 20,
    ) -> None:
        super().__init__(
            params,
            # No option: jsonargparse would carry the learning rate of the optimiser that this one replaces over to it,
            # and a line search that starts at Adam's 0.001 does not reach the optimum in a few dozen iterations.
            lr=1.0,
            max_iter=max_iter,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
            history_size=history_size,
            line_search_fn="strong_wolfe",
        )
        self.weight_decay = weight_decay

    def step(self, closure: Callable[[], Tensor | float]) -> Any:  # type: ignore[override]
        """Up to ``max_iter`` iterations on one batch."""
        weights = [p for group in self.param_groups for p in group["params"] if p.ndim > 1 and p.requires_grad]

        def penalised() -> Tensor | float:
            with torch.enable_grad():
                loss = closure()
            penalty = 0.0
            with torch.no_grad():
                for weight in weights:
                    if weight.grad is not None:
                        weight.grad.add_(weight, alpha=self.weight_decay)
                    penalty += 0.5 * self.weight_decay * float(weight.square().sum())
            return loss + penalty

        return super().step(penalised)


def check_plateau(scheduler: ReduceLROnPlateau, monitor: str, has_dev: bool) -> None:
    """Refuse a ReduceLROnPlateau that would look the wrong way, or at nothing.

    Args:
        scheduler: as configured.
        monitor: the dev metric it is shown.
        has_dev: whether there is a dev part to compute it on.

    Raises:
        RecipeError: torch's default mode "min" is left on a metric that is to rise, or there is no dev part.
    """
    better = "min" if monitor.endswith("loss") else "max"
    if scheduler.mode != better:
        raise RecipeError(
            f"ReduceLROnPlateau with mode={scheduler.mode} would lower the learning rate while {monitor} improves. "
            f"Set mode: {better} in the lr_scheduler's init_args."
        )
    if not has_dev:
        raise RecipeError(
            f"ReduceLROnPlateau looks at {monitor}, but there is no dev part to compute it on (a protocol without one, "
            "or a refit on train + dev). Choose a scheduler that follows the epochs."
        )
