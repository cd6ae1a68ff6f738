"""What a result says about itself: ``run.json``, written beside the predictions."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ser_toolkit.config.recipe import Recipe
from ser_toolkit.config.selection import number_of_trials
from ser_toolkit.data.audio.notes import resampling_note
from ser_toolkit.data.datamodule import SerDataModule
from ser_toolkit.data.ratings import describe_ratings
from ser_toolkit.errors import ResultError, counted
from ser_toolkit.experiment.baselines import known_baselines
from ser_toolkit.features.variants import Variant
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.model.identity import difference, is_same, plain_settings
from ser_toolkit.system.provenance import commit, machine
from ser_toolkit.system.version import VERSION

#: Packages whose versions stand in every record.
PACKAGES = ("torch", "lightning", "transformers", "numpy", "scikit-learn", "soundfile", "soxr", "opensmile")

#: Settings of the data and of the trainer that say how weights are moved.
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
    data: SerDataModule,
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
    path = folder / "run.json"
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    protocol, selection, facts = data.protocol, recipe.selection, data.manifest.facts
    resampled = resampling_note(facts.get("sampling_rates") or {}, model.upstream.sampling_rate)
    facts = facts | {"notes": [*facts.get("notes", ()), *([resampled] if resampled else [])]}
    explanations = {variant.name: variant.explanation for variant in variants}
    record: dict[str, Any] = {
        "recipe": recipe.name,
        "hash": earlier.get("hash", folder.name),  # whatever the folder is called since
        "created": earlier.get("created", datetime.datetime.now(datetime.timezone.utc).isoformat("T", "seconds")),
        "toolkit_version": VERSION,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "corpus": {"name": data.corpus.name, "allow_incomplete": data.allow_incomplete, **facts},
        "manifest_hash": data.manifest.content_hash,
        "classes": list(data.classes),
        "labels": {"rule": type(data.labels).__name__, "explanation": data.labels.explanation}
        | {"notes": data.targets.notes, "mapped": data.labels.maps_classes},
        "protocol": {
            "name": type(protocol).__name__,
            "description": (type(protocol).__doc__ or "").split("\n", 1)[0],
            "dev_source": protocol.dev_source,
            "declared_leak": protocol.declared_leak,
            "cluster_by": protocol.cluster_by,
            "parts": {fold.name: [len(fold.train), len(fold.dev), len(fold.test)] for fold in data.folds},
        },
        "audit": list(sentences),
        "selection": {"metric": selection.monitor, "mode": selection.mode}
        | {"average": selection.average, "refit": selection.refit, "tried": number_of_trials(selection)},
        "training": _training(recipe, model),
        "tuning": recipe.tuning,
        "start_from": recipe.settings.start_from,
        "seeds": sorted({*earlier.get("seeds", []), *seeds}),
        "folds": [fold.name for fold in data.folds],
        "variants": earlier.get("variants", {}) | explanations,
        "complete": sorted({*earlier.get("complete", []), *_complete(folder)}),
        "baselines": {name: b.explanation for name, b in known_baselines().items()},
        "upstream": {"name": type(model.upstream).__name__, "fingerprint": model.upstream.fingerprint()}
        | {"settings": plain_settings(model.upstream)},
        "outputs": list(model.trained_outputs),
        "ratings": describe_ratings(data.manifest),
        "conditions": [condition.explanation for condition in model.conditions],
        "parameters": {
            "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "total": sum(p.numel() for p in model.parameters()),
        },
        "packages": _versions(),
        "precision": str(recipe.trainer_settings.precision or "32-true"),
        "device": _device(),
        "hardware": machine(),
        "code": commit(),
        "wall_seconds": round(seconds + earlier.get("wall_seconds", 0.0), 1),
    }
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # two shells may each make a fold
    partial.write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")
    partial.replace(path)
    partial = folder / f"config.yaml.{os.getpid()}.partial"
    partial.write_text(recipe.yaml(), encoding="utf-8")
    partial.replace(folder / "config.yaml")
    data.manifest.write(folder / "manifest.parquet")


def check_same_run(folder: Path, data: SerDataModule, model: EmotionModel) -> None:
    """Refuse to go on with a run on other recordings, or with another upstream.

    Args:
        folder: the run directory.
        data: corpus, label rule and protocol of the run, where the corpus lies now.
        model: as the units make it.

    Raises:
        ResultError: manifest or upstream are not those that the run records.
    """
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    if record.get("manifest_hash") not in (None, data.manifest.content_hash):
        raise ResultError(
            f"{data.corpus.name} under {data.manifest.root} is not what {folder} was trained on: its manifest has the "
            f"hash {data.manifest.content_hash}, that of the run {record['manifest_hash']}. Give the same recordings: "
            "data.root=PATH."
        )
    upstream = record.get("upstream") or {}
    if upstream.get("fingerprint") is not None and not is_same(model.upstream, upstream["fingerprint"]):
        raise ResultError(
            f"The upstream is not that of {folder}: {difference(model.upstream, upstream.get('settings'))}. Use the "
            "same weights and settings; where they lie now is said with model.upstream.name=PATH."
        )


def _complete(folder: Path) -> list[str]:
    """Places of the units whose results are there; that they were is kept when they are deleted."""
    return [path.parent.relative_to(folder).as_posix() for path in folder.glob("*/fold=*/seed=*/metrics.json")]


def _training(recipe: Recipe, model: EmotionModel) -> dict[str, Any]:
    """Settings of parts and training as plain data, without those of the trainer that change no result."""
    config = recipe.plain_config()
    trainer = {name: config["trainer"].get(name) for name in _TRAINER}
    return {
        "model": config["model"],
        "data": {name: config["data"].get(name) for name in _BATCHES},
        "trainer": {name: value for name, value in trainer.items() if value is not None},
        "selection": config["selection"],
        # what has no optimiser: a head that its library fits
        "fitted_at_once": model.configure_optimizers() is None,
    }


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
