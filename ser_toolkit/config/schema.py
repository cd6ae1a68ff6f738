"""The keys of a recipe, their types and their help: the signatures of data, model and trainer are the schema."""

from __future__ import annotations

import functools

import jsonargparse
import lightning.pytorch as pl

# Their parts are known by their short names once they are imported.
import ser_toolkit.corpora
import ser_toolkit.data.label_rules
import ser_toolkit.downstream
import ser_toolkit.objectives
import ser_toolkit.protocols
import ser_toolkit.upstreams  # noqa: F401
from ser_toolkit.config.parser import RecipeParser
from ser_toolkit.config.selection import Selection
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.features.settings import FeatureSettings
from ser_toolkit.features.variants import Variant
from ser_toolkit.model.build import build_model


@functools.cache
def make_parser() -> RecipeParser:
    """The parser of ``ser-train``: the signatures are the schema."""
    parser = RecipeParser(
        prog="ser-train", description="Train every fold of a recipe, then report.", allow_abbrev=False
    )
    parser.add_argument("--config", action="config", help="A recipe file; recipe=NAME finds the shipped ones.")
    parser.add_argument("--name", type=str | None, default=None, help="Name of the run directory.")
    # text first: speaker 08 of EmoDB is a fold's name, not the eighth fold
    parser.add_argument("--fold", type=str | int, default="all", help="Fold name or number (from 1), or all.")
    parser.add_argument("--seed", type=int, default=0, help="First seed.")
    parser.add_argument("--seeds", type=int, default=1, help="Repeat with this many seeds.")
    parser.add_argument("--jobs", type=int, default=1, help="Folds trained side by side.")
    parser.add_argument("--variants", type=list[Variant] | None, default=None, help="Normalisation variants.")
    parser.add_argument(
        "--tuning",
        type=list[str],
        default=[],
        help="Overrides of a first stage that fine-tunes each upstream of a fold; the recipe's parts are then trained "
        "on its features.",
    )
    parser.add_argument(
        "--start_from",
        type=str | None,
        default=None,
        help="A run of the same folds: every unit starts from its weights there (train a head on stored features, then "
        "fine-tune everything).",
    )
    usual = ["majority", "egemaps_svm", "egemaps_regression"]
    parser.add_argument(
        "--baselines", type=list[str], default=usual, help="Baselines of the same folds, of what the model predicts."
    )
    parser.add_argument("--output", type=str, default="runs", help="Where run directories lie.")
    parser.add_argument("--dry_run", type=bool, default=False, help="Print the plan and stop (also --dry-run).")
    parser.add_argument("--worker", type=bool, default=False, help=jsonargparse.SUPPRESS)
    parser.add_class_arguments(Selection, "selection", instantiate=False)
    parser.add_class_arguments(FeatureSettings, "features", instantiate=False)
    parser.add_class_arguments(CorpusData, "data", instantiate=False)
    parser.add_function_arguments(build_model, "model", skip={"classes", "monitor"})
    parser.add_class_arguments(
        pl.Trainer, "trainer", skip={"use_distributed_sampler", "num_sanity_val_steps"}, instantiate=False
    )
    parser.set_defaults(
        {
            "trainer.max_epochs": 30,
            "trainer.enable_progress_bar": False,
            "trainer.enable_model_summary": False,
            "trainer.logger": None,
            "trainer.deterministic": True,
        }
    )
    return parser
