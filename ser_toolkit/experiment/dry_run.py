"""Forecast of a command: splits, class counts, parameters, disk, and an estimate of time from a few real steps."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch

from ser_toolkit.config.selection import number_of_trials
from ser_toolkit.data.batch import CONDITION, STREAM, Batch, Stream, Vectors, Waves, stack_stored, stream_name
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.data.ratings import describe_ratings
from ser_toolkit.experiment.experiment import Experiment, Plan
from ser_toolkit.experiment.stores import stores_of
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.terms import counted

#: Utterances and steps that are timed for the estimate.
TIMED_UTTERANCES, TIMED_STEPS = 8, 3
#: Seconds that a fit and a score take besides their steps (trainers, files), measured on small models.
OVERHEAD = 0.4


def describe(experiment: Experiment) -> Iterator[str]:
    """Describe the plan in lines; nothing is written.

    Raises:
        RecipeError: training would refuse a setting.
    """
    data, plan, model = experiment.data, experiment.plan(), experiment.probe_model()
    experiment.check_settings(plan, model)
    table = data.manifest.table
    size, classes = counted(len(table), "utterance"), ", ".join(data.classes) or "none"
    yield f"{experiment.recipe.name}: {data.corpus.name}, {size}, classes {classes}"
    cost = list(_cost(experiment, plan, model))
    yield (
        f"time: about {_time(sum(seconds for _, seconds in cost))} in all, baselines left out, on this machine when it "
        "has nothing else to do"
    )
    for note in experiment.recipe.notes:
        yield f"  note: {note}"
    yield from (f"  ! {banner}" for banner in experiment.copy_banners())
    for sentence in describe_ratings(data.manifest):
        yield f"  ratings: {sentence}"
    for sentence in experiment.audit():
        yield f"  audit: {sentence}"
    for fold in plan.folds:
        counted_classes = zip(data.classes, FoldData(data, fold, needs=model.needs).class_counts(), strict=True)
        counts = ", ".join(f"{name} {count:.0f}" for name, count in counted_classes)
        sizes = f"train {len(fold.train)}, dev {len(fold.dev)}, test {len(fold.test)}"
        drawn = "draws" if data.balance else "has"
        yield f"fold {fold.name}: {sizes}" + (f"; train {drawn} {counts}" if counts else "")
    yield "trained parameters: {trained:,} of {total:,}".format(**model.count_parameters())
    yield from (text for text, _ in cost)
    yield f"run directory: {experiment.folder(model)}"


def _clock() -> float:
    """Seconds of work so far: of this thread, or a thread's share of the process where others do the work.

    The clock on the wall also counts what other programs do meanwhile; on a GPU, which is waited for, it is taken.
    """
    if torch.cuda.is_available():
        return time.perf_counter()
    return max(time.thread_time(), time.process_time() / torch.get_num_threads())


def _cost(experiment: Experiment, plan: Plan, model: EmotionModel) -> Iterator[tuple[str, float]]:
    """Extraction and training that are left, in words, and their duration in seconds."""
    data, table = experiment.data, experiment.data.manifest.table
    batch = next(iter(FoldData(data, plan.folds[0], needs=model.needs).test_dataloader()))
    few = _first(batch, TIMED_UTTERANCES)
    seconds = float(table.set_index("id").loc[few.ids, "duration"].sum())
    stream = few.streams[STREAM]
    if not isinstance(stream, Waves):
        return
    with torch.no_grad():
        model.network.upstream_frames(
            Waves(stream.values[:1], stream.lengths[:1])
        )  # what is loaded at the first call is not counted
        started = _clock()
        found = model.network.upstream_frames(stream)
    rate = seconds / max(_clock() - started, 1e-6)
    total_seconds = table["duration"].sum()
    epoch_steps = data.steps_per_epoch or int(np.ceil(len(plan.folds[0].train) / data.batch_size))
    epochs = experiment.recipe.trainer_settings.max_epochs or 0
    steps = epoch_steps * epochs
    total = len(plan) * steps * max(1, number_of_trials(experiment.recipe.selection))
    fits = len(plan) * (max(1, number_of_trials(experiment.recipe.selection)) + experiment.recipe.selection.refit)
    overhead = OVERHEAD * fits
    reason = experiment.why_not_stored(model)
    if reason is not None:
        # Forward and backward cost about three forwards.
        estimate = 3 * total_seconds * total / max(1, steps) * epochs / rate
        yield f"features: none are kept, every step starts at the recordings: {reason}", 0.0
        words = f"waveforms in every step: {total} steps; about {_time(estimate)} at {rate:.0f} s of audio/s forward"
        yield words, estimate + overhead
        return
    streams: dict[str, Stream] = {}
    for index, spec in enumerate(stores_of(experiment.recipe, data, model)):
        stored_line, left_line = spec.forecast()
        seconds_left = spec.seconds_missing / rate
        yield stored_line, 0.0
        yield f"{left_line}; about {_time(seconds_left)} at {rate:.0f} s of audio/s", seconds_left
        rows = zip(found[index].values, found[index].lengths.tolist(), strict=True)
        reduced = stack_stored([spec.reduction.of(row[:, :length], layer_norm=False) for row, length in rows])
        streams[stream_name(index)] = reduced[STREAM]
    if model.fitted_at_once:
        yield f"training: {len(plan)} times {type(model.head).__name__}, fitted at once", overhead
        return
    streams |= {name: value for name, value in few.streams.items() if name == CONDITION}
    stored = Batch(streams, few.targets, few.ids, few.speaker)
    batch_size = min(data.batch_size, len(plan.folds[0].train))
    training = total * _step_seconds(model, stored, batch_size) + overhead
    yield f"training: {total} steps; about {_time(training)}", training


def _step_seconds(model: EmotionModel, batch: Batch, batch_size: int) -> float:
    times = []
    for _ in range(TIMED_STEPS):
        started = _clock()
        loss, _ = model.objective(model(batch), batch)
        loss.backward()
        times.append(_clock() - started)
    model.zero_grad()
    return float(np.median(times)) * max(1.0, batch_size / len(batch))


def _first(batch: Batch, count: int) -> Batch:
    def cut(stream: Stream) -> Stream:
        if isinstance(stream, Waves):
            return Waves(stream.values[:count], stream.lengths[:count])
        return Vectors(stream.values[:count]) if isinstance(stream, Vectors) else stream

    targets = type(batch.targets)(
        batch.targets.label[:count], batch.targets.soft[:count], batch.targets.dimensions[:count]
    )
    streams = {name: cut(stream) for name, stream in batch.streams.items()}
    return Batch(streams, targets, batch.ids[:count], batch.speaker[:count])


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
