"""Trials and choices of a search inside the folds: tables from the stored ``chosen.json`` of every unit."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.reporting.tables import NONE, Cell, Table
from ser_toolkit.evaluation.run_folder import RunFolder
from ser_toolkit.terms import Json, natural_key


@dataclass(frozen=True)
class Choice:
    """Trials and choice of one unit: ``trials`` are (overrides, value on dev)."""

    variant: str
    fold: str
    seed: str
    chosen: str
    monitor: str
    trials: tuple[tuple[str, float], ...]

    @property
    def value(self) -> float:
        """Dev value of the chosen trial."""
        return next(value for overrides, value in self.trials if overrides == self.chosen)


@dataclass(frozen=True)
class Search:
    """A search of all folds, variants and seeds of a run."""

    choices: tuple[Choice, ...]

    def tables(self) -> list[Table]:
        """For every variant: each trial on dev and how often it was chosen, or each fold's choice."""
        variants = dict.fromkeys(choice.variant for choice in self.choices)
        return [self._table(variant) for variant in variants]

    def _table(self, variant: str) -> Table:
        choices = [choice for choice in self.choices if choice.variant == variant]
        tried = {tuple(sorted(overrides for overrides, _ in choice.trials)) for choice in choices}
        title = f"{variant}: {choices[0].monitor}, chosen inside each of {len(choices)} folds and seeds"
        return self._by_trial(choices, title) if len(tried) == 1 else self._by_fold(choices, title)

    @staticmethod
    def _by_trial(choices: list[Choice], title: str) -> Table:
        """All folds tried the same: their mean on dev, and how often each was the best."""
        chosen = Counter(choice.chosen for choice in choices)
        rows = []
        for overrides in dict.fromkeys(overrides for overrides, _ in choices[0].trials):
            values = [dict(choice.trials)[overrides] for choice in choices]
            spread = f"± {100 * stdev(values):.1f}" if len(values) > 1 and all(map(math.isfinite, values)) else ""
            mean = Cell(_figure(choices[0].monitor, fmean(values)), spread if _is_share(choices[0].monitor) else "")
            rows.append([Cell(overrides), mean, Cell(f"{chosen[overrides]} of {len(choices)}")])
        return Table(("Tried", "dev, mean ± sd of folds", "Chosen in"), rows, 1, title)

    @staticmethod
    def _by_fold(choices: list[Choice], title: str) -> Table:
        """Each fold drew its own: what it chose."""
        rows = [
            [
                Cell(text)
                for text in (
                    choice.fold,
                    choice.seed,
                    choice.chosen,
                    _figure(choice.monitor, choice.value),
                    str(len(choice.trials)),
                )
            ]
            for choice in choices
        ]
        return Table(("Fold", "Seed", "Chosen", "dev", "Trials"), rows, 3, title)

    def markdown(self) -> str:
        """All tables as Markdown."""
        return "\n\n".join(f"**{table.title}**\n\n{table.markdown()}" for table in self.tables()) + "\n"

    def text(self) -> str:
        """All tables as plain text."""
        return "\n\n".join(f"{table.title}\n{table.text()}" for table in self.tables())

    def json(self) -> str:
        """Every trial of every unit, for programs."""
        return json.dumps([_plain(choice) for choice in self.choices], indent=2) + "\n"


def read_search(run_dir: Path) -> Search:
    """Choices of a run's units, in natural order of folds and seeds.

    Raises:
        ResultError: nothing was chosen in this run, or a record cannot be read.
    """
    found = sorted(_choices(run_dir), key=lambda c: (c.variant, natural_key(c.fold), natural_key(c.seed)))
    if not found:
        raise ResultError(
            f"{run_dir} holds no choice: its recipe has neither selection.candidates nor selection.space, "
            "or no fold is complete."
        )
    return Search(tuple(found))


def _choices(run_dir: Path) -> Iterator[Choice]:
    for unit in RunFolder(run_dir).units():
        if not unit.chosen.is_file():
            continue
        try:
            record = json.loads(unit.chosen.read_text(encoding="utf-8"))
            trials = record["trials"]
            monitor = next(key for key in trials[0] if key != "overrides")
            pairs = tuple((trial["overrides"], _value(trial[monitor])) for trial in trials)
        except (OSError, ValueError, KeyError, IndexError, StopIteration, TypeError) as error:
            raise ResultError(f"{unit.chosen} cannot be read ({error!r}). Run the same command again.") from error
        yield Choice(unit.variant, unit.fold, unit.seed, record["chosen"], monitor, pairs)


def _value(score: float | None) -> float:
    """NaN for settings that could not be trained."""
    return math.nan if score is None else float(score)


def _is_share(monitor: str) -> bool:
    return monitor.split("/")[-1] in ("uar", "accuracy", "macro_f1")


def _figure(monitor: str, value: float) -> str:
    if value != value:
        return NONE
    return f"{100 * value:.1f}" if _is_share(monitor) else f"{value:.3f}"


def _plain(choice: Choice) -> Json:
    trials = [{"overrides": o, "value": value if math.isfinite(value) else None} for o, value in choice.trials]
    return {
        "variant": choice.variant,
        "fold": choice.fold,
        "seed": choice.seed,
        "monitor": choice.monitor,
        "chosen": choice.chosen,
        "trials": trials,
    }
