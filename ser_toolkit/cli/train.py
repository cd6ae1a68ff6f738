"""``ser-train``: all folds of a recipe, then the report."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ser_toolkit.cli._command import quiet_libraries, run_command

USAGE = """\
usage: ser-train recipe=NAME [recipe=NAME ...] [key=value | --key=value ...]

Train every fold of a recipe and report UA, WA, macro-F1, CCC with intervals. Run the same command again to go on
where a killed run stopped.

  recipe=NAME            a shipped recipe (ser-corpus recipes lists them) or a YAML file; several merge, later wins
  data.root=PATH         the corpus folder
  fold=all | 3           every fold (default), or one by name or number
  seeds=5  seed=0        repeat with several seeds, from the first
  jobs=2                 folds side by side (one per GPU)
  variants=[Plain,Transductive,Enrolment,NeutralReference]
  output=runs            where run directories lie
  start_from=RUN         every unit starts from its weights in another run: a head first, then everything
  --dry-run              print splits, class counts, parameters, disk and time, and stop

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
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_command("ser-train", USAGE, _train, arguments, trains=True)


def _train(arguments: list[str]) -> None:
    from ser_toolkit.arguments import add_working_directory

    add_working_directory()
    if any(".help" in argument for argument in arguments):
        from ser_toolkit.listing import answer

        listing = answer(arguments)
        if listing is not None:
            sys.stdout.write(listing)
            return
    from ser_toolkit.experiment import Experiment
    from ser_toolkit.progress import Console
    from ser_toolkit.recipe import parse

    quiet_libraries()
    recipe = parse(arguments)
    console = Console(quiet=recipe.config.worker)
    experiment = Experiment(recipe, console)
    if recipe.config.dry_run:
        from ser_toolkit.dry_run import describe

        for line in describe(experiment):
            console.line(line)
        return
    experiment.run()


if __name__ == "__main__":
    sys.exit(main())
