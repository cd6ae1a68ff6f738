"""The models of a run over a whole corpus: labels, segments and conditions of its manifest, features kept once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ser_toolkit.config.recipe import Recipe, parse_run
from ser_toolkit.data.batch import DIMENSIONS, Stored
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.data.reduction import Reduction
from ser_toolkit.errors import RecipeError
from ser_toolkit.evaluation.predictions import predicted_column, probability_columns
from ser_toolkit.evaluation.run_folder import RunFolder, find_run
from ser_toolkit.features.extract import extract
from ser_toolkit.features.plan import store_specs
from ser_toolkit.features.settings import FeatureSettings
from ser_toolkit.features.variants import Plain, Variant
from ser_toolkit.inference.ensemble import predicted_by
from ser_toolkit.inference.stored import StoredRun, build_models
from ser_toolkit.model.feature_plan import reductions, why_not_stored
from ser_toolkit.model.network import EmotionNetwork
from ser_toolkit.parts.own_sources import parts_of
from ser_toolkit.protocols.folds import Fold
from ser_toolkit.system.progress import SILENT, Progress

_COLUMNS = ["id", "speaker", "sex", "session", "dialogue", "language", "corpus", "votes"]


def predict_corpus(run: StoredRun, data: CorpusData, device: str = "cpu", progress: Progress = SILENT) -> pd.DataFrame:
    """Mean probabilities and dimensions of the chosen models for every utterance of a corpus.

    Windows, features and variant are those of the run; utterances, labels and what is known besides the sound are
    those of the corpus. Frozen upstreams go over the corpus once, into the feature store, for all models.

    Args:
        run: the models.
        data: the corpus.
        device: where it runs.
        progress: of the extraction, with sentences for the user.

    Returns:
        One row an utterance and draw: ``id``, ``speaker``, ``sex``, ``session``, ``dialogue``, ``language``, ``votes``,
        ``draw``, ``label`` (the corpus's class, None without one), ``valence``, ``arousal``, ``dominance`` (ratings,
        scaled to [0, 1]), and of what the models predict ``probability/<class>`` and ``<dimension>_predicted``.

    Raises:
        RecipeError: the variant needs stored features where none can be kept.
        SerError: a recording, a weight or a condition cannot be used.
    """
    check_device(device)
    with parts_of(RunFolder(find_run(run.units[0].folder)).own_parts, run.trust_code) as changed:
        for sentence in changed:
            progress.note(sentence)
        return _predicted(run, data, device, progress)


def _predicted(run: StoredRun, data: CorpusData, device: str, progress: Progress) -> pd.DataFrame:
    """Predictions as of ``predict_corpus``, with the run's own parts."""
    loaded = build_models(run)
    recipe = parse_run(run.units[0].files.config, find_run(run.units[0].folder), run.trust_code)
    variant = _variant(recipe, run.info.variant)
    window = _within_limit(loaded.configuration.window_seconds, data, loaded.models, progress)
    data = data.with_windows(window, data.allow_silent or loaded.configuration.allow_silent)
    groups = _groups(loaded.models)
    features = [_features(group, data, variant, recipe.features, device, progress) for group in groups]
    predicted = predicted_by(loaded.models, loaded.trained)
    return pd.concat(
        [_one_draw(groups, features, data, variant, draw, device, predicted) for draw in range(variant.draws)]
    )


def _one_draw(
    groups: Sequence[Sequence[EmotionNetwork]],
    stored: Sequence[Mapping[str, Stored] | None],
    data: CorpusData,
    variant: Variant,
    draw: int,
    device: str,
    predicted: tuple[Sequence[str], Sequence[str]],
) -> pd.DataFrame:
    table, (classes, dimensions) = data.manifest.table, predicted
    total = np.zeros((len(table), len(classes) + len(dimensions)))
    for group, features in zip(groups, stored, strict=True):
        normalised = None if features is None else variant.normalised_features(features, table, draw)
        for model in group:
            total += _values(model, data, normalised, variant, draw, device, predicted)
    names = np.array([*data.classes, None], dtype=object)
    found = table[_COLUMNS].assign(draw=draw, label=names[data.targets.label])
    found[list(DIMENSIONS)] = data.targets.dimensions
    given = [*probability_columns(classes), *map(predicted_column, dimensions)]
    found[given] = total / sum(map(len, groups))
    return found[~found["id"].isin(variant.excluded(table, draw))]


def check_device(name: str) -> None:
    """Refuse a device that this machine does not have.

    Raises:
        RecipeError: it is unknown, or torch has no access to it.
    """
    try:
        torch.empty(0, device=torch.device(name))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n", 1)[0]
        raise RecipeError(f"Device {name!r} cannot be used here ({reason}). Use cpu, cuda or cuda:N.") from error


