"""One unit of an experiment: a variant, a fold and a seed, and what its stages need."""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ser_toolkit.config.recipe import Recipe
from ser_toolkit.data.batch import DIMENSIONS, MISSING_LABEL, Stored
from ser_toolkit.data.datamodule import SerDataModule
from ser_toolkit.data.ratings import trained_dimensions
from ser_toolkit.errors import RecipeError
from ser_toolkit.experiment.stages.start import load_start_weights
from ser_toolkit.features.variants import Plain, Variant
from ser_toolkit.features.views import Features, ParallelFeatures
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.model.epoch_outputs import GatheredOutputs
from ser_toolkit.model.feature_plan import changes_parts
from ser_toolkit.model.identity import is_same
from ser_toolkit.protocols.splits import Fold


@dataclass
class Unit:
    """One run of the experiment: everything its stages need.

    Args:
        recipe: the configuration.
        data: shared by all units of a process.
        variant: how features are normalised.
        fold: which fold.
        seed: of weights, order and dropout.
        folder: where its files go.
        features: stored frames, or None to train from waveforms.
        on_epoch: called with (epoch, epochs, dev metric) after every epoch.
        vectors: utterance vectors by (variant, draw, parts), shared by the units of a process.
        upstream_state: weights of the fine-tuned upstream that the features came from; not trained further.
        extract: gives the stored frames that a recipe's upstream makes; None from waveforms.
    """

    recipe: Recipe
    data: SerDataModule
    variant: Variant
    fold: Fold
    seed: int
    folder: Path
    features: Mapping[str, Stored] | None
    on_epoch: Callable[[int, int, float | None], None] | None = None
    upstream_state: dict[str, Tensor] | None = None
    vectors: dict[tuple[str, int, str], dict[str, Tensor]] = field(default_factory=dict)
    extract: Callable[[Recipe], Mapping[str, Stored] | None] | None = None
    _draw: int = 0

    @property
    def complete(self) -> bool:
        """Whether the last stage has left its file."""
        return (self.folder / "metrics.json").is_file()

    @property
    def checkpoints(self) -> Path:
        """Where weights lie."""
        return self.folder / "checkpoints"

    @property
    def label(self) -> str:
        """Name of the unit in other loggers, so that no two fits share a curve: its place from the recipe's name on."""
        parts = self.folder.parts
        fold = next((n for n, part in enumerate(parts) if part.startswith("fold=")), len(parts))
        return "/".join(parts[max(0, fold - 3) :])

    def take_features_of(self, overrides: str) -> None:
        """Where overrides (several separated by blanks) changed the upstream or what lies behind it, take them anew.

        Raises:
            RecipeError: the upstream is fine-tuned, so there are no stored features of it.
        """
        if not any(re.match(r"(--)?model\.upstream[.=+]", override) for override in overrides.split()):
            if self.features is not None and changes_parts(overrides):
                self._take_features_behind(overrides)
            return
        if self.features is None or self.upstream_state is not None or self.extract is None:
            raise RecipeError(
                f"{overrides!r} changes the upstream inside a fold, which needs frozen upstreams and whole utterances. "
                "Run one recipe for each fine-tuned upstream."
            )
        self.features = self.extract(self.recipe)
        if self.features is None and not isinstance(self.variant, Plain):
            # trained from waveforms, it would silently be the plain variant
            raise RecipeError(
                f"{overrides!r} fine-tunes the upstream inside a fold, but variant {self.variant.name} normalises the "
                "features of a frozen one. Use variants=[Plain], or a recipe of its own for the fine-tuned upstream."
            )

    def _take_features_behind(self, overrides: str) -> None:
        """Features for other parts behind the same upstream: from the store, less from more."""
        if self.upstream_state is None and self.extract is not None:
            self.features = self.extract(self.recipe)
        elif "layer_norm" in overrides:
            raise RecipeError(
                f"{overrides!r} changes layer_norm inside a fold, but the features of a tuned upstream are stored "
                "once. Set layer_norm outside of selection."
            )

    def use(self, draw: int = 0, join_dev: bool = False) -> None:
        """Point the shared data module at this unit."""
        self._draw = draw
        view = None
        if self.features is not None:
            view = self.variant.normalised_features(self.features, self.data.manifest.table, draw)
        self.data.use(
            self.fold,
            self.seed,
            view,
            not_scored=frozenset(self.variant.excluded(self.data.manifest.table, draw)),
            join_dev=join_dev,
        )

    def model(self) -> EmotionModel:
        """A fresh model that knows its training part; the same every time it is asked for."""
        model = self.recipe.model(self.data.classes, self.seed)
        if self.variant.level == "utterance" and (not model.fixed_embedding or model.normalisation is not None):
            raise RecipeError(
                f"Variant {self.variant.name} with level=utterance standardises pooled vectors: layer mix, frame stage "
                "and pooling must have no parameters and model.normalisation must not be global. Use level=frames."
            )
        self.data.use_rate(model.upstream.sampling_rate)
        self.data.use_conditions(model.conditions)
        if self.upstream_state is not None:
            model.upstream.load_state_dict(self.upstream_state)
            model.upstream.requires_grad_(False)
        self._check_features(model)
        self.recipe.check_targets(model, self.data, [self.data.training_ids])
        features = self.data.features
        model.prepare(
            torch.from_numpy(self.data.class_counts()),
            self.seed,
            # read one by one, and only if something is fitted on them: a large store does not fit in memory
            None if features is None else (features[name] for name in self.data.training_ids),
            None if features is None else lambda: self._vectors(model, self.data.training_ids),
            trained_dimensions(self.data),
        )
        if self.recipe.config.start_from is not None:
            load_start_weights(self, model)
        return model

    def _check_features(self, model: EmotionModel) -> None:
        """Refuse features that the model's own upstream and layer mix would not give: their head would be theirs."""
        if not isinstance(self.features, Features | ParallelFeatures):
            return
        stored = [kept.layer_norm for kept in self.features.reductions]
        if stored != [kept.layer_norm for kept in model.reductions]:
            raise RecipeError(
                "layer_norm of the layer mix is another one than that of the stored features. Set it outside of "
                "selection, alike for every candidate."
            )
        if not is_same(model.upstream, self.features.fingerprint):
            first = self.recipe.model(self.data.classes, self.recipe.config.seed).upstream
            if is_same(first, self.features.fingerprint):
                raise RecipeError(
                    f"The features are those of another upstream than that of seed {self.seed}: random weights depend "
                    f"on the seed. Run the seeds one by one (seeds=1 seed={self.seed})."
                )
            raise RecipeError(
                f"The upstream's files have changed since its features were taken: {self.features.fingerprint} then, "
                f"{model.upstream.fingerprint()} now. Put them back and run the same command again, which goes on; or "
                "run it with the changed ones, which makes another run."
            )

    def keep_vectors(self, model: EmotionModel) -> None:
        """Where nothing before the head learns, train and test the head from one vector an utterance."""
        if self.data.features is not None and model.fixed_embedding:
            names = self.data.used_ids
            vectors = model.normalised(self._vectors(model, names))
            self.data.use_vectors(dict(zip(names, vectors, strict=True)))

    def _vectors(self, model: EmotionModel, names: Sequence[str]) -> Tensor:
        """(N, E): computed once for all folds, unless a normalisation of the frames was fitted on this one."""
        features = self.data.features or {}
        if model.normalisation is not None:
            return torch.stack([model.vector(features[name]) for name in names])
        parts = self.recipe.config.model
        path = (parts.upstream, parts.layer_mix, parts.frames, parts.pooling, parts.fusion)
        key = (self.variant.name, self._draw, repr(path))
        known = self.vectors.get(key)
        if known is None:
            known = {name: model.vector(frames) for name, frames in features.items()}
            known = dict(self.variant.normalised_vectors(known, self.data.manifest.table, self._draw))
            self.vectors[key] = known
        return torch.stack([known[name] for name in names])


