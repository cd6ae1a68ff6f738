"""Start a unit from another run: weights of its fold there, never of a fold trained on this fold's test part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from ser_toolkit.config.identity import parts_that_matter
from ser_toolkit.config.recipe import Recipe
from ser_toolkit.errors import CheckpointError, RecipeError
from ser_toolkit.evaluation.run_folder import RunFolder, UnitFolder, find_run
from ser_toolkit.experiment.unit import Unit
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.model.identity import difference
from ser_toolkit.model.state import different, without
from ser_toolkit.model.weights import StoredWeights, open_weights
from ser_toolkit.parts.own_sources import copied_sources
from ser_toolkit.terms import PLAIN
from ser_toolkit.upstreams.base import Upstream

#: Settings of the data that decide who is in which part, and with which label.
SPLITS = ("corpus", "protocol", "labels", "min_seconds", "allow_incomplete")


def load_start_weights(unit: Unit, model: EmotionModel) -> None:
    """Put the weights of the same variant, fold and seed of another run into a fresh model.

    A head that was trained on stored features of a frozen upstream is so fine-tuned together with it: linear probing,
    then fine-tuning.

    Source: Kumar et al. 2022, "Fine-tuning can distort pretrained features and underperform out-of-distribution",
    section 3.3 (LP-FT).

    Args:
        unit: whose recipe sets ``start_from``.
        model: gets the weights; its upstream keeps its own where the other run's was frozen, and must be the same. So
            does a fine-tuned upstream that the unit has taken over for a speaker-normalised variant.

    Raises:
        RecipeError: the run was split or labelled otherwise, so that its models may have been trained on this fold's
            test part.
        CheckpointError: the fold is not there, or its weights belong to other parts or another upstream.
    """
    if unit.recipe.tuning or model.fitted_at_once:
        raise RecipeError("start_from starts one trained stage: leave out tuning and heads that are fitted at once.")
    source = _source(unit)
    stored = open_weights(UnitFolder(source).weights)
    if stored.classes != model.classes:
        raise CheckpointError(f"{source} has the classes {stored.classes}, this recipe {model.classes}.")
    # a speaker-normalised variant of a fine-tuned upstream has that of the plain unit, which started from the other run
    settled = unit.upstream_state is not None
    if not settled:
        _check_upstream(source, stored, model.upstream)
    whole = stored.fingerprint is None and not settled
    expected, found = model.own_state(), stored.state
    if not whole:
        expected, found = without("upstream", expected), without("upstream", found)
    _check_entries(source, found, expected)
    model.load_entries(found)


def changed_code(recipe: Recipe) -> list[str]:
    """A sentence on own parts whose code is not what the weights of ``start_from`` were trained with; else nothing."""
    if recipe.settings.start_from is None:
        return []
    copied = copied_sources(RunFolder(find_run(Path(recipe.settings.start_from))).own_parts)
    here = recipe.own_sources
    changed = [place for place in sorted(copied.keys() & here.keys()) if copied[place] != here[place]]
    if not changed:
        return []
    return [f"start_from: its weights were trained with other code in {', '.join(changed)}; used with the code here"]


def _source(unit: Unit) -> Path:
    """The folder of the same unit in the other run."""
    run = find_run(Path(unit.recipe.settings.start_from or ""))
    files = RunFolder(run)
    data = yaml.safe_load(files.config.read_text(encoding="utf-8"))["data"]
    if files.record().manifest_hash != unit.data.manifest.content_hash or _splits(data) != _splits(
        unit.recipe.plain_config()["data"]
    ):
        raise RecipeError(
            f"start_from={run}: corpus, labels or protocol are not those of this recipe, so its models may have been "
            "trained on utterances that are tested here. Train a run with the same data settings."
        )
    for variant in (unit.variant.name, PLAIN):
        place = files.unit(variant, unit.fold.name, unit.seed)
        if place.metrics.is_file():
            return place.path
    missing = place.place.removeprefix(f"{PLAIN}/")
    raise CheckpointError(f"start_from={run} has no complete {missing}. Finish that run first, or run its folds only.")


def _splits(data: dict[str, Any]) -> str:
    # wherever the members of several corpora lie, and whether the other run already knew of an option
    return json.dumps([parts_that_matter(data.get(key)) for key in SPLITS], sort_keys=True, default=str)


def _check_upstream(source: Path, stored: StoredWeights, upstream: Upstream) -> None:
    """Refuse weights that were trained on another upstream; without a fingerprint it was fine-tuned with them."""
    fingerprint = stored.fingerprint
    if fingerprint is None and upstream.frozen:
        raise CheckpointError(
            f"{source} was trained with a fine-tuned upstream, this recipe's is frozen and would not be that one. "
            "Set model.upstream.frozen=false."
        )
    if fingerprint is not None and fingerprint != upstream.fingerprint():
        raise CheckpointError(
            f"{source} was trained on upstream {fingerprint}, this recipe has {upstream.fingerprint()}: "
            f"{difference(upstream, stored.settings)}. Use the same upstream, revision and layers."
        )


def _check_entries(source: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    wrong = different(found, expected)
    if wrong:
        raise CheckpointError(
            f"{source} has other parts than this recipe: {len(wrong)} entries differ, {', '.join(wrong[:4])}. "
            "Use the same layer mix, frame stage, pooling and head."
        )
