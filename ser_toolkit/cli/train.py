"""``ser-train``: all folds of a recipe, then the report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ser_toolkit.cli._command import quiet_libraries, run_command
from ser_toolkit.errors import RecipeError

if TYPE_CHECKING:
    from ser_toolkit.experiment.console import Console
    from ser_toolkit.experiment.experiment import Experiment

USAGE = """\
usage: ser-train recipe=NAME [recipe=NAME ...] [key=value | --key=value ...]
       ser-train --resume RUN [--trust-code] [data.root=PATH] [fold=all] [jobs=N] ...

Train every fold of a recipe and report UA, WA, macro-F1, CCC with intervals. Run the same command again to go on
where a killed run stopped: complete units (variant, fold, seed) are reused, and how many is said.

  recipe=NAME            a shipped recipe (ser-corpus recipes lists them) or a YAML file; several merge, later wins
  data.root=PATH         the corpus folder
  fold=all | 3           every fold (default), or one by name or number
  seeds=5  seed=0        repeat with several seeds, from the first
  jobs=2                 folds side by side (one per GPU)
  variants=[Plain,Transductive,Enrolment,NeutralReference]
  output=runs            where run directories lie
  start_from=RUN         every unit starts from its weights in another run: a head first, then everything
  --resume RUN           go on with a run directory wherever it lies now, in it: its own configuration and parts; only
                         what changes no result may be overridden (data.root= where the corpus lies now, fold=, seeds=)
  --trust-code           let the run execute code that is not yours: its copy of own parts, classes of other packages
  --dry-run              print splits, class counts, parameters, disk and time, and stop
  --check my_parts.Mine  run the contract checks on a part of yours, with options as key=value (exit code 1: one failed)

  model.upstream=BYOLS   any part by its name, or a class of yours in the working directory: my_pooling.MaxPooling
  model.pooling=AttentiveStatisticsPooling model.pooling.bottleneck_dim=64
  model.optimizer.lr=3e-4  selection.average=5  --trainer.max_epochs=3  --trainer.precision=bf16-mixed

Features of a frozen upstream are extracted once and kept (ser-extract shows and cleans them): features.keep=auto |
  frames | none, features.dtype=float16, features.precision=bfloat16, features.compile=true

  --model.pooling.help             the poolings, one line each     (likewise upstream, layer_mix, frames, head, ...)
  --model.pooling.help NAME        the options of one
  --help-all                       every option
  --print_config                   the resolved recipe
  --version

examples:
  ser-train recipe=demo
  ser-train recipe=emodb_byols data.root=/data/EmoDB
  ser-train recipe=iemocap_wavlm data.root=/data/IEMOCAP fold=2 --trainer.max_epochs=3
  ser-train --resume /archive/runs/emodb_byols/1a2b3c4d5e data.root=/data/EmoDB
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_command("ser-train", USAGE, _train, arguments, trains=True)


def _train(arguments: list[str]) -> None:
    from ser_toolkit.cli._options import Parser
    from ser_toolkit.config.arguments import add_working_directory

    add_working_directory()
    parser = Parser("ser-train", "--dry-run", "--help-all", "--print_config")
    parser.add_argument("--resume", metavar="runs/NAME/HASH")
    parser.add_argument("--trust-code", action="store_true")
    parser.add_argument("--check", metavar="my_parts.Mine")
    options, others = parser.split(arguments)
    if options.trust_code and options.resume is None:
        raise RecipeError("--trust-code goes with --resume RUN: a recipe that you give yourself is yours.")
    if options.check is not None:
        from ser_toolkit.contracts.run import answer as check

        if not check([options.check, *others], sys.stdout.write):
            sys.exit(1)
        return
    if any(".help" in argument for argument in arguments):
        from ser_toolkit.config.listing import answer

        listing = answer(arguments)
        if listing is not None:
            sys.stdout.write(listing)
            return
    from ser_toolkit.config.recipe import parse
    from ser_toolkit.experiment.console import Console
    from ser_toolkit.experiment.experiment import Experiment
    from ser_toolkit.experiment.resume import refuse_run_directories, resumed

    quiet_libraries()
    console = Console(quiet="worker=true" in arguments)
    if options.resume is not None:
        with resumed(options.resume, others, console, options.trust_code) as experiment:
            _run(experiment, console)
        return
    refuse_run_directories(arguments)
    _run(Experiment(parse(arguments), console), console)


def _run(experiment: Experiment, console: Console) -> None:
    if not experiment.recipe.settings.dry_run:
        experiment.run()
        return
    from ser_toolkit.experiment.dry_run import describe

    for line in describe(experiment):
        console.line(line)


if __name__ == "__main__":
    sys.exit(main())
