"""Tune: the first of two stages. Each upstream is fine-tuned on the fold; the second trains on its features."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

from torch import Tensor

from ser_toolkit.config.recipe import Recipe
from ser_toolkit.experiment.stages.checkpoints import drop_checkpoints
from ser_toolkit.experiment.stages.fit import Fit
from ser_toolkit.experiment.stores import stores_of
from ser_toolkit.experiment.unit import Stage, Unit, write_json
from ser_toolkit.features.extract import extract
from ser_toolkit.model.weights import WEIGHTS_FILE, open_weights
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
        """Whether all upstreams are tuned."""
        return (unit.folder / "tuned.json").is_file()

    def run(self, unit: Unit) -> None:
        """Fit each upstream; those that are done are left."""
        records = {}
        for name, recipe in first_stages(unit.recipe, _parts(unit)).items():
            trial = replace(unit, recipe=recipe, folder=unit.folder / "tune" / name, features=None)
            trial.folder.mkdir(parents=True, exist_ok=True)
            if not agreed(Fit().done(trial)):
                Fit().run(trial)
            records[name] = json.loads((trial.folder / "fit.json").read_text(encoding="utf-8"))
        if is_first():
            write_json(unit.folder / "tuned.json", records)
        wait_for_all()

    def state(self, unit: Unit) -> dict[str, Tensor]:
        """State of the unit's whole upstream, put together from the tuned ones."""
        count = _parts(unit)
        state: dict[str, Tensor] = {}
        for index in range(count):
            stored = open_weights(unit.folder / "tune" / str(index) / "checkpoints" / WEIGHTS_FILE).state
            prefix = f"upstreams.{index}." if count > 1 else ""
            own = {name.removeprefix("upstream."): v for name, v in stored.items() if name.startswith("upstream.")}
            state |= {prefix + name: value for name, value in own.items()}
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


def take_tuned_upstream(unit: Unit, state: dict[str, Tensor]) -> None:
    """Give a unit the features of a tuned upstream: only the parts behind it are then trained.

    The features are of this fold alone: they lie in the unit and go when it is complete.

    Args:
        unit: gets features and the upstream's state.
        state: of the tuned upstream.
    """
    model = unit.recipe.model(unit.data.classes, unit.seed)
    upstream: Upstream = model.upstream
    upstream.load_state_dict(state)
    for part in (upstream, *upstream.parts):
        part.frozen = True
        part.freeze()
    unit.data.use_rate(upstream.sampling_rate)
    unit.features = extract(stores_of(unit.recipe, unit.data, model, root=unit.folder / "features"))
    unit.upstream_state = upstream.state_dict()


def drop_tuning(unit: Unit) -> None:
    """Remove what a complete unit no longer needs: its features, and weights that its final weights hold too.

    A command that was killed just behind a fit or a choice has left its checkpoints and candidates, too.
    """
    for name in ("features", "candidates"):
        shutil.rmtree(unit.folder / name, ignore_errors=True)
    for folder in (unit.folder / "tune").glob("*/checkpoints"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (unit.checkpoints / "refit", unit.checkpoints):
        drop_checkpoints(folder)


def _parts(unit: Unit) -> int:
    upstream = unit.recipe.plain_config()["model"]["upstream"]
    return len((upstream.get("init_args") or {}).get("upstreams") or [upstream])
