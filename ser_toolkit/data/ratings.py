"""Ratings of valence, arousal and dominance: which there are, and whether a model gets the targets that it needs."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ser_toolkit.data.manifest import Manifest
from ser_toolkit.errors import RecipeError
from ser_toolkit.terms import DIMENSIONS, counted

if TYPE_CHECKING:
    from ser_toolkit.data.corpus_data import CorpusData
    from ser_toolkit.data.fold_data import FoldData

#: A correlation over fewer utterances is undefined, so nothing can be learnt from them.
_LEAST = 2


def rated_dimensions(targets: np.ndarray) -> tuple[str, ...]:
    """Dimensions of which at least two utterances have a rating.

    >>> rated_dimensions(np.array([[0.1, np.nan, 0.2], [0.3, np.nan, np.nan]]))
    ('valence',)

    Args:
        targets: (N, 3) valence, arousal, dominance, NaN where there is no rating.
    """
    counts = (~np.isnan(targets)).sum(axis=0)
    return tuple(name for name, count in zip(DIMENSIONS, counts, strict=True) if count >= _LEAST)


def trained_dimensions(data: FoldData) -> tuple[str, ...]:
    """Dimensions that the training part of a fold has ratings of."""
    wanted = set(data.training_ids)
    rows = data.manifest.table["id"].isin(wanted).to_numpy()
    return rated_dimensions(data.targets.dimensions[rows])


def describe_ratings(manifest: Manifest) -> list[str]:
    """Rated dimensions: utterances, range, raters and scale, in lines.

    Returns:
        Sentences; none for a corpus without ratings.
    """
    table, bounds = manifest.table, manifest.facts.get("dimension_range")
    known = [name for name in DIMENSIONS if table[name].notna().any()]
    if not known:
        return []
    parts = []
    for name in known:
        values = table[name].dropna()
        parts.append(f"{name} of {len(values)} utterances ({values.min():g} to {values.max():g})")
    lacking = [name for name in DIMENSIONS if name not in known]
    raters = _raters(manifest)
    if bounds is None:
        scale = f"scale not stated, so that they are not used: give data.corpus.dimension_range={_example(manifest)}"
    else:
        scale = f"scale {bounds[0]:g} to {bounds[1]:g}"
    return [
        f"{', '.join(parts)}; {scale}",
        *([f"no ratings of {' or '.join(lacking)}"] if lacking else []),
        *([raters] if raters else []),
    ]


def _raters(manifest: Manifest) -> str:
    """Number of single ratings an utterance; empty where the manifest holds none."""
    counts = []
    for text in manifest.table["ratings"].dropna():
        rated = [one for one in json.loads(text) if any(one.get(name) is not None for name in DIMENSIONS)]
        counts.append(sum(not one.get("self_report", False) for one in rated))
    counts = [count for count in counts if count]
    if not counts:
        return ""
    raters = f"{min(counts)} to {max(counts)} raters an utterance (median {np.median(counts):g})"
    if min(counts) == max(counts):
        raters = f"{counted(counts[0], 'rater')} an utterance"
    return f"{raters}, {counted(len(counts), 'utterance')}"


def _example(manifest: Manifest) -> str:
    """A scale that holds all ratings, such as [1,7]: the owner knows whether it is the right one."""
    values = manifest.table[list(DIMENSIONS)].to_numpy(dtype=float)
    return f"[{np.floor(np.nanmin(values)):g},{np.ceil(np.nanmax(values)):g}]"


def check_targets(
    data: CorpusData,
    required: Collection[str],
    objective: str,
    monitor: str,
    train: Sequence[tuple[str, ...]],
    dev: Sequence[tuple[str, ...]] = (),
) -> None:
    """Refuse an objective or a monitor whose targets are not there: nothing would be trained, or nothing selected.

    Args:
        data: corpus and label rule.
        required: ``Objective.requires``.
        objective: its name.
        monitor: what weights are selected by, such as ``dev/ccc_valence``.
        train: ids of training parts that are going to be used.
        dev: ids of dev parts that are going to be used.

    Raises:
        RecipeError: the corpus has no classes or no ratings, does not state their scale, or a part has none.
    """
    row = {one: number for number, one in enumerate(data.manifest.table["id"])}
    trained, selected = ([[row[one] for one in ids] for ids in parts if ids] for parts in (train, dev))
    if set(required) - {"dimensions"}:
        _check_classes(data, objective)
    if "dimensions" in required:
        _check_ratings(data, objective, monitor, trained)
    if monitor != "dev/loss":
        _check_monitored(data, monitor, selected)


def _check_ratings(data: CorpusData, objective: str, monitor: str, train: Sequence[list[int]]) -> None:
    name, found = data.corpus.name, describe_ratings(data.manifest)
    if not found:
        raise RecipeError(
            f"{objective} needs ratings of valence, arousal or dominance; {name} has none. Use an objective of "
            "classes, such as model.objective=CrossEntropy."
        )
    if data.manifest.facts.get("dimension_range") is None:
        raise RecipeError(
            f"{objective} needs ratings on a known scale. {name} has {found[0].split(';')[0]}, but does not state the "
            "lowest and the highest value that can be given. Say them: "
            f"data.corpus.dimension_range={_example(data.manifest)}."
        )
    for rows in train:
        if not _rated(data, rows, monitor):
            raise RecipeError(
                f"{objective} needs ratings of {_wanted(monitor)}, but a training part of {len(rows)} utterances has "
                f"fewer than two. {name}: {'; '.join(found)}. Choose another protocol, monitor or objective."
            )


def _check_classes(data: CorpusData, objective: str) -> None:
    labelled = (data.targets.label >= 0).any() or not np.isnan(data.targets.soft).all()
    if len(data.classes) < 2 or not labelled:
        raise RecipeError(
            f"{objective} needs classes; {data.corpus.name} has {', '.join(data.classes) or 'none'}"
            f"{'' if len(data.classes) < 2 else ', but no utterance of them'}. With ratings alone, train "
            "model.head=RegressionHead model.objective=ConcordanceLoss selection.monitor=dev/ccc."
        )


def _check_monitored(data: CorpusData, monitor: str, dev: Sequence[list[int]]) -> None:
    of_ratings = monitor.startswith("dev/ccc")
    for rows in dev:
        there = _rated(data, rows, monitor) if of_ratings else (data.targets.label[rows] >= 0).any()
        if not there:
            lacking = f"fewer than two ratings of {_wanted(monitor)}" if of_ratings else "no utterance of a class"
            raise RecipeError(
                f"selection.monitor={monitor} cannot be measured: a dev part of {len(rows)} utterances of "
                f"{data.corpus.name} has {lacking}. Choose another protocol or dev part, or "
                f"selection.monitor={'dev/loss' if of_ratings else 'dev/ccc or dev/loss'}."
            )


def _wanted(monitor: str) -> str:
    """The dimension that is monitored, or any."""
    name = monitor.removeprefix("dev/ccc_")
    return name if name in DIMENSIONS else "valence, arousal or dominance"


def _rated(data: CorpusData, rows: list[int], monitor: str) -> bool:
    """Whether rows have ratings of the dimension that is monitored, or of any."""
    rated = rated_dimensions(data.targets.dimensions[rows])
    return bool(rated) if (wanted := _wanted(monitor)) not in DIMENSIONS else wanted in rated
