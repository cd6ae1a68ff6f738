"""``ser-sweep``: try settings inside every fold, choose on dev, and report what the chosen ones reach on test."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ser_toolkit.cli._command import quiet_libraries, run_command
from ser_toolkit.errors import RecipeError
from ser_toolkit.system.files import write_text

if TYPE_CHECKING:
    from ser_toolkit.config.recipe import Recipe

USAGE = """\
usage: ser-sweep recipe=NAME key=VALUE,VALUE[,...] [key=...] [key=value ...]
       ser-sweep recipe=NAME key='log(1e-5,1e-2)' [key=...] trials=20

Try settings in every fold, choose the best on the fold's dev part, and score only the chosen one on test (a nested
search: no test part ever takes part in a choice). Prints the report and what was tried and chosen; search.md and
search.json lie beside the report. Run the same command again to go on where a killed sweep stopped.

  key=A,B,C              a grid: all combinations of all keys with several values. Candidates that the recipe lists
                         itself (selection.candidates) are crossed with them, without the keys that are swept
  key='log(1e-5,1e-2)'   Optuna draws trials=N settings in every fold, learning from those before (TPE):
  key='uniform(0,0.5)'   log and uniform for numbers, int for whole numbers; key=A,B,C is then one of these.
  key='int(32,512)'      Needs the extra ser-toolkit[sweep]
  trials=20              how many draws
  jobs=2                 folds side by side; likewise fold=, seeds=, variants=, output=, as for ser-train
  --version

Keys may be model.* (a frozen upstream too) and trainer.*. Commas within brackets or quotes do not separate. For one
run of each value, all scored on test, see ser-compare.

examples:
  ser-sweep recipe=emodb_egemaps_svm model.head.C=0.01,0.1,1 data.root=/data/EmoDB
  ser-sweep recipe=demo model.pooling=MeanPooling,AttentiveStatisticsPooling model.optimizer.lr=1e-3,3e-3
  ser-sweep recipe=demo model.optimizer.lr='log(1e-4,1e-2)' model.head.dropout='uniform(0,0.5)' trials=12
"""
#: Searches nothing: what a recipe tries itself would overwrite what is swept.
_NOTHING = ("selection.candidates=[]", "selection.space={}", "selection.trials=null")
_RANGE = re.compile(r"(log|uniform|int)\(.*\)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_command("ser-sweep", USAGE, _sweep, arguments, trains=True)


def _sweep(arguments: list[str]) -> None:
    from ser_toolkit.cli._options import Parser
    from ser_toolkit.config.arguments import add_working_directory

    add_working_directory()
    from ser_toolkit.evaluation.comparison.trials import read_search
    from ser_toolkit.evaluation.run_folder import RunFolder
    from ser_toolkit.experiment.console import Console
    from ser_toolkit.experiment.experiment import Experiment

    quiet_libraries()
    recipe = searching_recipe(Parser("ser-sweep", "--dry-run", "--trials").split(arguments)[1])
    experiment = Experiment(recipe, Console())
    if recipe.settings.dry_run:
        from ser_toolkit.experiment.dry_run import describe

        for line in describe(experiment):
            experiment.console.line(line)
        return
    run = RunFolder(experiment.run())
    search = read_search(run.path)
    write_text(run.search_markdown, search.markdown())
    write_text(run.search_json, search.json())
    sys.stdout.write(f"\n{search.text()}\n{run.search_markdown}\n")


def searching_recipe(arguments: Sequence[str]) -> Recipe:
    """The recipe of a command, with what is to be tried as ``selection.candidates`` or ``selection.space``.

    Raises:
        RecipeError: nothing is to be tried, or a value cannot be tried inside a fold.
    """
    from ser_toolkit.cli._grid import split_top
    from ser_toolkit.config.identity import NEUTRAL
    from ser_toolkit.config.overridden import without_keys
    from ser_toolkit.config.recipe import parse

    whole = {f"{group}.{name}".lstrip(".") for group, names in NEUTRAL.items() for name in names}
    common, swept, trials = [], {}, None
    for argument in arguments:
        key, equals, text = argument.removeprefix("--").partition("=")
        values = [value.strip() for value in split_top(text, ",")] if equals and key not in whole else [text]
        if key == "trials":
            trials = text
        elif len(values) > 1 or (equals and _RANGE.fullmatch(text.strip())):
            swept[key] = values
        else:
            common.append(argument)
    if not swept:
        raise RecipeError(
            "Nothing is swept. Give a key several values (model.optimizer.lr=1e-4,3e-4) or a range "
            "(model.optimizer.lr='log(1e-5,1e-2)' trials=20)."
        )
    drawn = trials is not None or any(_RANGE.fullmatch(values[0]) for values in swept.values() if len(values) == 1)
    recipe = parse([*common, *_NOTHING] if drawn else common)
    for key, values in swept.items():
        for value in values:
            if not _RANGE.fullmatch(value) and key.startswith("model."):
                parse([*common, *_NOTHING, f"{key}={value}"])  # a misspelt part is refused with the nearest names
    if drawn:
        space = {key: values[0] if len(values) == 1 else f"[{', '.join(values)}]" for key, values in swept.items()}
        if trials is None:
            raise RecipeError("A range is drawn from: say how often with trials=20.")
        searched = [f"selection.space={json.dumps(space)}", f"selection.trials={trials}", "selection.candidates=[]"]
        return parse([*common, *searched])
    combinations = itertools.product(*([f"{key}={value}" for value in values] for key, values in swept.items()))
    own = without_keys(recipe.selection.candidates, list(swept)) or [""]
    candidates = [" ".join(filter(None, (base, *chosen))) for chosen in combinations for base in own]
    return parse([*common, f"selection.candidates={json.dumps(candidates)}"])


if __name__ == "__main__":
    sys.exit(main())
