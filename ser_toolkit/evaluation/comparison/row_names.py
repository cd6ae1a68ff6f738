"""Row names for runs of one recipe, made of the settings in which they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from ser_toolkit.evaluation.comparison.comparable import Run
from ser_toolkit.evaluation.comparison.protocol_effect import ELSEWHERE, SETTINGS
from ser_toolkit.evaluation.run_folder import RunFolder

#: Settings that a name may hold; runs that differ in more are called by the first ones and their hash.
_MOST = 3


def with_distinct_names(runs: Sequence[Run]) -> list[Run]:
    """Rows whose names are each there once.

    Runs of the same name get the settings of their ``config.yaml`` that are not the same in all of them; their hash
    where no setting tells them apart.
    """
    twice = {name for name, count in Counter(run.name for run in runs).items() if count > 1}
    found = list(runs)
    for name in twice:
        places = [place for place, run in enumerate(runs) if run.name == name]
        for place, named in zip(places, _named([runs[place] for place in places]), strict=True):
            found[place] = named
    return found


def _named(runs: Sequence[Run]) -> list[Run]:
    settings = [dict(_flat(_config(run.results.run_dir))) for run in runs]
    keys = dict.fromkeys(key for one in settings for key in one)
    odd = [key for key in keys if len({repr(one.get(key)) for one in settings}) > 1]
    short = Counter(key.rsplit(".", 1)[-1] for key in odd)
    names = []
    for run, one in zip(runs, settings, strict=True):
        differing = [
            f"{end if short[end] == 1 else key}={one[key]}"
            for key in odd
            for end in (key.rsplit(".", 1)[-1],)
            if key in one
        ]
        names.append(f"{run.name} {', '.join(differing[:_MOST])}" if differing else run.name)
    counts = Counter(names)
    return [
        replace(run, name=name if counts[name] == 1 else f"{name}/{run.results.run_dir.name}")
        for run, name in zip(runs, names, strict=True)
    ]


def _config(folder: Path) -> Mapping[str, Any]:
    """Groups of a run's configuration that describe the training; empty where there is none."""
    try:
        config = yaml.safe_load(RunFolder(folder).config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    groups = (*SETTINGS, "seed", "seeds")
    return {group: config[group] for group in groups if group in config} if isinstance(config, dict) else {}


def _flat(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their dotted keys; a part is its class, and its options lie below it."""
    for key, value in content.items():
        name = f"{above}{key}"
        if name in ELSEWHERE and name != "data.protocol":
            continue
        if isinstance(value, Mapping) and "class_path" in value:
            yield name, str(value["class_path"]).rpartition(".")[2]
            yield from _flat(value.get("init_args") or {}, f"{name}.")
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value
