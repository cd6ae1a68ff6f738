"""The record of a run, ``run.json``, written beside the predictions."""

from __future__ import annotations

import datetime
import json
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ser_toolkit.config.recipe import Recipe
from ser_toolkit.config.selection import Selection, number_of_trials
from ser_toolkit.data.audio.notes import resampling_note
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.data.ratings import describe_ratings
from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.run_folder import RunFolder
from ser_toolkit.evaluation.run_record import (
    CodeRecord,
    CorpusRecord,
    HardwareRecord,
    LabelsRecord,
    ParametersRecord,
    ProtocolRecord,
    RunRecord,
    SelectionRecord,
    TrainingRecord,
    UpstreamRecord,
    VariantRecord,
    typed,
)
from ser_toolkit.experiment.baselines import known_baselines
from ser_toolkit.features.variants import Variant
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.model.identity import difference, plain_settings
from ser_toolkit.system.files import write_text
from ser_toolkit.system.provenance import commit, machine
from ser_toolkit.system.version import VERSION
from ser_toolkit.terms import counted

#: Packages whose versions stand in every record.
PACKAGES = ("torch", "lightning", "transformers", "numpy", "scikit-learn", "soundfile", "soxr", "opensmile")

#: Settings of the data and of the trainer for how weights are moved.
_BATCHES = (
    "batch_size",
    "max_batch_seconds",
    "steps_per_epoch",
    "balance",
    "train_crop_seconds",
    "eval_window_seconds",
)
_TRAINER = (
    "max_epochs",
    "max_steps",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "accumulate_grad_batches",
    "deterministic",
)


def write_record(
    folder: Path,
    recipe: Recipe,
    data: CorpusData,
    model: EmotionModel,
    variants: Sequence[Variant],
    seeds: Sequence[int],
    sentences: Sequence[str],
    seconds: float = 0.0,
) -> None:
    """Write ``run.json``, the manifest and the configuration of a run.

    Args:
        folder: the run directory; what an earlier command left there is added to, not replaced.
        recipe: the configuration.
        data: corpus, label rule and protocol.
        model: as the units make it.
        variants: of this command.
        seeds: of this command.
        sentences: the audit.
        seconds: that this command took; added to those of earlier ones.
    """
    run = RunFolder(folder)
    earlier = run.record() if run.is_run else RunRecord()
    record = RunRecord(
        recipe=recipe.name,
        hash=earlier.hash or folder.name,  # whatever the folder is called since
        created=earlier.created or datetime.datetime.now(datetime.timezone.utc).isoformat("T", "seconds"),
        toolkit_version=VERSION,
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        corpus=_corpus(data, model),
        manifest_hash=data.manifest.content_hash,
        classes=tuple(data.classes),
        labels=LabelsRecord(
            type(data.labels).__name__, data.labels.explanation, tuple(data.targets.notes), data.labels.maps_classes
        ),
        protocol=_protocol(data),
        audit=tuple(sentences),
        selection=_selection(recipe.selection),
        training=_training(recipe, model),
        tuning=tuple(recipe.tuning),
        start_from=recipe.settings.start_from,
        seeds=tuple(sorted({*earlier.seeds, *seeds})),
        folds=tuple(fold.name for fold in data.folds),
        variants={**earlier.variants, **{variant.name: _variant(variant) for variant in variants}},
        complete=tuple(sorted({*earlier.complete, *(unit.place for unit in run.units() if unit.metrics.is_file())})),
        baselines={name: baseline.explanation for name, baseline in known_baselines().items()},
        upstream=UpstreamRecord(
            type(model.upstream).__name__, model.upstream.fingerprint(), plain_settings(model.upstream)
        ),
        outputs=tuple(model.trained_outputs),
        ratings=tuple(describe_ratings(data.manifest)),
        conditions=tuple(condition.explanation for condition in model.conditions),
        parameters=ParametersRecord(**model.count_parameters()),
        packages=_versions(),
        precision=str(recipe.trainer_settings.precision or "32-true"),
        device=_device(),
        hardware=typed(HardwareRecord, machine()),
        code=None if (code := commit()) is None else typed(CodeRecord, code),
        wall_seconds=round(seconds + (earlier.wall_seconds or 0.0), 1),
    )
    record.write(run.record_file)
    write_text(run.config, recipe.yaml())
    data.manifest.write(run.manifest)


def _corpus(data: CorpusData, model: EmotionModel) -> CorpusRecord:
    facts = data.manifest.facts
    resampled = resampling_note(facts.get("sampling_rates") or {}, model.upstream.sampling_rate)
    own = {"name": data.corpus.name, "allow_incomplete": data.allow_incomplete}
    notes = [*facts.get("notes", ()), *([resampled] if resampled else [])]
    return typed(CorpusRecord, {**own, **facts, "notes": notes}, "corpus.")


def _protocol(data: CorpusData) -> ProtocolRecord:
    protocol = data.protocol
    return ProtocolRecord(
        type(protocol).__name__,
        (type(protocol).__doc__ or "").split("\n", 1)[0],
        protocol.dev_source,
        protocol.declared_leak,
        protocol.cluster_by,
        {fold.name: (len(fold.train), len(fold.dev), len(fold.test)) for fold in data.folds},
    )


def _selection(chosen: Selection) -> SelectionRecord:
    return SelectionRecord(chosen.monitor, chosen.mode, chosen.average, chosen.refit, number_of_trials(chosen))


def _variant(variant: Variant) -> VariantRecord:
    return VariantRecord(variant.explanation, variant.normalises, "all" if variant.scores_all else "rest")


def check_same_run(folder: Path, data: CorpusData, model: EmotionModel) -> None:
    """Refuse to go on with a run on other recordings, or with another upstream.

    Args:
        folder: the run directory.
        data: corpus, label rule and protocol of the run, where the corpus lies now.
        model: as the units make it.

    Raises:
        ResultError: manifest or upstream are not those that the run records.
    """
    record = RunFolder(folder).record()
    if record.manifest_hash not in (None, data.manifest.content_hash):
        raise ResultError(
            f"{data.corpus.name} under {data.manifest.root} is not what {folder} was trained on: its manifest has the "
            f"hash {data.manifest.content_hash}, that of the run {record.manifest_hash}. Give the same recordings: "
            "data.root=PATH."
        )
    upstream = record.upstream
    if upstream.fingerprint is not None and upstream.fingerprint != model.upstream.fingerprint():
        raise ResultError(
            f"The upstream is not that of {folder}: {difference(model.upstream, upstream.settings)}. Use the "
            "same weights and settings; where they lie now is said with model.upstream.name=PATH."
        )


def _training(recipe: Recipe, model: EmotionModel) -> TrainingRecord:
    """Settings of parts and training as plain data, without those of the trainer that change no result."""
    config: dict[str, Any] = json.loads(json.dumps(recipe.plain_config(), default=str))
    trainer = {name: config["trainer"].get(name) for name in _TRAINER}
    return TrainingRecord(
        model=config["model"],
        data={name: config["data"].get(name) for name in _BATCHES},
        trainer={name: value for name, value in trainer.items() if value is not None},
        selection=config["selection"],
        fitted_at_once=model.fitted_at_once,
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _device() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU ({platform.processor() or platform.machine()}, {counted(torch.get_num_threads(), 'thread')})"