def _groups(models: Sequence[EmotionNetwork]) -> list[list[EmotionNetwork]]:
    """Models that can share stored features of the corpus: the same upstream, the same layer normalisation."""
    groups: dict[tuple, list[EmotionNetwork]] = {}
    for model in models:
        key = (id(model.upstream), *(reduction.layer_norm for reduction in model.reductions))
        groups.setdefault(key, []).append(model)
    return list(groups.values())


def _variant(recipe: Recipe, name: str) -> Variant:
    found = next((variant for variant in recipe.variants if variant.name == name), None)
    if found is None and name != Plain.name:
        raise RecipeError(f"The configuration of the run does not list the variant {name}. Train the variant again.")
    return found or Plain()


def _within_limit(
    window: float | None, data: CorpusData, models: Sequence[EmotionNetwork], progress: Progress
) -> float | None:
    """Seconds of the windows to test on: shorter where a recording of the corpus is longer than an upstream takes."""
    limits = [
        model.upstream.longest_samples / model.upstream.sampling_rate
        for model in models
        if model.upstream.longest_samples
    ]
    longest, limit = float(data.manifest.table["duration"].max()), min(limits, default=math.inf)
    if longest <= limit or (window or math.inf) <= limit:
        return window
    progress.note(
        f"recordings of up to {longest:.1f} s: tested in windows of {limit:g} s, the most that the upstream takes"
    )
    return limit


def _features(
    group: Sequence[EmotionNetwork],
    data: CorpusData,
    variant: Variant,
    settings: FeatureSettings,
    device: str,
    progress: Progress,
) -> Mapping[str, Stored] | None:
    """Stored features of the corpus for all models of a group; None where each starts at the recordings."""
    first = group[0]
    reason = why_not_stored(first, data, settings)
    if reason is not None:
        if not isinstance(variant, Plain):
            raise RecipeError(
                f"Variant {variant.name} standardises stored features, but none are kept: {reason}. Use variant=plain."
            )
        return None
    each = [reductions(model, [variant], settings) for model in group]
    least = [_joined(part) for part in zip(*each, strict=True)]
    specs = store_specs(first.upstream, data.manifest, least, settings, device, data.allow_silent)
    return extract(specs, progress)


def _joined(parts: Sequence[Reduction]) -> Reduction:
    found = parts[0]
    for part in parts[1:]:
        found = found.joined(part)
    return found


@torch.inference_mode()
def _values(
    model: EmotionNetwork,
    data: CorpusData,
    features: Mapping[str, Stored] | None,
    variant: Variant,
    draw: int,
    device: str,
    predicted: tuple[Sequence[str], Sequence[str]],
) -> np.ndarray:
    """(N, C + D) of every row of the manifest, the mean over an utterance's windows."""
    table = data.manifest.table
    names = table["id"].tolist()
    part = FoldData(data, Fold("all", (), (), tuple(names)), needs=model.needs, features=features)
    if features is not None and variant.level == "utterance":
        part = part.with_vectors(_vectors(model, features, variant, table, draw))
    row = {name: number for number, name in enumerate(names)}
    total, count = np.zeros((len(names), sum(map(len, predicted)))), np.zeros(len(names))
    model = model.to(device).eval()
    for ids, values in _outputs(model, part, device, predicted):
        rows = [row[name] for name in ids]
        np.add.at(total, rows, values)
        np.add.at(count, rows, 1.0)
    return total / count[:, None]


def _outputs(
    model: EmotionNetwork, part: FoldData, device: str, predicted: tuple[Sequence[str], Sequence[str]]
) -> Iterator[tuple[list[str], np.ndarray]]:
    classes, dimensions = predicted
    columns = [DIMENSIONS.index(name) for name in dimensions]
    for batch in part.test_dataloader():
        outputs = model(batch.to(torch.device(device)))
        parts = [outputs.logits.double().softmax(dim=1)] if classes else []
        parts += [outputs.dimensions.double()[:, columns]] if dimensions else []
        yield batch.ids, torch.cat(parts, dim=1).cpu().numpy()


def _vectors(
    model: EmotionNetwork, features: Mapping[str, Stored], variant: Variant, table: pd.DataFrame, draw: int
) -> dict[str, Tensor]:
    """Pooled vectors, standardised per speaker, as the head of the model takes them."""
    pooled = {name: model.vector(stored) for name, stored in features.items()}
    found = variant.normalised_vectors(pooled, table, draw)
    return dict(zip(found, model.normalised(torch.stack(list(found.values()))), strict=True))
