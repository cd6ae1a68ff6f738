"""An experiment: variants x folds x seeds, each a short list of stages -> run directory -> report."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ser_toolkit.config.recipe import Recipe
from ser_toolkit.data.batch import Stored
from ser_toolkit.data.conditions import condition_table
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.data.limits import check_least
from ser_toolkit.errors import RecipeError, ResultError
from ser_toolkit.evaluation import confound
from ser_toolkit.evaluation.predictions import write_predictions
from ser_toolkit.evaluation.reporting import copies
from ser_toolkit.evaluation.reporting.report import Report, write_report
from ser_toolkit.evaluation.run_folder import RunFolder, UnitFolder
from ser_toolkit.experiment.baselines import Baseline, check_baselines, known_baselines
from ser_toolkit.experiment.console import Console
from ser_toolkit.experiment.plan import Plan, unit_place
from ser_toolkit.experiment.record import check_same_run, write_record
from ser_toolkit.experiment.stages.choose import check_dev
from ser_toolkit.experiment.stages.sequence import run_unit
from ser_toolkit.experiment.stages.start import changed_code
from ser_toolkit.experiment.stages.tune import drop_tuning, with_tuned_upstream
from ser_toolkit.experiment.stores import stores_of
from ser_toolkit.experiment.unit import Unit, prediction_table
from ser_toolkit.experiment.unit_claims import at_work
from ser_toolkit.experiment.workers import run_side_by_side
from ser_toolkit.features.extract import extract
from ser_toolkit.features.variants import Plain, Variant
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.model.feature_plan import check_stored, unused_layers, why_not_stored
from ser_toolkit.model.state import entries_of
from ser_toolkit.model.weights import open_weights
from ser_toolkit.parts.own_sources import keep_copy
from ser_toolkit.protocols.audit import CONFOUNDED, audit_sentences, confounding, corpora_left_out
from ser_toolkit.protocols.splits import Fold
from ser_toolkit.system.processes import is_first, launched_rank

_LOG = logging.getLogger(__name__)


class Experiment:
    """Runs a recipe: complete units stay, missing ones are trained, then all are reported.

    Args:
        recipe: the configuration.
        console: where progress goes; silent when None.
        resumed: the run directory to go on in, wherever it lies; by the recipe's hash when None.
    """

    def __init__(self, recipe: Recipe, console: Console | None = None, resumed: Path | None = None) -> None:
        self.recipe, self._resumed = recipe, resumed
        # of several processes the first alone shows progress
        self.console = console if console is not None and launched_rank() == 0 else Console(quiet=True)
        self.data: CorpusData = recipe.data()
        check_baselines(recipe.settings.baselines)

    # --- what there is to do --------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """Variants, folds and seeds of this command.

        Raises:
            RecipeError: there is no such fold, nothing would be run, or a fold has no dev part to choose on.
        """
        settings = self.recipe.settings
        folds = self.data.folds if settings.fold == "all" else [self.data.fold_named(settings.fold)]
        check_dev(self.recipe.selection, self.data.protocol, folds)
        check_least({"seeds": settings.seeds, "jobs": settings.jobs}, 1)
        check_least({"seed": settings.seed}, 0)
        variants = sorted(self.recipe.variants, key=lambda variant: not isinstance(variant, Plain))
        return Plan(variants, folds, [settings.seed + number for number in range(settings.seeds)])

    def audit(self) -> list[str]:
        """Leakage audit of the folds, in sentences; printed before training and stored with the result."""
        data = self.data
        table = data.split_table
        found = audit_sentences(table, data.folds, data.protocol)
        found += confound.audit_sentences(table, confounding(table), CONFOUNDED)
        return [*found, *corpora_left_out(data.manifest.table, data.folds)]

    def copy_banners(self) -> list[str]:
        """Banners on parts of the corpus that are missing or left out."""
        return copies.copy_banners(self.data.manifest.facts, self.data.allow_incomplete)

    def probe_model(self) -> EmotionModel:
        """A model as the units make it, to ask about sizes and the upstream's identity."""
        return self.recipe.model(self.data.classes, self.recipe.settings.seed)

    def why_not_stored(self, model: EmotionModel) -> str | None:
        """Why features cannot be extracted once for all folds and epochs; None where they can."""
        return why_not_stored(model.network, self.data, self.recipe.features)

    def folder(self, model: EmotionModel) -> Path:
        """Path of the run directory.

        Raises:
            ResultError: it is gone on with, but corpus or upstream are not those of the run.
        """
        if self._resumed is not None:
            check_same_run(self._resumed, self.data, model)
            return self._resumed
        manifest, upstream = self.data.manifest.content_hash, model.upstream
        learns = json.dumps(upstream.training_settings, sort_keys=True) if upstream.training_settings else ""
        name = self.recipe.hash(manifest, upstream.fingerprint() + learns)
        return Path(self.recipe.settings.output) / self.recipe.name / name

    # --- doing it -------------------------------------------------------------------------------------------------

    def run(self) -> Path:
        """Train the units that have no result yet, then report. Returns the run directory."""
        started = time.perf_counter()
        plan, model = self.plan(), self.probe_model()
        self.check_settings(plan, model)
        folder = self.folder(model)
        sentences = self.audit()
        self.console.heading(self.recipe.name, self.data, plan, sentences, folder)
        for note in (*self.recipe.notes, *changed_code(self.recipe)):
            self.console.line(f"  note: {note}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            plan.check_names(folder)
            keep_copy(RunFolder(folder).own_parts, self.recipe.own_sources)
        except OSError as error:
            raise RecipeError(
                f"Cannot make {folder}: {error.strerror}. Choose another place with output=PATH."
            ) from error
        missing = plan.incomplete(folder)
        if len(missing) < len(plan) or self._resumed is not None:
            self.console.line(f"{len(plan) - len(missing)} of {len(plan)} units are complete and reused")
        with at_work(folder, [unit_place(*one) for one in missing], self.recipe.settings.worker):
            features = self.features(model=model)
            self._record(folder, plan, model, sentences)
            folds = list(dict.fromkeys(fold.name for _, fold, _ in plan.incomplete(folder)))
            if self.recipe.settings.jobs > 1 and len(folds) > 1:
                run_side_by_side(self.recipe, folds, self.recipe.settings.jobs, self.console, folder)
            self._run_units(plan, folder, features)
        if self.recipe.settings.worker or not is_first():
            return folder
        self._run_baselines(plan, folder, model.trained_outputs)
        seconds = time.perf_counter() - started
        self._record(folder, plan, model, sentences, seconds)
        self.console.report(self.report(folder))
        return folder

    def report(self, folder: Path) -> Report:
        """Write the report from the stored predictions."""
        return write_report(folder)

    def features(self, recipe: Recipe | None = None, model: EmotionModel | None = None) -> Mapping[str, Stored] | None:
        """Stored features of the corpus under a recipe's upstream, extracted where missing; None from waveforms.

        Args:
            recipe: this experiment's, or that of a candidate inside a fold.
            model: of the recipe; made when None.
        """
        own = recipe is None
        recipe = recipe or self.recipe
        model = model or recipe.model(self.data.classes, recipe.settings.seed)
        reason = why_not_stored(model.network, self.data, recipe.features)
        if reason is not None:
            if own:
                self.console.line(f"features: none are kept, every step starts at the recordings: {reason}")
            return None
        hint = unused_layers(model.network)
        if own and hint:
            self.console.line(f"hint: {hint}")
        with self.console.extraction(type(model.upstream).__name__, notes=own) as progress:
            return extract(stores_of(recipe, self.data, model, searched=own), progress)

    def _run_units(self, plan: Plan, folder: Path, features: Mapping[str, Stored] | None) -> None:
        vectors: dict[tuple[str, int, str], dict[str, Tensor]] = {}
        with self.console.units(len(plan)) as bars:
            for variant, fold, seed in plan:
                place = folder / unit_place(variant, fold, seed)
                bars.start(variant.name, fold.name, seed)
                unit = Unit(
                    self.recipe,
                    self.data,
                    variant,
                    fold,
                    seed,
                    place,
                    features,
                    extract=self.features,
                    on_epoch=bars.update,
                    vectors=vectors,
                )
                complete = unit.complete
                if not complete:
                    if features is None and not isinstance(variant, Plain):
                        unit = self._with_tuned_upstream(unit, folder)
                    run_unit(unit)
                drop_tuning(unit)
                record = json.loads(UnitFolder(place).metrics.read_text(encoding="utf-8"))
                bars.finish(record, not complete, self.recipe.selection.monitor)

    def _with_tuned_upstream(self, unit: Unit, folder: Path) -> Unit:
        """The unit with the plain unit's fine-tuned upstream: only the downstream is trained on normalised features."""
        plain = RunFolder(folder).unit(Plain.name, unit.fold.name, unit.seed)
        if not plain.weights.is_file():
            if plain.metrics.is_file():
                raise ResultError(
                    f"Variant {unit.variant.name} of a fine-tuned upstream needs the weights of {plain.path}, which "
                    "are gone. Copy them back, or delete that folder and run the same command again: it is made anew."
                )
            raise RecipeError(
                f"Variant {unit.variant.name} of a fine-tuned upstream needs the plain variant of the same fold first. "
                "Add Plain to variants."
            )
        # the upstream alone: the plain unit may have chosen other parts behind it
        return with_tuned_upstream(unit, entries_of("upstream", open_weights(plain.weights).state))

    def _run_baselines(self, plan: Plan, folder: Path, predicted: Sequence[str]) -> None:
        """Run the baselines that predict what the model predicts: classes, dimensions or both."""
        known = known_baselines()
        for name in self.recipe.settings.baselines:
            baseline = known[name]
            if baseline.output not in predicted:
                continue
            if not baseline.available():
                _LOG.warning("Baseline %s is left out: its package is not installed (see README, extras).", name)
                continue
            features: Mapping[str, Stored] | None = None
            for variant in plan.variants:
                for fold in plan.folds:
                    target = RunFolder(folder).baseline(variant.name, name, fold.name)
                    if target.is_file():
                        continue
                    features = features if features is not None else baseline.features(self.data)
                    self._run_baseline(baseline, variant, fold, target, features)

    def _run_baseline(
        self, baseline: Baseline, variant: Variant, fold: Fold, target: Path, features: Mapping[str, Stored] | None
    ) -> None:
        import pandas as pd

        table = self.data.manifest.table
        tables = []
        for draw in range(variant.draws):
            standardised = None if features is None else variant.standardised(features, table, draw)
            left_out = frozenset(variant.excluded(table, draw))
            part = FoldData(self.data, fold, needs=baseline.needs, features=standardised, leave_out=left_out)
            tables.append(prediction_table(part, baseline.predict(part), draw))
        write_predictions(target, pd.concat(tables), self.data.classes)

    def _record(
        self, folder: Path, plan: Plan, model: EmotionModel, sentences: list[str], seconds: float = 0.0
    ) -> None:
        if is_first() and not self.recipe.settings.worker:
            write_record(folder, self.recipe, self.data, model, plan.variants, plan.seeds, sentences, seconds)

    def check_settings(self, plan: Plan, model: EmotionModel) -> None:
        """Make once what every unit will make, so that a wrong setting is refused before hours of extraction.

        Raises:
            RecipeError: training would refuse a setting.
        """
        self.recipe.check_training()
        self.recipe.check_targets(model, self.data, *zip(*((f.train, f.dev) for f in plan.folds), strict=True))
        check_stored(model.network, self.data, self.recipe.features, plan.variants)
        for variant in plan.variants:
            variant.reference(self.data.manifest.table, 0)
        if model.conditions:
            condition_table(model.conditions, self.data.manifest.table)
        monitor = self.recipe.selection.monitor
        measured = ("dimensions",) if "ccc" in monitor else ("logits",) if monitor != "dev/loss" else ()
        if any(fold.dev for fold in plan.folds) and not set(measured) <= set(model.trained_outputs):
            raise RecipeError(
                f"selection.monitor={monitor} is not measured: {type(model.objective).__name__} trains "
                f"{', '.join(model.trained_outputs)} of {type(model.head).__name__} only. Choose another monitor (such "
                f"as {'dev/ccc' if 'dimensions' in model.trained_outputs else 'dev/uar'}), objective or head."
            )
        for tried in self.recipe.check_candidates():
            tried.check_training()
        self.recipe.trainer(logger=False)
        try:
            model.configure_optimizers()
        except (ValueError, TypeError) as error:
            raise RecipeError(f"model.optimizer or model.lr_scheduler: {error}") from error


def train(recipe: Recipe, console: Console | None = None) -> Path:
    """Train every fold of a recipe and write the report, as ``ser-train`` does; returns the run directory.

    Args:
        recipe: the configuration, as from ``load_recipe``.
        console: where progress goes; silent when None.
    """
    return Experiment(recipe, console).run()
