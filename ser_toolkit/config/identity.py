"""What the identity of a run depends on: the settings that change results, none of those that change place or speed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ser_toolkit.evaluation.run_folder import find_run

#: What changes where or how fast a run happens, never what comes out: left out of the run's hash.
NEUTRAL = {
    "": ("config", "fold", "seed", "seeds", "jobs", "variants", "output", "baselines", "name", "dry_run", "worker"),
    "data": ("root", "num_workers"),
    "features": ("keep", "compile", "batch_seconds"),
    "trainer": (
        "logger",
        "enable_progress_bar",
        "enable_model_summary",
        "log_every_n_steps",
        "default_root_dir",
        "enable_checkpointing",
        "num_nodes",
    ),
}

#: Options of parts that say where something lies, or how results are told: never in the hash.
NEUTRAL_OPTIONS: dict[str, tuple[str, ...]] = {
    "ser_toolkit.corpora.combined.Combined": ("roots",),
    "ser_toolkit.protocols.splits.OfficialFolds": ("cluster_by",),
}

#: Settings of features that may say that they are rounded.
REDUCED = ("dtype", "precision")

#: Settings that came later than the first runs: left out of the hash at these defaults, so that old runs keep theirs.
LATER: dict[str, Any] = {
    "data.steps_per_epoch": None,
    "data.balance": None,
    "data.speakers": None,
    "data.leave_out_speakers": None,
    "data.channel": "mix",
    "tuning": [],
    "start_from": None,
    "selection.space": {},
    "selection.trials": None,
    "features.dtype": "float32",
    "features.precision": "float32",
    "features": {},
    "model.conditioning": None,
    "model.context": {"class_path": "ser_toolkit.downstream.context.NoContext"},
    "model.fusion": {"class_path": "ser_toolkit.downstream.fusion.EarlyFusion", "init_args": {"layer_mixes": []}},
}


#: Options that parts got later, by class: left out of the hash at these defaults, too.
LATER_OPTIONS: dict[str, dict[str, Any]] = {
    "ser_toolkit.data.labels.Soft": {"spread": "all"},
    "ser_toolkit.data.label_rules.Mapped": {"only": None},
    "ser_toolkit.upstreams.opensmile.OpenSmile": {"sampling_rate": 16000},
    "ser_toolkit.downstream.layers.SingleLayer": {"layer_norm": False},
    "ser_toolkit.downstream.layers.ConcatenateLayers": {"layer_norm": False},
    "ser_toolkit.upstreams.huggingface.HuggingFaceUpstream": {"window": "published", "margin_seconds": None},
}


def what_matters(config: Mapping[str, Any], monitor: str) -> dict[str, Any]:
    """The part of a resolved configuration that results depend on, as plain data.

    Args:
        config: as plain data.
        monitor: what weights are selected by.
    """
    plain = json.loads(json.dumps(config, default=str))
    if monitor != "dev/loss":
        # A weighted loss is averaged over batches: only then does their size matter.
        plain["data"].pop("eval_batch_size", None)
    features = plain.get("features") or {}
    # with less than float32 it decides what is rounded: of moments nothing, of waveforms neither layers nor features
    keep = features.get("keep") if {features.get(key, "float32") for key in REDUCED} != {"float32"} else "auto"
    for group, keys in NEUTRAL.items():
        part = plain if group == "" else plain.get(group) or {}
        for key in keys:
            part.pop(key, None)
    if keep not in (None, "auto"):
        plain["features"]["keep"] = keep
    if plain.get("start_from") is not None:
        run = find_run(Path(plain["start_from"]))
        plain["start_from"] = f"{run.parent.name}/{run.name}"  # wherever it lies
    plain = parts_that_matter(plain)
    mix = (plain.get("model") or {}).get("layer_mix") or {}
    if plain["model"].get("normalisation") == "global" and (mix.get("init_args") or {}).get("layer_norm"):
        plain["layer_norm"] = "before normalisation"  # runs of the first version had it the other way round
    for path, default in LATER.items():
        _drop_default(plain, path.split("."), default)
    return plain


def parts_that_matter(plain: Any) -> Any:
    """Parts as plain data without options that change no result, and without those that came later, at defaults."""
    return _without_empty_arguments(_without_later_options(plain))


def _without_later_options(value: Any) -> Any:
    if isinstance(value, dict):
        name, options = str(value.get("class_path")), value.get("init_args") or {}
        later, neutral = LATER_OPTIONS.get(name, {}), NEUTRAL_OPTIONS.get(name, ())
        if later or neutral:
            kept = {key: inner for key, inner in options.items() if key not in later or inner != later[key]}
            value = value | {"init_args": {key: inner for key, inner in kept.items() if key not in neutral}}
        return {key: _without_later_options(inner) for key, inner in value.items()}
    return [_without_later_options(inner) for inner in value] if isinstance(value, list) else value


def _without_empty_arguments(value: Any) -> Any:
    # A part that replaced another has ``init_args: {}`` until it is written and read again: the same part either way.
    if isinstance(value, dict):
        kept = {key: inner for key, inner in value.items() if key != "init_args" or inner != {}}
        return {key: _without_empty_arguments(inner) for key, inner in kept.items()}
    return [_without_empty_arguments(inner) for inner in value] if isinstance(value, list) else value


def _drop_default(plain: Any, path: Sequence[str], default: Any) -> None:
    """Remove the value at a path if it is there and the default."""
    for name in path[:-1]:
        plain = plain.get(name) if isinstance(plain, dict) else None
    if isinstance(plain, dict) and path[-1] in plain and plain[path[-1]] == default:
        plain.pop(path[-1])
