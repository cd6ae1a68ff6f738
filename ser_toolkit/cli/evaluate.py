"""``ser-evaluate``: a run on another corpus, or every run on every run's corpus."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_toolkit.cli._command import quiet_libraries, run_command
from ser_toolkit.cli._options import Parser, bare_words, names_recipe, pair
from ser_toolkit.errors import RecipeError
from ser_toolkit.system.progress import Progress

if TYPE_CHECKING:
    import argparse

    from ser_toolkit.crosscorpus.single import TransferOptions

USAGE = """\
usage: ser-evaluate RUN --on recipe=NAME [key=value ...] [options]
       ser-evaluate matrix RUN [RUN ...] [options] [--on recipe=NAME [key=value ...]] ...

Score what ser-train has trained on another corpus: UA, WA and macro-F1 on the classes that both have, CCC of the
dimensions that both have, with intervals over speakers. The models of all folds are averaged. Every variant of the run
is scored, with paired differences to the plain one. Utterances of classes that the model does not know are counted and
said. Written to RUN/evaluations/<corpus>-<hash>/; predictions that are there already are used again.

  RUN                    a run directory (runs/<recipe>/<hash>), or a folder in it such as plain/fold=03/seed=0
  --on recipe=NAME       a corpus (recipe=emovo), or a recipe whose corpus, classes and label rule are taken; all its
                         utterances are tested
  data.root=PATH         and any other key=value of the data, as for ser-train
  fold=3 seed=0 variant=plain   which models; default: all folds and seeds of all variants, side by side
  matrix                 every run on every run's corpus, and on those named with --on; in-corpus cells are the run's
                         own cross-validation; of the plain variant, or of variant=NAME

  --map excited=happy    classes that belong together: of the model or the corpus = common name; several by commas
  --adapt-prior          transductive: estimate the class priors of the test corpus without labels, and correct for them
  --device cpu|cuda      where models run (default: cpu)
  --upstream PATH        where the run's upstream lies now, if its folder or file of weights was moved since
  --trust-code           let runs execute code that is not yours: their copies of own parts, classes of other packages
  --classes shared       matrix: score on the classes common to all (default), or pairwise
  --root NAME=PATH       matrix: where a corpus lies now, if not where its run had it; may be repeated
  --output DIR           matrix: where matrix.md, matrix.json and matrix.png go (default: runs/matrix-<hash>)
  --version

examples:
  ser-evaluate runs/emodb_egemaps/1a2b3c4d5e --on recipe=cremad data.root=/data/CREMA-D
  ser-evaluate runs/iemocap_wavlm/1a2b3c4d5e --on recipe=emodb data.root=/data/EmoDB --map excited=happy
  ser-evaluate matrix runs/emodb_egemaps runs/cremad_egemaps --output emodb-cremad
  ser-evaluate matrix runs/emodb_egemaps --on recipe=emovo data.root=/data/EMOVO --on recipe=urdu data.root=/data/URDU
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_command("ser-evaluate", USAGE, _evaluate, arguments)


def _evaluate(arguments: list[str]) -> None:
    if arguments[0] == "matrix":
        _matrix(arguments[1:])
        return
    parser = _parser("ser-evaluate")
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--on", nargs="+", metavar="recipe=NAME")
    parser.add_models()
    for key in ("fold", "seed", "variant"):
        parser.add_argument(f"--{key}")
    options, others = parser.split(_dashed(arguments))
    named = [*(options.on or []), *others]
    further = bare_words(named)
    if further:
        raise RecipeError(f"One run is evaluated, found {further[0]} too. Several: ser-evaluate matrix RUN RUN ...")
    if not any(map(names_recipe, named)):
        raise RecipeError("On which corpus? Name a recipe that has it: --on recipe=NAME data.root=PATH.")
    from ser_toolkit.evaluation.run_folder import find_run

    find_run(Path(options.run))  # refused before anything heavy is imported
    if options.seed is not None and not options.seed.isdigit():
        raise RecipeError(f"seed={options.seed} does not fit: expected a whole number.")
    _prepare()
    from ser_toolkit.config.recipe import parse_corpus
    from ser_toolkit.crosscorpus.variants import evaluate_variants

    seed = None if options.seed is None else int(options.seed)
    found = evaluate_variants(options.run, parse_corpus(named), _options(options, options.fold, seed), _Notes())
    sys.stdout.write(f"{found.text()}\n\n{found.markdown_path}\n")


def _matrix(arguments: list[str]) -> None:
    parser = _parser("ser-evaluate matrix")
    parser.add_argument("runs", metavar="RUN", nargs="+")
    parser.add_argument("--variant")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--trust-code", action="store_true")
    parser.add_argument("--classes", default="shared")
    parser.add_argument("--root", action="append", default=[])
    parser.add_argument("--output", type=Path)
    arguments, further = _further(arguments)
    options = parser.read(_dashed(arguments))
    roots = dict(pair("--root", text, "EmoDB=/data/EmoDB") for text in options.root)
    from ser_toolkit.evaluation.run_folder import find_run

    for run in options.runs:
        find_run(Path(run))
    _prepare()
    from ser_toolkit.config.recipe import parse_corpus
    from ser_toolkit.crosscorpus.matrix import matrix

    on = [parse_corpus(named) for named in further]
    found = matrix(options.runs, options.output, _options(options), options.classes, roots, _Notes(), on)
    sys.stdout.write(f"{found.text()}\n\n{found.markdown_path}\n")


def _further(arguments: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The other arguments, and behind each ``--on`` a recipe with the settings of its data (``key=value``)."""
    rest: list[str] = []
    found: list[list[str]] = []
    inside = False
    for argument in arguments:
        key = argument.removeprefix("--")
        if argument == "--on":
            found.append([])
            inside = True
        elif inside and key.startswith(("recipe=", "config=", "data.")):
            found[-1].append(argument)
        else:
            inside = False
            rest.append(argument)
    if any(not any("recipe=" in one or "config=" in one for one in named) for named in found):
        raise RecipeError("--on names a corpus: --on recipe=NAME data.root=PATH, once for each.")
    return rest, found


def _parser(prog: str) -> Parser:
    parser = Parser(prog)
    parser.add_argument("--map", action="append", default=[])
    parser.add_argument("--adapt-prior", action="store_true")
    return parser


def _dashed(arguments: Sequence[str]) -> list[str]:
    """``fold=3`` is ``--fold=3``, as for ser-train."""
    return [f"--{one}" if one.startswith(("fold=", "seed=", "variant=")) else one for one in arguments]


def _options(given: argparse.Namespace, fold: str | None = None, seed: int | None = None) -> TransferOptions:
    from ser_toolkit.crosscorpus.single import TransferOptions

    texts = [text for several in given.map for text in several.split(",")]
    merges = dict(pair("--map", text, "excited=happy") for text in texts)
    upstream = getattr(given, "upstream", None)  # of a matrix, each run has its own
    return TransferOptions(
        fold, seed, given.variant, merges, given.adapt_prior, given.device, upstream, given.trust_code
    )


def _prepare() -> None:
    from ser_toolkit.config.arguments import add_working_directory

    add_working_directory()
    import lightning.pytorch  # noqa: F401  (importing it sets its loggers' levels anew)

    quiet_libraries()


class _Notes(Progress):
    """Prints sentences about a long evaluation, each on a line of stderr."""

    def note(self, sentence: str) -> None:
        """Print a sentence to stderr."""
        sys.stderr.write(f"{sentence}\n")


if __name__ == "__main__":
    sys.exit(main())
