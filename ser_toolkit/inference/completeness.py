"""Missing models of a run: never made (a warning) or gone since (an error)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.run_folder import RunFolder, UnitFolder
from ser_toolkit.evaluation.run_record import RunRecord
from ser_toolkit.terms import listed

#: Places that an error lists.
MOST_PLACES = 4


@dataclass(frozen=True)
class Asked:
    """The models of a run that somebody wants to average.

    Args:
        run: the run directory.
        variant: how features are normalised.
        folds: names.
        seed: None for all.
    """

    run: RunFolder
    variant: str
    folds: tuple[str, ...]
    seed: str | None

    def has(self, unit: UnitFolder) -> bool:
        """Whether a unit of the variant belongs to the selection."""
        return unit.fold in self.folds and self.seed in (None, unit.seed)


def check_nothing_lost(asked: Asked, record: RunRecord, there: Sequence[UnitFolder]) -> None:
    """Refuse to average the rest of a run's models after some were lost.

    Args:
        asked: the models that are asked for.
        record: ``run.json``.
        there: folders of the units that are complete, weights included.

    Raises:
        ResultError: the run records a unit as complete, or the unit has results, but its weights are gone.
    """
    tested = {unit.place for unit in asked.run.units(asked.variant) if unit.metrics.is_file()}
    recorded = {place for place in record.complete if place.startswith(f"{asked.variant}/")}
    gone = (tested | recorded) - {unit.place for unit in there}
    lost = [place for place in sorted(gone) if asked.has(asked.run.at(place))]
    if not lost:
        return
    places = listed(lost, MOST_PLACES)
    choice = f", or choose one that is there: --fold {there[0].fold} (in Python fold=)" if there else ""
    raise ResultError(
        f"{asked.run.path}: of {len(lost) + len(there)} models that the run had, {len(lost)} have lost their weights "
        f"({places}); the others would be another ensemble. Copy them back, or delete what is left of these "
        f"folders and make them anew, them alone: ser-train --resume {asked.run.path}{choice}."
    )


def unfinished(asked: Asked, record: RunRecord, there: Sequence[UnitFolder]) -> tuple[str, ...]:
    """Sentence on the units that an unfinished run lacks; empty where it lacks none.

    Args:
        asked: the models that are asked for.
        record: ``run.json``.
        there: folders of the units that are complete.
    """
    seeds = {str(seed) for seed in record.seeds} | {unit.seed for unit in there}
    wanted = len(asked.folds) * (1 if asked.seed is not None else len(seeds))
    if len(there) >= wanted:
        return ()
    folds = len({unit.fold for unit in there})
    what = f"{folds} of {len(asked.folds)} folds" if folds == len(there) else f"{len(there)} of {wanted} models"
    command = f"ser-train --resume {asked.run.path} fold=all"
    return (f"{what} of this run: the others are not made yet ({command} makes them)",)
