"""A run as one object: the record, and the predictions of every variant, baseline, fold and seed.

A *system* is the model or one baseline under one variant. Missing predictions are named, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation import belonging
from ser_toolkit.evaluation.predictions import gather_predictions
from ser_toolkit.evaluation.run_folder import RunFolder
from ser_toolkit.evaluation.run_record import RunRecord
from ser_toolkit.evaluation.uncertainty import with_clusters
from ser_toolkit.terms import PLAIN, listed, natural_key

#: Names that people write otherwise than folders.
_SPELLING = {"egemaps": "eGeMAPS", "svm": "SVM", "lr": "logistic regression", "majority": "majority class"}


@dataclass(frozen=True)
class System:
    """The model or a baseline under one variant.

    Args:
        variant: for example ``plain`` or ``transductive``.
        baseline: name of the baseline; None for the model that the recipe trains.
        table: its predictions of all folds, seeds and draws (see ``evaluation/predictions.py``).
    """

    variant: str
    baseline: str | None
    table: pd.DataFrame

    @property
    def name(self) -> str:
        """Name of the system for people: ``model``, or the baseline's name."""
        if self.baseline is None:
            return "model"
        return " ".join(_SPELLING.get(word, word) for word in self.baseline.replace("-", "_").split("_"))

    @property
    def key(self) -> str:
        """Unique in a run: ``plain/model``."""
        return f"{self.variant}/{'model' if self.baseline is None else 'baseline=' + self.baseline}"


@dataclass(frozen=True)
class Results:
    """Everything a report is built from.

    Args:
        run_dir: where it was read.
        record: ``run.json``; the empty one where the run has none.
        classes: class order of all predictions.
        systems: model first, then its baselines, variant by variant.
        folds: names of all folds of the protocol, in its order.
        missing: sentences on folds and variants without predictions.
        remarks: sentences on predictions that are not as a run makes them (see ``evaluation/belonging.py``).
    """

    run_dir: Path
    record: RunRecord
    classes: tuple[str, ...]
    systems: tuple[System, ...]
    folds: tuple[str, ...]
    missing: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def votes_in_classes(self) -> bool:
        """Whether votes are in the classes of the predictions; of classes of an ontology nobody voted for one."""
        return not self.record.labels.mapped

    def find(self, variant: str, baseline: str | None = None) -> System | None:
        """The system of that name, or None."""
        matches = (s for s in self.systems if (s.variant, s.baseline) == (variant, baseline))
        return next(matches, None)

    def variants(self) -> list[str]:
        """Variants in order of the report."""
        return list(dict.fromkeys(system.variant for system in self.systems))


def load_results(run_dir: Path) -> Results:
    """Gather what a run has stored so far.

    Raises:
        ResultError: no such folder, no predictions in it, a damaged file, or files that do not belong together
            (other classes, other truth).
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise ResultError(f"No run directory at {run_dir}. Give the folder that holds run.json.")
    folder = RunFolder(run_dir)
    record = folder.record() if folder.is_run else RunRecord()
    systems, classes = _systems(folder, list(record.variants))
    if record.classes not in (None, classes):
        raise ResultError(
            f"{run_dir}: run.json has classes {list(record.classes or ())}, the predictions have {list(classes)}."
        )
    _refuse_two_truths(run_dir, systems)
    present = {str(fold) for system in systems for fold in system.table["fold"].unique()}
    folds = record.folds + tuple(sorted(present - set(record.folds), key=natural_key))
    missing = _missing(systems, folds, list(record.seeds), record.variants)
    whole = [_whole_seeds(system) for system in systems]
    systems, missing = [system for system, _ in whole], [*missing, *(note for _, note in whole if note)]
    tables = ((system.variant, system.name, system.table) for system in systems)
    remarks = belonging.remarks(folder, record, tables, classes)
    by = record.protocol.cluster_by
    clustered = tuple(replace(system, table=with_clusters(system.table, by)) for system in systems)
    return Results(run_dir, record, classes, clustered, folds, tuple(missing), tuple(remarks))


def _systems(folder: RunFolder, order: list[str]) -> tuple[list[System], tuple[str, ...]]:
    """Read every system, in the record's order of variants; all files share one class order."""
    files, run_dir = folder.predictions(), folder.path
    if not files:
        raise ResultError(
            f"{run_dir} holds no predictions.parquet (looked in */fold=*/seed=*). Run ser-train to finish a fold."
        )

    def rank(key: tuple[str, str | None]) -> tuple[bool, int, str, str]:
        variant, baseline = key
        place = order.index(variant) if variant in order else len(order)
        return variant != PLAIN, place, variant, baseline or ""

    systems: list[System] = []
    classes: tuple[str, ...] | None = None
    for key in sorted(files, key=rank):
        table, found = gather_predictions(
            sorted(files[key], key=lambda path: natural_key(str(path.relative_to(run_dir))))
        )
        if classes is not None and found != classes:
            raise ResultError(
                f"{run_dir}: {'/'.join(filter(None, key))} has classes {list(found)}, others have {list(classes)}."
            )
        classes = found
        systems.append(System(key[0], key[1], table))
    return systems, classes or ()


