"""``ser-compare``: runs side by side, with paired differences; or one recipe with several values of a key."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_toolkit.cli._command import run_command
from ser_toolkit.cli._labels import other_labels
from ser_toolkit.cli._options import Parser, bare_words, names_recipe, write_output
from ser_toolkit.errors import RecipeError, nearest

if TYPE_CHECKING:
    import argparse

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
_FORMATS = {".md": "markdown", ".json": "json", ".csv": "csv"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_command(
        "ser-compare",
        USAGE,
        _compare,
        arguments,
        trains=any(map(names_recipe, sys.argv[1:] if arguments is None else arguments)),
    )


def _compare(arguments: list[str]) -> None:
    parser = _parser()
    options, others = parser.split(arguments)
    labels = None if options.labels is None else other_labels(options.labels)
    trains = bool(options.row) or any(map(names_recipe, others))
    names: list[str] | None
    names, folders = _trained(options, others) if trains else _stored(parser, options, others)
    if not folders:
        return
    from ser_toolkit.evaluation.comparison.compare import compare_runs

    # rows of other protocols were asked for by their keys, and looked at before they were trained
    protocols = options.protocols or trains
    comparison = compare_runs(folders, options.variant, options.metric, names, allow_protocols=protocols, labels=labels)
    sys.stdout.write(("\n" if trains else "") + comparison.text() + "\n")
    if options.output is not None:
        write_output(options.output, getattr(comparison, _FORMATS[options.output.suffix.lower()])())
        sys.stdout.write(f"{options.output}\n")


def _parser() -> Parser:
    parser = Parser("ser-compare", "--dry-run")
    parser.add_argument("--variant", default="plain")
    parser.add_argument("--metric", metavar="uar")
    parser.add_argument("--names", metavar="a,b,c", type=_names)
    parser.add_argument("--labels", metavar="Plurality")
    parser.add_argument("--protocols", action="store_true")
    parser.add_argument("--row", metavar='"NAME: key=value"', action="append", default=[])
    parser.add_file("--output", *_FORMATS, hint="Where run directories lie is output=DIR, without dashes.")
    return parser


def _names(text: str) -> list[str]:
    from ser_toolkit.cli._grid import split_top

    return [name.strip() for name in split_top(text, ",")]


def _stored(parser: Parser, options: argparse.Namespace, others: Sequence[str]) -> tuple[list[str] | None, list[Path]]:
    """Names and folders of runs that are there."""
    from ser_toolkit.evaluation.run_folder import find_run

    for argument in others:
        if argument.startswith("--") and not Path(argument).exists():
            raise parser.unknown(argument, "To train, name the recipe: recipe=NAME.")
        if "=" in Path(argument).name and not Path(argument).exists():
            raise RecipeError(f"{argument!r} is no run directory. To train, name the recipe: recipe=NAME.")
    return options.names, [find_run(Path(argument)) for argument in others]


def _trained(options: argparse.Namespace, others: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Names and folders of the runs of one recipe, made where they are missing."""
    from ser_toolkit.config.arguments import add_working_directory

    stored = bare_words(others)
    if stored:
        raise RecipeError(f"Give stored runs or a recipe to train, not both: found {stored[0]} beside recipe=NAME.")
    if not any(map(names_recipe, others)):
        raise RecipeError("--row needs the recipe that it changes: recipe=NAME.")
    add_working_directory()
    from ser_toolkit.cli._rows import run_rows
    from ser_toolkit.evaluation.comparison.compare import METRICS

    if options.metric is not None and options.metric not in METRICS:  # refused before anything is trained
        raise RecipeError(f"--metric {options.metric} is unknown. {nearest(options.metric, METRICS)}")
    return run_rows(others, options.row, options.variant, options.names)


if __name__ == "__main__":
    sys.exit(main())
