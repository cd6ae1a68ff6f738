"""``ser-extract``: features of a recipe's upstreams ahead of its training; what is stored is shown and cleaned."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ser_toolkit.cli._command import quiet_libraries, run_command
from ser_toolkit.cli._options import Parser, run_action
from ser_toolkit.errors import RecipeError

USAGE = """\
usage: ser-extract recipe=NAME [key=value ...] [jobs=N] [--dry-run]
       ser-extract status [ROOT]
       ser-extract verify [STORE ...]
       ser-extract prune [STORE ...] [--unused-for 30d] [--old] [--damaged] [--all] [--yes]
       ser-extract plan --hours H (--upstream NAME | --recipe NAME) [--clip-seconds 4] [--rate X] [key=value ...]

Fill the stores of features that ser-train with the same arguments reads: each utterance goes through the upstream once,
for all folds, seeds and heads. Run the same command again to go on where a killed one stopped. Processes that do the
same at once share the work: jobs=N here, several shells, or machines with one disk (torchrun ... -m
ser_toolkit.cli.extract recipe=NAME).

  recipe=NAME ...        as for ser-train: data.root=PATH, model.upstream=..., features.precision=bfloat16, ...
  jobs=4                 processes side by side (one per GPU)
  --dry-run              print what would be kept, minutes left to extract and disk, and stop

  status                 what is stored: upstream, what is kept, utterances, size, last used, damaged files
  verify                 read everything and compare checksums; what is damaged is set aside (exit code 1)
  prune                  remove stores, or files that are no use any more. Options narrow: what fulfils all of them
                         goes. Without --yes it says what would go, and asks on a terminal
    --unused-for 30d     stores that no run has read for so long (h hours, d days, w weeks)
    --old                stores of an earlier version of the features, which are not read any more
    --damaged            only files that were set aside or left half-written, not the stores
    --all                every store
  plan                   disk and hours of extraction for a corpus of H hours, and for which parts how little is enough
    --upstream NAME      a Hugging Face name or folder, or a part with its options: Spectral model.upstream.num_mels=80
    --rate X             seconds of audio per second; measured here when left out
  --version

STORE is an identity of ser-extract status, its first characters, or a store's folder. Stores lie in
SER_CACHE/features (~/.cache/ser_toolkit/features).

examples:
  ser-extract recipe=emodb_wavlm data.root=/data/EmoDB jobs=2
  ser-extract prune --unused-for 90d --yes
  ser-extract plan --hours 10000 --upstream microsoft/wavlm-large features.precision=bfloat16
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_command("ser-extract", USAGE, _extract, arguments, trains=True)


def _extract(arguments: list[str]) -> None:
    if "=" in arguments[0] or arguments[0].startswith("-"):
        _fill(arguments)
        return
    from ser_toolkit.cli import _stores

    actions = {"status": _stores.status, "verify": _stores.verify_stores, "prune": _stores.prune, "plan": _plan}
    run_action("ser-extract", actions, arguments, "A recipe is given with recipe=NAME.")


def _plan(arguments: list[str]) -> None:
    from ser_toolkit.cli._forecast import plan

    plan(arguments)


def _fill(arguments: list[str]) -> None:
    from ser_toolkit.config.arguments import add_working_directory

    add_working_directory()
    _, arguments = Parser("ser-extract", "--dry-run").split(arguments)
    keys = {argument.removeprefix("--").partition("=")[0] for argument in arguments}
    if not keys & {"recipe", "config", "model.upstream"}:
        raise RecipeError("Features of what? Give the arguments of ser-train: ser-extract recipe=NAME data.root=PATH.")
    from ser_toolkit.config.recipe import parse
    from ser_toolkit.experiment.console import Console
    from ser_toolkit.experiment.stores import describe_stores, fill_stores
    from ser_toolkit.features.estimate import readable
    from ser_toolkit.system.processes import launched_rank

    quiet_libraries()
    recipe = parse(arguments)
    # one of several that torchrun or a scheduler has started: the first one speaks for all
    console = Console(quiet=launched_rank() > 0)
    if recipe.settings.dry_run:
        for line in describe_stores(recipe):
            console.line(line)
        return
    _take_own_gpu()
    for store in fill_stores(recipe, console):
        if not recipe.settings.worker:
            console.line(f"stored: {store.utterances} utterances, {readable(store.size)} in {store.folder}")


def _take_own_gpu() -> None:
    """The GPU of this process where torchrun has started one for each."""
    import torch

    rank = os.environ.get("LOCAL_RANK")
    if rank is not None and torch.cuda.is_available():
        torch.cuda.set_device(int(rank) % torch.cuda.device_count())


if __name__ == "__main__":
    sys.exit(main())
