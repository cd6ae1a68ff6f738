"""Missing models of a run: never made (a warning) or gone since (an error)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_toolkit.errors import ResultError
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

    run: Path
    variant: str
    folds: tuple[str, ...]
    seed: str | None

    def has(self, unit: Path) -> bool:
        """Whether the unit in this folder belongs to the selection."""
        return unit.parent.name in {f"fold={fold}" for fold in self.folds} and self.seed in (None, unit.name[5:])


def check_nothing_lost(asked: Asked, record: Mapping[str, Any], there: Sequence[Path]) -> None:
    """Refuse to average what is left of models that the run once had.

    Args:
        asked: what is wanted.
        record: ``run.json``.
        there: folders of the units that are complete, weights included.

    Raises:
        ResultError: the run says of a unit that it was complete, or the unit has results, but its weights are gone.
    """
    tested = {path.parent for path in (asked.run / asked.variant).glob("fold=*/seed=*/metrics.json")}
    said = {asked.run / place for place in record.get("complete", ()) if place.startswith(f"{asked.variant}/")}
    lost = [unit for unit in sorted(tested | said) if asked.has(unit) and unit not in there]
    if not lost:
        return
    places = listed((unit.relative_to(asked.run) for unit in lost), MOST_PLACES)
    choice = f", or choose one that is there: --fold {there[0].parent.name[5:]} (in Python fold=)" if there else ""
    raise ResultError(
        f"{asked.run}: of {len(lost) + len(there)} models that the run had, {len(lost)} have lost their weights "
        f"({places}); the others would be another ensemble. Copy them back, or delete what is left of these "
        f"folders and make them anew, them alone: ser-train --resume {asked.run}{choice}."
    )


def unfinished(asked: Asked, record: Mapping[str, Any], there: Sequence[Path]) -> tuple[str, ...]:
    """Sentence on the units that an unfinished run lacks; empty where it lacks none.

    Args:
        asked: what is wanted.
        record: ``run.json``.
        there: folders of the units that are complete.
    """
    seeds = {str(seed) for seed in record.get("seeds", ())} | {unit.name[5:] for unit in there}
    wanted = len(asked.folds) * (1 if asked.seed is not None else len(seeds))
    if len(there) >= wanted:
        return ()
    folds = len({unit.parent.name for unit in there})
    what = f"{folds} of {len(asked.folds)} folds" if folds == len(there) else f"{len(there)} of {wanted} models"
    return (f"{what} of this run: the others are not made yet (ser-train --resume {asked.run} fold=all makes them)",)
