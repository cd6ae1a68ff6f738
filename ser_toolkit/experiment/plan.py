"""Plan of an experiment: its units, and which of them have no result yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ser_toolkit.features.variants import Variant
from ser_toolkit.protocols.splits import Fold


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

    def incomplete(self, folder: Path) -> list[tuple[Variant, Fold, int]]:
        """The units that have left no result in a run directory yet."""
        return [one for one in self if not (folder / unit_place(*one) / "metrics.json").is_file()]


def unit_place(variant: Variant, fold: Fold, seed: int) -> str:
    """Folder of a unit in its run directory."""
    return f"{variant.name}/fold={fold.name}/seed={seed}"
