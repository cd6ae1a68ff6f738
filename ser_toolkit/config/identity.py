"""Settings that the identity of a run depends on: those that change results, none that change place or speed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ser_toolkit.evaluation.run_folder import find_run

#: Settings of place and speed, which change no result: left out of the run's hash.
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

#: Options of parts for where something lies, or how results are shown: never in the hash.
NEUTRAL_OPTIONS: dict[str, tuple[str, ...]] = {
    "ser_toolkit.corpora.combined.Combined": ("roots",),
    "ser_toolkit.protocols.splits.OfficialFolds": ("cluster_by",),
}

#: Settings by which features may be rounded.
REDUCED = ("dtype", "precision")


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
    return parts_that_matter(plain)


def parts_that_matter(plain: Any) -> Any:
    """Parts as plain data without options that change no result.

    A part that replaced another has ``init_args: {}`` until it is written and read again: the same part either way.
    """
    if isinstance(plain, list):
        return [parts_that_matter(inner) for inner in plain]
    if not isinstance(plain, Mapping):
        return plain
    found = {key: parts_that_matter(inner) for key, inner in plain.items()}
    for option in NEUTRAL_OPTIONS.get(str(found.get("class_path")), ()):
        (found.get("init_args") or {}).pop(option, None)
    return {key: inner for key, inner in found.items() if key != "init_args" or inner != {}}