class Stage(ABC):
    """One step of a unit."""

    @abstractmethod
    def done(self, unit: Unit) -> bool:
        """Whether the stage has left its file."""

    @abstractmethod
    def run(self, unit: Unit) -> None:
        """Do it."""


def prediction_table(unit: Unit, outputs: GatheredOutputs, draw: int = 0) -> pd.DataFrame:
    """The rows of ``predictions.parquet`` for one test part."""
    manifest, classes = unit.data.manifest, np.array([*unit.data.classes, None], dtype=object)
    rows = manifest.table.set_index("id").loc[outputs.ids]
    columns = ["speaker", "sex", "session", "dialogue", "language", "corpus", "votes"]
    table = rows[columns].reset_index()
    table["label"] = classes[np.where(outputs.label == MISSING_LABEL, len(unit.data.classes), outputs.label)]
    if outputs.probabilities is not None:
        table["predicted"] = classes[outputs.probabilities.argmax(axis=1)]
        for index, name in enumerate(unit.data.classes):
            table[f"probability/{name}"] = outputs.probabilities[:, index].astype(np.float32)
    for index, name in enumerate(DIMENSIONS):
        table[name] = outputs.dimension_targets[:, index]
        if outputs.dimensions is not None:
            table[f"{name}_predicted"] = outputs.dimensions[:, index]
    return table.assign(fold=unit.fold.name, seed=unit.seed, draw=draw)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write in one step: a kill leaves the file before."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write in one step: a kill leaves the file before."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
