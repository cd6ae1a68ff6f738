"""The stages of one unit of an experiment (a variant, a fold, a seed), all resumable.

Tune, choose, fit, score dev, refit, score: those that the recipe asks for, in this order.

A stage leaves a file when it is complete; an executor runs the stages that have left none. What a killed stage had
begun is taken up from its last complete checkpoint and replays what the uninterrupted run would have done.
"""

from __future__ import annotations

from ser_toolkit.config.recipe import Recipe
from ser_toolkit.experiment.stages.choose import Choose
from ser_toolkit.experiment.stages.fit import Fit
from ser_toolkit.experiment.stages.score import Score, ScoreDev
from ser_toolkit.experiment.stages.tune import Tune
from ser_toolkit.experiment.unit import Stage, Unit
from ser_toolkit.system.files import write_text
from ser_toolkit.system.processes import agreed

__all__ = [
    "Choose",
    "Fit",
    "Score",
    "ScoreDev",
    "Stage",
    "Tune",
    "Unit",
    "run_unit",
    "stages",
]


def stages(recipe: Recipe) -> list[Stage]:
    """The stages of a unit of this recipe, in order."""
    tune: list[Stage] = [Tune()] if recipe.tuning else []
    choose: list[Stage] = [Choose()] if recipe.selection.searches else []
    refit: list[Stage] = [ScoreDev(), Fit(refit=True)] if recipe.selection.refit else []
    return [*tune, *choose, Fit(), *refit, Score()]


def run_unit(unit: Unit) -> None:
    """Run the stages that are not done."""
    unit.folder.mkdir(parents=True, exist_ok=True)
    for stage in stages(unit.recipe):
        if not agreed(stage.done(unit)):
            stage.run(unit)
        unit = stage.after(unit)
        write_text(unit.files.config, unit.recipe.yaml())
