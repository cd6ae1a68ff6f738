"""``ser-compare``: runs side by side, with paired differences; or one recipe with several values of a key."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ser_toolkit.cli._command import run_command
from ser_toolkit.cli._labels import other_labels
from ser_toolkit.errors import RecipeError, nearest

if TYPE_CHECKING:
    from ser_toolkit.evaluation.comparison.compare import Comparison

USAGE = """\
usage: ser-compare RUN RUN [RUN ...] [options]
       ser-compare recipe=NAME key=VALUE,VALUE[,...] [key=value ...] [options]

Print one table: every run with its intervals, trained parameters and seconds of fitting, and its paired difference to
the first run (same utterances, same speakers left out, same seeds), with Holm-adjusted p-values.

  RUN                    a run directory (runs/<recipe>/<hash>), or a folder that holds exactly one
  recipe=NAME ...        as for ser-train. A key with several values makes one row of each, several such keys make all
                         combinations. Every row is an ordinary run of ser-train: what is complete is kept
  --row "NAME: key=value key=value"
                         one more row, under a name of its own; may be repeated. "NAME:" is the recipe as it is
  --protocols            stored runs may be of different protocols: the difference, on the utterances that both tested,
                         says what the protocol (its leak, its amount of training speech) is worth. With recipe=NAME,
                         data.protocol=A,B says so already
  --variant plain        whose models are compared
  --metric uar           whose difference is tested: uar (default), accuracy, macro_f1, weighted_f1, ccc_valence, ...
                         and where there are votes kl_votes, js_votes, macro_f1_votes, micro_f1_votes
  --labels Plurality     score all runs against the labels of one rule, whatever they were trained on
  --names a,b,c          names of the rows
  --output table.md      write the table as well: .md, .json or .csv (output=DIR is where run directories lie)
  --version

A value may be a spec with further overrides, separated by blanks. Commas within brackets or quotes do not separate:
trainer.devices=[0,1] is one value. fold=, seeds=, jobs=, variants=, baselines= and data.root= hold for all rows.

examples:
  ser-compare runs/emodb_egemaps runs/emodb_compare --names eGeMAPS,ComParE
  ser-compare recipe=demo model.pooling=MeanPooling,MaxPooling,AttentivePooling variants=[Plain] baselines=[]
  ser-compare recipe=demo "model.pooling=MeanPooling,StatisticsPooling model.pooling.unbiased=true"
  ser-compare recipe=emodb_egemaps_svm data.protocol=emobox_emodb,loso_speaker selection.candidates=[] data.root=EmoDB
  ser-compare recipe=demo --row "as it is:" --row "wider: model.upstream.num_mels=80 model.head.dropout=0.5"
"""
_OPTIONS = ("--variant", "--metric", "--names", "--output", "--row", "--labels")  # with a value
_FORMATS = {".md": "markdown", ".json": "json", ".csv": "csv"}


@dataclass
class _Options:
    """What the command was given, apart from runs and keys of a recipe."""

    variant: str = "plain"
    metric: str | None = None
    names: list[str] | None = None
    output: Path | None = None
    protocols: bool = False
    labels: str | None = None
    rows: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_command(
        "ser-compare",
        USAGE,
        _compare,
        arguments,
        trains=any(map(_is_recipe, sys.argv[1:] if arguments is None else arguments)),
    )


def _compare(arguments: list[str]) -> None:
    options = _read(arguments)
    labels = None if options.labels is None else other_labels(options.labels)
    trains = options.rows or any(_is_recipe(argument) for argument in options.rest)
    names: list[str] | None
    names, folders = _trained(options) if trains else _stored(options)
    if not folders:
        return
    from ser_toolkit.evaluation.comparison.compare import compare_runs

    # rows of other protocols were asked for by their keys, and looked at before they were trained
    protocols = options.protocols or bool(trains)
    comparison = compare_runs(folders, options.variant, options.metric, names, allow_protocols=protocols, labels=labels)
    sys.stdout.write(("\n" if trains else "") + comparison.text() + "\n")
    if options.output is not None:
        _write(comparison, options.output)
        sys.stdout.write(f"{options.output}\n")


def _stored(options: _Options) -> tuple[list[str] | None, list[Path]]:
    """Runs that are there."""
    from ser_toolkit.evaluation.run_folder import find_run

    keys = [argument for argument in options.rest if argument.startswith("-") or "=" in Path(argument).name]
    wrong = [argument for argument in keys if not Path(argument).exists()]
    if wrong:
        raise RecipeError(
            f"{wrong[0]!r} is neither a run directory nor an option ({', '.join(_OPTIONS)}, --protocols). "
            "To train, name the recipe: recipe=NAME."
        )
    return options.names, [find_run(Path(argument)) for argument in options.rest]


def _trained(options: _Options) -> tuple[list[str], list[Path]]:
    """Runs of one recipe, made where they are missing."""
    from ser_toolkit.config.arguments import add_working_directory

    if not any(_is_recipe(argument) for argument in options.rest):
        raise RecipeError("--row needs the recipe that it changes: recipe=NAME.")
    add_working_directory()
    from ser_toolkit.cli._rows import run_rows
    from ser_toolkit.evaluation.comparison.compare import METRICS

    if options.metric is not None and options.metric not in METRICS:  # said before anything is trained
        raise RecipeError(f"--metric {options.metric} is unknown. {nearest(options.metric, METRICS)}")
    return run_rows(options.rest, options.rows, options.variant, options.names)


def _read(arguments: list[str]) -> _Options:
    found, waiting = _Options(), list(arguments)
    while waiting:
        argument = waiting.pop(0)
        option, equals, value = argument.partition("=")
        if argument == "--protocols":
            found.protocols = True
            continue
        if option not in _OPTIONS:
            found.rest.append(argument)
            continue
        if not equals:
            if not waiting:
                raise RecipeError(f"{option} needs a value: {option} VALUE.")
            value = waiting.pop(0)
        _take(found, option, value)
    return found


def _take(found: _Options, option: str, value: str) -> None:
    if option == "--row":
        found.rows.append(value)
    elif option == "--names":
        from ser_toolkit.cli._grid import split_top

        found.names = [name.strip() for name in split_top(value, ",")]
    elif option == "--output":
        found.output = Path(value).expanduser()
        if found.output.suffix not in _FORMATS:
            raise RecipeError(
                f"--output {value}: a table is written as {', '.join(_FORMATS)}. "
                "(Where run directories lie is output=DIR, without dashes.)"
            )
    elif option == "--metric":
        found.metric = value
    elif option == "--labels":
        found.labels = value
    else:
        found.variant = value


def _is_recipe(argument: str) -> bool:
    return argument.removeprefix("--").partition("=")[0] in ("recipe", "config")


def _write(comparison: Comparison, path: Path) -> None:
    text = getattr(comparison, _FORMATS[path.suffix])()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"Cannot write {path}: {error.strerror}. Choose another place with --output FILE.") from error


if __name__ == "__main__":
    sys.exit(main())
