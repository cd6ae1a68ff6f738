"""Plan of an experiment: its units, and which of them have no result yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ser_toolkit.errors import RecipeError
from ser_toolkit.evaluation.run_folder import RunFolder
from ser_toolkit.features.variants import Variant
from ser_toolkit.protocols.splits import Fold
from ser_toolkit.system.files import ignores_case


@dataclass(frozen=True)
class Plan:
    """Units of an experiment.

    Args:
        variants: the plain one first, because speaker-normalised variants of a fine-tuned upstream build on it.
        folds: to run now.
        seeds: to run now.
    """

    variants: list[Variant]
    folds: list[Fold]
    seeds: list[int]

    def __iter__(self) -> Iterator[tuple[Variant, Fold, int]]:
        for variant in self.variants:
            for fold in self.folds:
                for seed in self.seeds:
                    yield variant, fold, seed

    def __len__(self) -> int:
        return len(self.variants) * len(self.folds) * len(self.seeds)

    def check_names(self, folder: Path) -> None:
        """Refuse folds whose units would share a folder.

        Raises:
            RecipeError: two names differ in case alone, and the run directory lies on a disk that ignores case.
        """
        names = [fold.name for fold in self.folds]
        alike = [name for name in names if sum(one.casefold() == name.casefold() for one in names) > 1]
        if alike and ignores_case(folder):
            raise RecipeError(
                f"Folds {alike[0]} and {alike[1]} would share one folder, because {folder} lies on a disk that ignores "
                "case. Rename what they are called after, or choose a place on another disk with output=PATH."
            )

    def incomplete(self, folder: Path) -> list[tuple[Variant, Fold, int]]:
        """The units that have left no result in a run directory yet."""
        return [one for one in self if not RunFolder(folder).at(unit_place(*one)).metrics.is_file()]


def unit_place(variant: Variant, fold: Fold, seed: int) -> str:
    """Folder of a unit in its run directory."""
    return RunFolder(Path()).unit(variant.name, fold.name, seed).place
