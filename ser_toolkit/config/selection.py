"""How the weights that are tested are chosen, on dev, inside every fold."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from ser_toolkit.errors import RecipeError, nearest
from ser_toolkit.terms import DIMENSIONS

#: Figures of the dev part after every epoch.
MONITORS = (
    *(f"dev/{name}" for name in ("uar", "accuracy", "macro_f1", "loss", "ccc")),
    *(f"dev/ccc_{name}" for name in DIMENSIONS),
)


@dataclass(frozen=True)
class Selection:
    """How the weights that are tested are chosen. Test data never take part.

    Args:
        monitor: what the best epochs are chosen by: dev/uar, dev/accuracy, dev/macro_f1, dev/ccc or dev/loss.
        mode: whether more or less of it is better.
        average: the weights of this many best epochs are averaged (1: the best alone); without a dev part, of the last.
        patience: stop when this many epochs brought nothing better; null never stops early.
        refit: after the selection, train again on train + dev for as many epochs as the best needed.
        candidates: overrides of which the best on dev is taken in every fold, each as on the command line (several
            separated by blanks): "model.optimizer.lr=1e-3". They may change the parts and their training, not the data.
        space: instead of candidates, what Optuna draws from in every fold, by key: "log(1e-5, 1e-2)",
            "uniform(0, 0.5)", "int(32, 512)" or "[MeanPooling, MaxPooling]".
        trials: how many draws from the space.
    """

    monitor: str = "dev/uar"
    mode: Literal["max", "min"] = "max"
    average: int = 1
    patience: int | None = None
    refit: bool = False
    candidates: list[str] = field(default_factory=list)
    space: dict[str, str] = field(default_factory=dict)
    trials: int | None = None

    def __post_init__(self) -> None:
        if self.average < 1:
            raise RecipeError(f"selection.average must be at least 1, found {self.average}.")
        if self.patience is not None and self.patience < 0:
            raise RecipeError(f"selection.patience must be at least 0, found {self.patience}.")
        if self.monitor not in MONITORS:
            raise RecipeError(f"selection.monitor={self.monitor} is not measured. {nearest(self.monitor, MONITORS)}")
        if (self.monitor == "dev/loss") != (self.mode == "min"):
            raise RecipeError(
                f"selection.monitor={self.monitor} with selection.mode={self.mode} would choose the worst epochs: "
                "dev/loss goes with min, everything else with max."
            )
        for candidate in self.candidates:
            check_override(candidate, "selection.candidates")
        for key, values in self.space.items():
            check_override(f"{key}=", "selection.space")
            parse_range(values, key)
        if bool(self.space) != (self.trials is not None) or (self.trials is not None and self.trials < 1):
            raise RecipeError(
                f"selection.space and selection.trials go together: found {len(self.space)} keys and trials="
                f"{self.trials}."
            )
        if self.space and self.candidates:
            raise RecipeError("selection.candidates and selection.space are two ways to search; give one of them.")

    @property
    def searches(self) -> bool:
        """Whether something is chosen on dev inside each fold."""
        return bool(self.candidates or self.space)


def number_of_trials(selection: Selection) -> int:
    """Number of trials that a fold makes."""
    return len(selection.candidates) if selection.trials is None else selection.trials


def check_override(overrides: str, what: str, allowed: tuple[str, ...] = ("model.", "trainer.")) -> None:
    """Refuse overrides (several separated by blanks) that a fold may not choose for itself.

    Raises:
        RecipeError: a key does not begin with one of ``allowed``.
    """
    for override in overrides.split():
        key = override.removeprefix("--").split("=", 1)[0]
        if not key.startswith(allowed):
            raise RecipeError(
                f"{what}: {override!r} cannot be chosen inside a fold; it may change "
                f"{', '.join(f'{name}*' for name in allowed)} only."
            )


@dataclass(frozen=True)
class Range:
    """Range of a searched value: ``kind`` log, uniform or int from ``low`` to ``high``, or one of ``choices``."""

    kind: Literal["log", "uniform", "int", "choice"]
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()


def parse_range(text: str, key: str) -> Range:
    """Read a range: ``log(1e-5, 1e-2)``, ``uniform(0, 0.5)``, ``int(32, 512)`` or ``[A, B]``.

    Raises:
        RecipeError: it is none of these, or its limits are the wrong way round.
    """
    read = _listed(text.strip()) or _drawn(text.strip())
    if read is None:
        raise RecipeError(
            f"{key}={text!r} is no range: expected log(1e-5, 1e-2) with limits above 0, uniform(0, 0.5), int(32, 512) "
            "or [A, B], each once and without blanks or commas within, the lower limit first."
        )
    return read


def _listed(text: str) -> Range | None:
    listed = re.fullmatch(r"\[(.+)\]", text)
    values = tuple(value.strip() for value in listed[1].split(",")) if listed else ()
    # a blank would end the override that the value becomes
    usable = all(re.fullmatch(r"\S+", value) for value in values) and len(set(values)) == len(values)
    usable = usable and all(value.count(one) == value.count(two) for value in values for one, two in ("()", "[]", "{}"))
    return Range("choice", choices=values) if values and usable else None


def _drawn(text: str) -> Range | None:
    drawn = re.fullmatch(r"(log|uniform|int)\(\s*([^,\s]+)\s*,\s*([^,\s]+)\s*\)", text)
    if drawn is None:
        return None
    kind: Literal["log", "uniform", "int"] = drawn[1]  # type: ignore[assignment]
    try:
        low, high = float(drawn[2]), float(drawn[3])
    except ValueError:
        return None
    whole = kind != "int" or (low.is_integer() and high.is_integer())
    in_order = low < high < float("inf") and low > (0.0 if kind == "log" else float("-inf"))
    return Range(kind, low, high) if in_order and whole else None