def _refuse_two_truths(run_dir: Path, systems: Iterable[System]) -> None:
    """Systems that disagree on an utterance's label were scored on different corpora or label rules."""
    truths = pd.concat([system.table[["id", "label"]] for system in systems]).drop_duplicates()
    twice = truths.loc[truths["id"].duplicated(keep=False)]
    if not twice.empty:
        first = twice.loc[twice["id"] == twice["id"].iloc[0]]
        raise ResultError(
            f"{run_dir}: {twice['id'].nunique()} utterances have two true labels, first {first['id'].iloc[0]} "
            f"({' and '.join(map(str, first['label']))}). These predictions come from different label rules."
        )


def _whole_seeds(system: System) -> tuple[System, str]:
    """The seeds of a system that have most folds, and a sentence on those that are left out; empty where none is.

    The figure of several seeds is the mean of theirs. A seed that has few folds so far would weigh as much in it as one
    that has all, and its figure is one of other utterances.
    """
    folds = {seed: frozenset(rows["fold"].astype(str)) for seed, rows in system.table.groupby("seed")}
    fullest = max(folds.values(), key=len)
    whole = [seed for seed, own in folds.items() if own == fullest]
    if len(whole) == len(folds):
        return system, ""
    others = ", ".join(str(seed) for seed in folds if seed not in whole)
    table = system.table[system.table["seed"].isin(whole)].reset_index(drop=True)
    named = ", ".join(map(str, whole))
    note = f"{system.variant}, {system.name}: figures are those of seed {named} alone, without {others}"
    return replace(system, table=table), note


def _missing(
    systems: Iterable[System], folds: tuple[str, ...], seeds: list[int], variants: Iterable[str]
) -> Iterable[str]:
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    systems = list(systems)
    for system in systems:
        seen.add(system.variant) if system.baseline is None else None
        present = {
            (int(seed), str(fold)) for seed, fold in zip(system.table["seed"], system.table["fold"], strict=True)
        }
        own_seeds = sorted({seed for seed, _ in present})
        for seed in sorted({*seeds, *own_seeds}) if system.baseline is None else own_seeds:
            lacking = [fold for fold in folds if (seed, fold) not in present]
            if lacking:
                which = listed(lacking, 12, more=" ...")
                done = f"{len(folds) - len(lacking)} of {len(folds)} folds"
                of_seed = f", seed {seed}" if len(seeds) > 1 else ""
                found.setdefault(f"{of_seed}: {done} (missing: {which})", []).append(f"{system.variant}, {system.name}")
    sentences = [
        f"{'every system' if len(names) == len(systems) > 1 else ' / '.join(names)}{lack}"
        for lack, names in found.items()
    ]
    return sentences + [f"{variant}: no predictions of the model yet" for variant in variants if variant not in seen]
