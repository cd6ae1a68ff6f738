"""Facts of a training, in lines: from ``run.json`` and what the units noted beside their weights.

Lines on what a record does not hold are left out, never guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.comparison.costs import fit_records
from ser_toolkit.evaluation.comparison.trials import Choice, read_search
from ser_toolkit.evaluation.results import Results
from ser_toolkit.evaluation.run_record import TrainingRecord
from ser_toolkit.terms import listed

#: Choices of folds that are listed one by one; of more, the most frequent.
_MOST = 8


def training_facts(results: Results) -> list[tuple[str, str]]:
    """Name and text of every line that the record and the units can fill."""
    training = results.record.training
    lines = [*_configured(results, training), *_searched(results, training)] if training is not None else []
    return [(name, text) for name, text in [*lines, *_provenance(results)] if text]


def described(part: Any) -> str:
    """A part as one writes a call: its class and the options that are set.

    >>> described({"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1, "nesterov": False, "foreach": None}})
    'SGD(lr=0.1)'
    """
    if isinstance(part, Mapping) and "class_path" in part:
        options = (part.get("init_args") or {}).items()
        given = [f"{name}={described(value)}" for name, value in options if value not in (None, False, "", [])]
        name = str(part["class_path"]).rpartition(".")[2]
        return f"{name}({', '.join(given)})" if given else name
    if isinstance(part, list):
        return f"[{', '.join(map(described, part))}]"
    if isinstance(part, Mapping):
        return f"{{{', '.join(f'{name}: {described(value)}' for name, value in part.items())}}}"
    return f"{part:g}" if isinstance(part, float) and part == part else str(part)


def _configured(results: Results, training: TrainingRecord) -> Iterator[tuple[str, str]]:
    model, record = training.model, results.record
    several = "upstreams" in ((model.get("upstream") or {}).get("init_args") or {})
    path = ["upstream", *(["fusion"] if several else []), "layer_mix", "frames", "pooling", "head"]
    yield "Parts", " → ".join(described(model[name]) for name in path if model.get(name))
    yield (
        "Normalisation",
        {"global": "frames, by the training part", "embedding": "vectors, by the training part"}.get(
            model.get("normalisation", "none"), ""
        ),
    )
    yield "Conditioning", described(model["conditioning"]) if model.get("conditioning") else ""
    if training.fitted_at_once:
        yield "Optimiser", "none: the head is fitted at once, by its library"
    else:
        yield "Objective", described(model["objective"])
        yield from _optimised(results, training)
    yield "Crops and windows", _lengths(training.data)
    yield "Selected by", _selected(training.selection, training.fitted_at_once)
    yield "First stage", "; ".join(record.tuning)
    yield "Started from", record.start_from or ""


def _optimised(results: Results, training: TrainingRecord) -> Iterator[tuple[str, str]]:
    model, data, trainer = training.model, training.data, training.trainer
    rate = model.get("upstream_lr")
    clip, several = trainer.get("gradient_clip_val"), trainer.get("accumulate_grad_batches") or 1
    yield (
        "Optimiser",
        described(model["optimizer"])
        + (f", the upstream with lr={rate:g}" if rate is not None else "")
        + (f"; gradients clipped at {trainer.get('gradient_clip_algorithm') or 'norm'} {clip:g}" if clip else "")
        + (f"; a step takes {several} batches" if several != 1 else ""),
    )
    schedule = model.get("lr_scheduler")
    yield (
        "Learning rate",
        f"{described(schedule)}, once {'a step' if model.get('lr_interval') == 'step' else 'an epoch'}"
        if schedule
        else "constant",
    )
    limit = data.get("max_batch_seconds")
    parts = results.record.protocol.parts
    whole = data.get("batch_size", 0) >= max((train for train, *_ in parts.values()), default=float("inf"))
    yield (
        "Batches",
        ("the whole training part" if whole else f"{data.get('batch_size')} utterances")
        + (f", at most {limit:g} s" if limit else "")
        + (f"; {data['steps_per_epoch']} steps an epoch" if data.get("steps_per_epoch") else "")
        + (f"; drawn so that {data['balance']} is balanced" if data.get("balance") else ""),
    )
    yield "Epochs", _epochs(results, trainer)


def _epochs(results: Results, trainer: Mapping[str, Any]) -> str:
    steps = trainer.get("max_steps", -1)
    found = f"at most {trainer.get('max_epochs')}" + (f" and {steps} steps" if steps and steps > 0 else "")
    chosen = [epoch + 1 for record in fit_records(results) for epoch in record.get("epochs", [])]
    if chosen:
        found += f"; chosen: epoch {median(chosen):g} (median; {min(chosen)} to {max(chosen)})"
    return found


def _lengths(data: Mapping[str, Any]) -> str:
    crop, window = data.get("train_crop_seconds"), data.get("eval_window_seconds")
    return ", ".join(
        [
            *([f"training crops of {crop:g} s"] if crop else []),
            *([f"scored in windows of {window:g} s"] if window else []),
        ]
    )


def _selected(selection: Mapping[str, Any], fitted_at_once: bool) -> str:
    average, patience = selection.get("average", 1), selection.get("patience")
    better = "lowest" if selection.get("mode") == "min" else "highest"
    searches, refit = bool(selection.get("candidates") or selection.get("space")), selection.get("refit")
    if fitted_at_once and not searches:
        found = "nothing is selected"
    else:
        best = f"the average of the {average} best epochs" if average > 1 else "the best epoch"
        found = f"{better} {selection.get('monitor')} on the fold's dev part" + ("" if fitted_at_once else f", {best}")
    if patience is not None and not fitted_at_once:
        found += f"; stopped after {patience} epochs without progress"
    again = "fitted again on train + dev" if fitted_at_once else "trained again on train + dev for as many epochs"
    return found + (f"; then {again}" if refit else "; no refit")


def _searched(results: Results, training: TrainingRecord) -> Iterator[tuple[str, str]]:
    """Candidates of every fold and the chosen ones, variant by variant."""
    selection = training.selection
    space = selection.get("space") or {}
    if space:
        yield "Tried", f"{selection.get('trials')} draws of " + ", ".join(f"{k}={text}" for k, text in space.items())
    elif selection.get("candidates"):
        yield "Tried", ", ".join(one or "the recipe as it is" for one in selection["candidates"])
    try:
        choices = read_search(results.run_dir).choices
    except ResultError:  # nothing was chosen, or no fold is complete
        return
    for variant in dict.fromkeys(choice.variant for choice in choices):
        yield f"Chosen, {variant}", _chosen([choice for choice in choices if choice.variant == variant])


def _chosen(choices: list[Choice]) -> str:
    """``C=0.1 in 6 of 10 folds (03, 08, ...)``, most frequent first."""
    counts = Counter(choice.chosen for choice in choices)
    several = len({choice.seed for choice in choices}) > 1

    def where(chosen: str) -> str:
        same = [c for c in choices if c.chosen == chosen]
        return listed((f"{c.fold} seed {c.seed}" if several else c.fold for c in same), _MOST, more=", ...")

    names = [f"{name or 'as it is'}: {count} of {len(choices)} ({where(name)})" for name, count in counts.most_common()]
    return listed(names, _MOST, "; ", "; and {} more (chosen.json of each fold)")


def _provenance(results: Results) -> list[tuple[str, str]]:
    """Seeds, baselines, code and machine."""
    code, machine, baselines = results.record.code, results.record.hardware, results.record.baselines
    there = dict.fromkeys(s.baseline for s in results.systems if s.baseline is not None and s.baseline in baselines)
    names = {s.baseline: s.name for s in results.systems}
    cores, memory = machine.cores, machine.memory_gib
    sizes = (f"{cores} cores" if cores else "", f"{memory} GiB of memory" if memory else "")
    hardware = (machine.cpu, *sizes, machine.system)
    commit = f"{code.commit}{', with changes that are not committed' if code.changed else ''}" if code else ""
    return [
        ("Seeds", ", ".join(map(str, results.record.seeds))),
        *((f"Baseline, {names[one]}", f"{baselines[one]} Trained on train + dev.") for one in there),
        ("Commit", commit),
        ("Machine", ", ".join(filter(None, hardware))),
    ]
