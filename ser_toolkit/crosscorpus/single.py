"""One run on one other corpus: predicted once, kept in the run directory, scored on the common classes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_toolkit.config.recipe import Recipe
from ser_toolkit.crosscorpus.overlap import audit_corpora, without_own
from ser_toolkit.data.audio.channels import MIX, channel_index
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation import confound
from ser_toolkit.evaluation.predictions import probability_columns, read_predictions, write_predictions
from ser_toolkit.evaluation.reporting.copies import copy_banners, whole_or_part
from ser_toolkit.evaluation.results import load_results
from ser_toolkit.evaluation.run_folder import RunFolder, UnitFolder, find_run
from ser_toolkit.evaluation.run_record import RunRecord
from ser_toolkit.evaluation.transfer import report as transfer_report
from ser_toolkit.evaluation.transfer import variants as transfer_variants
from ser_toolkit.evaluation.transfer.classes import ClassMatch, class_prior, score_transfer
from ser_toolkit.evaluation.transfer.dimensions import score_dimensions
from ser_toolkit.inference.corpus import check_device, predict_corpus
from ser_toolkit.inference.stored import StoredRun, units_of_run
from ser_toolkit.system.files import write_json, write_text
from ser_toolkit.system.progress import SILENT, Progress


@dataclass(frozen=True)
class TransferOptions:
    """Which models are evaluated, and how classes and priors are treated.

    Args:
        fold: use the models of one fold, by name or number; None averages all.
        seed: use the models of one seed; None averages all.
        variant: how features are normalised; None is plain.
        merges: another name for classes of the model or the corpus, for example ``{"excited": "happy"}``.
        adapt_prior: correct for the shift of class priors, estimated on the test corpus without labels (transductive).
        device: where models run.
        upstream: where the run's upstream lies now; None where the run had it.
        trust_code: whether the run may execute code that is not the user's own, see ``parts.trust``.
    """

    fold: str | int | None = None
    seed: int | None = None
    variant: str | None = None
    merges: Mapping[str, str] = field(default_factory=dict)
    adapt_prior: bool = False
    device: str = "cpu"
    upstream: str | None = None
    trust_code: bool = False


@dataclass(frozen=True)
class Evaluation:
    """A run on a corpus, written into the run directory.

    Args:
        folder: with ``predictions.parquet`` and the reports.
        json_path: of this report.
        data: its content.
        table: the predictions that are scored (see ``evaluation/predictions.py``).
    """

    folder: Path
    json_path: Path
    data: dict[str, Any]
    table: pd.DataFrame

    @property
    def markdown_path(self) -> Path:
        """Path of the report as Markdown."""
        return self.json_path.with_suffix(".md")

    @property
    def pages(self) -> Any:
        """Module that writes the content: for one variant or for several."""
        return transfer_variants if "variants" in self.data else transfer_report

    def text(self) -> str:
        """The short summary for a terminal."""
        return str(self.pages.text(self.data))


@dataclass(frozen=True)
class TargetCorpus:
    """A corpus that a run is tested on.

    Args:
        data: its manifest and label rule.
        labels: the label rule with its options, as plain data: part of what predictions are known by.
    """

    data: CorpusData
    labels: Any

    @classmethod
    def of(cls, recipe: Recipe) -> TargetCorpus:
        """Corpus of a recipe, under its class set and label rule."""
        return cls(recipe.data(), recipe.plain_config()["data"]["labels"])

    @property
    def identity(self) -> list[Any]:
        """Identity of the corpus: its recordings, the channel of them where one is taken, classes and labels.

        Ratings are stored scaled, so that their scale is part of it.
        """
        channel = channel_index(self.data.channel)
        taken = [] if channel is None else [f"channel {channel}"]
        rated = not np.isnan(self.data.targets.dimensions).all()
        scale = [list(self.data.manifest.facts["dimension_range"])] if rated else []
        return [self.data.manifest.content_hash, list(self.data.classes), self.labels, *taken, *scale]


def evaluate(
    run: str | Path, recipe: Recipe, options: TransferOptions | None = None, progress: Progress = SILENT
) -> Evaluation:
    """Predict the corpus of a recipe with a run's models, and score it on the classes that both have.

    Predictions that are there already are used again; the report is made anew from them.

    Args:
        run: a run directory, or a folder in it.
        recipe: sets the corpus, its root, its classes and label rule; its model and protocol have no meaning here.
        options: which models, and how classes and priors are treated.
        progress: of the extraction, with sentences for the user.

    Raises:
        ResultError: there is no such run, no complete model in it, or fewer than two common classes.
        RecipeError: fold, variant or device is unknown.
    """
    return evaluate_on(run, TargetCorpus.of(recipe), options or TransferOptions(), progress)


def evaluate_on(
    run: str | Path, target: TargetCorpus, options: TransferOptions, progress: Progress = SILENT
) -> Evaluation:
    """Evaluate as ``evaluate`` does, on a corpus that is loaded already."""
    check_device(options.device)
    units = units_of_run(run, options.fold, options.variant, options.seed)
    units = replace(units, upstream=options.upstream, trust_code=options.trust_code)
    run_dir, info, data = find_run(Path(run)), units.info, target.data
    match = _class_match(units, target, options)
    folder = RunFolder(run_dir).evaluations / f"{data.corpus.name.lower()}-{_settings_hash(units, target)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultError(f"Cannot make {folder}: {error.strerror}. Copy the run to where you may write.") from error
    everything = predictions(folder, units, target, options, progress)
    table, left_out = without_own(run_dir, info.corpus, data.corpus.name, everything)
    prior = class_prior(own_predictions(run_dir, info.variant), match) if options.adapt_prior and match else None
    dimensions = score_dimensions(table)
    if match is None and dimensions is None:
        raise ResultError(
            f"The models of {info.recipe}/{info.hash} and {data.corpus.name} have no common class, and no dimension "
            "that the models predict and the corpus has ratings of (on a stated scale: data.corpus.dimension_range)."
        )
    record = RunFolder(run_dir).record()
    alone = confound.banners(data.split_table, data.corpus.name, record, [info.variant])
    content = {
        "title": f"{info.recipe} ({info.corpus}) on {data.corpus.name}",
        "run": f"{info.recipe}/{info.hash}",
        "corpus": data.corpus.name,
        "manifest_hash": data.manifest.content_hash,
        "variant": info.variant,
        "folds": list(info.folds),
        "seeds": list(info.seeds),
        "model_classes": list(info.classes),
        "corpus_classes": list(data.classes),
        "labels": {"rule": data.labels.explanation, "notes": data.targets.notes},
        "banners": [*banners(units, run_dir, data), *copies(units, record, data), *alone],
        "facts": _facts(units, data, len(units.units)),
        "audit": [*left_out, *audit_corpora(run_dir, info.corpus, data)],
        "scores": None if match is None else score_transfer(table, match, prior),
        "dimensions": dimensions,
    }
    path = folder / f"report{report_tag(options)}.json"
    found = Evaluation(folder, path, json.loads(json.dumps(content)), table)
    write_report(found)
    return found


def _class_match(units: StoredRun, target: TargetCorpus, options: TransferOptions) -> ClassMatch | None:
    """Mapping between the classes of both corpora; None for dimensions alone or without a common class.

    Raises:
        ResultError: there is nothing to score.
    """
    info, outputs = units.info, units.info.outputs
    if "logits" in outputs:
        try:
            return ClassMatch(info.classes, target.data.classes, options.merges)
        except ResultError:
            if "dimensions" not in outputs or np.isnan(target.data.targets.dimensions).all():
                raise
    if options.adapt_prior or options.merges:
        raise ResultError(
            f"--adapt-prior and --map are about classes; {info.recipe}/{info.hash} is scored on valence, arousal and "
            "dominance here. Leave them out."
        )
    return None


def predictions(
    folder: Path, units: StoredRun, target: TargetCorpus, options: TransferOptions, progress: Progress
) -> pd.DataFrame:
    """Predictions of a folder; computed where they are missing or damaged."""
    path = UnitFolder(folder).predictions
    if path.is_file():
        try:
            return _of_this_corpus(path, target)
        except ResultError as error:
            progress.note(f"made anew: {error}")
    table, info = predict_corpus(units, target.data, options.device, progress), units.info
    fold = info.folds[0] if len(info.folds) == 1 else "all"
    table = table.assign(fold=fold, seed=info.seeds[0])
    columns = [column for column in probability_columns(info.classes) if column in table]
    classes = target.data.classes
    if columns:
        # Classes that only the corpus has are no predictions, but true classes of the file: their probability is 0.
        classes = tuple(dict.fromkeys([*info.classes, *classes]))
        table = table.assign(**{f"probability/{name}": 0.0 for name in classes if name not in info.classes})
        table["predicted"] = [info.classes[index] for index in table[columns].to_numpy().argmax(axis=1)]
    write_predictions(path, table, classes)
    return read_predictions(path)[0]


def _of_this_corpus(path: Path, target: TargetCorpus) -> pd.DataFrame:
    """Read predictions of an earlier evaluation.

    Raises:
        ResultError: they are damaged, or of utterances that the corpus does not have.
    """
    table = read_predictions(path)[0]
    strange = set(table["id"]) - set(target.data.manifest.table["id"])
    if strange:
        raise ResultError(f"{path} holds utterances that {target.data.corpus.name} lacks, such as {min(strange)}.")
    return table


def own_predictions(run_dir: Path, variant: str) -> pd.DataFrame:
    """Read the cross-validated predictions of a run on its own corpus.

    Raises:
        ResultError: there are none of this variant.
    """
    system = load_results(run_dir).find(variant)
    if system is None:
        raise ResultError(f"{run_dir} holds no predictions of variant {variant}. Run ser-train again to finish it.")
    return system.table


def banners(units: StoredRun, run_dir: Path, data: CorpusData) -> list[str]:
    """Banners of an evaluation: synthetic speech, a declared leak, an unfinished run."""
    found = [str(banner) for banner in units.info.banners]
    run = RunFolder(run_dir)
    record = run.record()
    if "synthetic" in (record.corpus.verified, data.manifest.facts.get("verified")):
        found.append("Synthetic speech: these figures show that the software works, nothing about emotion.")
    leak = record.protocol.declared_leak
    if leak:
        found.append(f"Leak within {units.info.corpus}, declared by its protocol: {leak.rstrip('.')}.")
    done = {unit.fold for unit in run.units(units.info.variant) if unit.metrics.is_file()}
    folds = len(record.folds or done)
    if len(done) < folds:
        found.append(f"Unfinished run: {len(done)} of {folds} folds.")
    return found


def copies(units: StoredRun, record: RunRecord, data: CorpusData) -> list[str]:
    """Banners on parts of either corpus that are missing or left out."""
    tested = copy_banners(data.manifest.facts, data.allow_incomplete, of=data.corpus.name)
    return list(dict.fromkeys([*copy_banners(vars(record.corpus), of=units.info.corpus), *tested]))


def _facts(units: StoredRun, data: CorpusData, models: int) -> list[str]:
    info = units.info
    which = f"{models} models averaged" if models > 1 else f"one model (fold {info.folds[0]}, seed {info.seeds[0]})"
    tested = whole_or_part(data.manifest.facts, data.corpus.name, len(data.manifest))
    return [
        f"Trained on {info.corpus}, variant {info.variant}: {which}",
        f"Tested on {tested}, whatever its recipe's protocol; labels: {data.labels.explanation}",
        *(f"Labels of {data.corpus.name}: {sentence}" for sentence in data.targets.notes),
        *([f"Channel of {data.corpus.name}: {data.channel}"] if data.channel != MIX else []),
    ]


def _settings_hash(units: StoredRun, target: TargetCorpus) -> str:
    """Hash of what predictions depend on: the models and the corpus, wherever they lie."""
    models = []
    for unit in units.units:
        # a unit that is trained again leaves other metrics (its seconds, at least)
        made = hashlib.sha256(unit.files.metrics.read_bytes()).hexdigest()
        models.append([unit.fold, unit.seed, made])
    identity = [units.info.recipe, units.info.hash, units.info.variant, models, target.identity]
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:10]


def report_tag(options: TransferOptions) -> str:
    """End of a report's file name: reports of the same predictions under other class names or priors are kept apart."""
    merged = hashlib.sha256(json.dumps(sorted(options.merges.items())).encode()).hexdigest()[:6]
    return (f"-map-{merged}" if options.merges else "") + ("-adapted" if options.adapt_prior else "")


def write_report(found: Evaluation) -> None:
    """Write a report as JSON and as Markdown."""
    write_json(found.json_path, found.data)
    write_text(found.markdown_path, found.pages.markdown(found.data))
