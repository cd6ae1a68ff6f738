"""Choice of the next trial: the candidates one after the other, or draws of Optuna that learn from those before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_toolkit.config.selection import Range, Selection, parse_range
from ser_toolkit.errors import RecipeError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def proposal(selection: Selection, done: Sequence[tuple[str, float]], seed: int) -> str:
    """Overrides of the next trial, several separated by blanks.

    Draws depend on the seed, the number of the trial and what the trials before brought, on nothing else: a search
    that was killed goes on as if it had not been.

    Args:
        selection: candidates, or a space.
        done: overrides and dev value of the trials before, in order.
        seed: of the draws.

    Raises:
        RecipeError: a space is searched, but Optuna is not installed.
    """
    if selection.candidates:
        return selection.candidates[len(done)]
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # spread well: the first draws of neighbouring seeds lie close together
    state = int(np.random.SeedSequence((seed, len(done))).generate_state(1)[0])
    sampler = optuna.samplers.TPESampler(seed=state)
    study = optuna.create_study(direction="maximize" if selection.mode == "max" else "minimize", sampler=sampler)
    # in order of the keys: a recipe that writes them in another one is the same run
    ranges = {key: parse_range(text, key) for key, text in sorted(selection.space.items())}
    space = {key: _distribution(optuna, value) for key, value in ranges.items()}
    for overrides, value in done:
        if not math.isfinite(value):
            continue  # it could not be trained, so there is nothing to learn from its value
        params = _params(overrides, ranges)
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=value))
    drawn = study.ask(space).params
    return " ".join(f"{key}={_text(drawn[key])}" for key in selection.space)


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise RecipeError(
            'selection.space is searched by Optuna, which is not installed: pip install "ser-toolkit[sweep]", or list '
            "selection.candidates."
        ) from error
    return optuna


def _distribution(optuna: Any, drawn: Range) -> BaseDistribution:
    if drawn.kind == "choice":
        return optuna.distributions.CategoricalDistribution(drawn.choices)
    if drawn.kind == "int":
        return optuna.distributions.IntDistribution(int(drawn.low), int(drawn.high))
    return optuna.distributions.FloatDistribution(drawn.low, drawn.high, log=drawn.kind == "log")


def _params(overrides: str, ranges: dict[str, Range]) -> dict[str, Any]:
    """Values of a trial's overrides, as Optuna drew them."""
    read: dict[str, Any] = {"choice": str, "int": int, "log": float, "uniform": float}
    pairs = (override.split("=", 1) for override in overrides.split())
    return {key: read[ranges[key].kind](value) for key, value in pairs}


def _text(value: Any) -> str:
    """Text of a drawn value; numbers have four digits, as fine as anyone searches."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
