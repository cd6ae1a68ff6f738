"""Tune: the first of two stages. Each upstream is fine-tuned on the fold; the second trains on its features."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

from torch import Tensor

from ser_toolkit.config.recipe import Recipe
from ser_toolkit.evaluation.run_folder import UnitFolder
from ser_toolkit.experiment.stages.checkpoints import drop_checkpoints
from ser_toolkit.experiment.stages.fit import Fit
from ser_toolkit.experiment.stores import stores_of
from ser_toolkit.experiment.unit import Stage, Unit
from ser_toolkit.features.extract import extract
from ser_toolkit.model.state import entries_of
from ser_toolkit.model.weights import open_weights
from ser_toolkit.system.files import write_json
from ser_toolkit.system.processes import agreed, is_first, wait_for_all
from ser_toolkit.upstreams.base import Upstream


class Tune(Stage):
    """Fine-tune each upstream with the overrides of ``tuning``, choose (and average) its weights on dev, and keep them.

    Leaves ``tuned.json`` and, until the unit is complete, ``tune/<upstream>/checkpoints/model.safetensors``. The final
    weights of the unit hold the tuned upstreams too, so that prediction from waveforms needs nothing else.

    Source: Morais et al. 2022, "Speech emotion recognition using self-supervised features", section 2 (fine-tuning
    under mean pooling and a linear layer, then the aggregator on the features of the averaged checkpoint).
    """

    def done(self, unit: Unit) -> bool:
        """Whether all upstreams are tuned: here, or by the plain unit, whose upstream this one has taken over."""
        return unit.upstream_state is not None or unit.files.tuned.is_file()

    def run(self, unit: Unit) -> None:
        """Fit each upstream that is not fitted yet, and record the fits."""
        records = {}
        for name, recipe in first_stages(unit.recipe, _parts(unit)).items():
            trial = replace(unit, recipe=recipe, folder=unit.files.tuning / name, features=None)
            trial.folder.mkdir(parents=True, exist_ok=True)
            if not agreed(Fit().done(trial)):
                Fit().run(trial)
            records[name] = json.loads(trial.files.fit.read_text(encoding="utf-8"))
        if is_first():
            write_json(unit.files.tuned, records)
        wait_for_all()

    def after(self, unit: Unit) -> Unit:
        """The unit with the features of its tuned upstream."""
        return unit if unit.upstream_state is not None else with_tuned_upstream(unit, self._state(unit))

    def _state(self, unit: Unit) -> dict[str, Tensor]:
        """State of the unit's whole upstream, put together from the tuned ones."""
        count = _parts(unit)
        state: dict[str, Tensor] = {}
        for index in range(count):
            stored = open_weights(UnitFolder(unit.files.tuning / str(index)).weights).state
            prefix = f"upstreams.{index}." if count > 1 else ""
            state |= {prefix + name: value for name, value in entries_of("upstream", stored).items()}
        return state


def first_stages(recipe: Recipe, count: int) -> dict[str, Recipe]:
    """The recipe that tunes each upstream, by the upstream's number.

    Args:
        recipe: with ``tuning``.
        count: how many upstreams are fused (1: it is not fused).
    """
    upstream = recipe.plain_config()["model"]["upstream"]
    parts = upstream["init_args"]["upstreams"] if count > 1 else [upstream]
    overrides = [override for group in recipe.tuning for override in group.split()]
    return {
        str(index): recipe.override(
            "tuning=[]",
            "selection.candidates=[]",
            "selection.space={}",
            "selection.trials=null",
            "selection.refit=false",
            *([f"model.upstream={json.dumps(part)}"] if count > 1 else []),
            *overrides,
        )
        for index, part in enumerate(parts)
    }


def with_tuned_upstream(unit: Unit, state: dict[str, Tensor]) -> Unit:
    """The unit with the features of a tuned upstream: only the parts behind it are then trained.

    The features are of this fold alone: they lie in the unit and go when it is complete.

    Args:
        unit: whose recipe has the upstream.
        state: of the tuned upstream.
    """
    model = unit.recipe.model(unit.data.classes, unit.seed)
    upstream: Upstream = model.upstream
    upstream.load_state_dict(state)
    for part in (upstream, *upstream.parts):
        part.frozen = True
        part.freeze()
    features = extract(stores_of(unit.recipe, unit.data, model, root=unit.files.features))
    return replace(unit, features=features, upstream_state=upstream.state_dict())


def drop_tuning(unit: Unit) -> None:
    """Remove files that a complete unit no longer needs: its features, and weights that its final weights hold too.

    A command that was killed just behind a fit or a choice has left its checkpoints and candidates, too.
    """
    for folder in (unit.files.features, unit.files.candidates):
        shutil.rmtree(folder, ignore_errors=True)
    for trial in unit.files.tuning.glob("*"):
        shutil.rmtree(UnitFolder(trial).checkpoints, ignore_errors=True)
    for folder in (unit.files.refit_checkpoints, unit.files.checkpoints):
        drop_checkpoints(folder)


def _parts(unit: Unit) -> int:
    upstream = unit.recipe.plain_config()["model"]["upstream"]
    return len((upstream.get("init_args") or {}).get("upstreams") or [upstream])
