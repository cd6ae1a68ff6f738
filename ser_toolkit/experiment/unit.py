"""One unit of an experiment: a variant, a fold and a seed, and what its stages need."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ser_toolkit.config.recipe import Recipe
from ser_toolkit.data.batch import DIMENSIONS, MISSING_LABEL, Stored
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.data.ratings import trained_dimensions
from ser_toolkit.errors import RecipeError
from ser_toolkit.evaluation.predictions import predicted_column, probability_columns
from ser_toolkit.evaluation.run_folder import UnitFolder
from ser_toolkit.features.variants import Plain, Variant
from ser_toolkit.features.views import Features, ParallelFeatures
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.model.epoch_outputs import GatheredOutputs
from ser_toolkit.model.feature_plan import changes_parts
from ser_toolkit.protocols.splits import Fold


@dataclass(frozen=True)
class Unit:
    """One unit of the experiment, with all that its stages need. A unit under other settings is another object.

    Args:
        recipe: the configuration.
        data: corpus, labels and batch settings, shared by all units of a process.
        variant: how features are normalised.
        fold: which fold.
        seed: of weights, order and dropout.
        folder: where its files go.
        features: stored features of the whole corpus, or None to train from waveforms.
        extract: gives the stored features that a recipe's upstream makes, or None where there are none.
        on_epoch: called with (epoch, epochs, dev metric) after every epoch.
        upstream_state: weights of the fine-tuned upstream that the features came from; not trained further.
        vectors: utterance vectors by (variant, draw, parts): a cache, shared by the units of a process.
    """

    recipe: Recipe
    data: CorpusData
    variant: Variant
    fold: Fold
    seed: int
    folder: Path
    features: Mapping[str, Stored] | None
    extract: Callable[[Recipe], Mapping[str, Stored] | None]
    on_epoch: Callable[[int, int, float | None], None] | None = None
    upstream_state: dict[str, Tensor] | None = None
    vectors: dict[tuple[str, int, str], dict[str, Tensor]] = field(default_factory=dict)

    @property
    def files(self) -> UnitFolder:
        """Names of the files in its folder."""
        return UnitFolder(self.folder)

    @property
    def complete(self) -> bool:
        """Whether the last stage has left its file."""
        return self.files.metrics.is_file()

    # --- under other settings -------------------------------------------------------------------------------------

    def under(self, overrides: str) -> Unit:
        """The unit under overrides (several separated by blanks) of its recipe, with the features that they need.

        Raises:
            RecipeError: the upstream is fine-tuned, so there are no stored features of it.
        """
        unit = replace(self, recipe=self.recipe.override(*overrides.split()))
        if any(re.match(r"(--)?model\.upstream[.=+]", override) for override in overrides.split()):
            return replace(unit, features=unit._features_of_own_upstream(overrides))
        if self.features is not None and changes_parts(overrides):
            return replace(unit, features=unit._features_behind(overrides))
        return unit

    def _features_of_own_upstream(self, overrides: str) -> Mapping[str, Stored] | None:
        """Features of the upstream that overrides have changed."""
        if self.features is None or self.upstream_state is not None:
            raise RecipeError(
                f"{overrides!r} changes the upstream inside a fold, which needs frozen upstreams and whole utterances. "
                "Run one recipe for each fine-tuned upstream."
            )
        features = self.extract(self.recipe)
        if features is None and not isinstance(self.variant, Plain):
            # trained from waveforms, it would silently be the plain variant
            raise RecipeError(
                f"{overrides!r} fine-tunes the upstream inside a fold, but variant {self.variant.name} normalises the "
                "features of a frozen one. Use variants=[Plain], or a recipe of its own for the fine-tuned upstream."
            )
        return features

    def _features_behind(self, overrides: str) -> Mapping[str, Stored] | None:
        """Features for other parts behind the same upstream, from the store; reduced where these parts need less."""
        if self.upstream_state is None:
            return self.extract(self.recipe)
        if "layer_norm" in overrides:
            raise RecipeError(
                f"{overrides!r} changes layer_norm inside a fold, but the features of a tuned upstream are stored "
                "once. Set layer_norm outside of selection."
            )
        return self.features

    # --- the model and its part of the corpus ---------------------------------------------------------------------

    def part(self, model: EmotionModel, draw: int = 0, join_dev: bool = False) -> FoldData:
        """The fold's data for a model, with the features of one draw of the variant."""
        table = self.data.manifest.table
        return FoldData(
            self.data,
            self.fold,
            needs=model.needs,
            seed=self.seed,
            features=None if self.features is None else self.variant.normalised_features(self.features, table, draw),
            leave_out=frozenset(self.variant.excluded(table, draw)),
            join_dev=join_dev,
        )

    def prepared(self, join_dev: bool = False) -> tuple[EmotionModel, FoldData]:
        """A fresh model that knows its training part, the same every time it is asked for, and the fold's data."""
        model = self.recipe.model(self.data.classes, self.seed)
        if self.variant.level == "utterance" and (
            not model.network.fixed_embedding or model.network.normalisation is not None
        ):
            raise RecipeError(
                f"Variant {self.variant.name} with level=utterance standardises pooled vectors: layer mix, frame stage "
                "and pooling must have no parameters and model.normalisation must not be global. Use level=frames."
            )
        if self.upstream_state is not None:
            model.upstream.load_state_dict(self.upstream_state)
            model.upstream.requires_grad_(False)
        self._check_features(model)
        part = self.part(model, join_dev=join_dev)
        self.recipe.check_targets(model, self.data, [part.training_ids])
        features = part.features
        model.prepare(
            torch.from_numpy(part.class_counts()),
            self.seed,
            # read one by one, and only if something is fitted on them: a large store does not fit in memory
            None if features is None else (features[name] for name in part.training_ids),
            None if features is None else lambda: self._vectors(model, features, part.training_ids),
            trained_dimensions(part),
        )
        return model, part

    def with_vectors(self, part: FoldData, model: EmotionModel, draw: int = 0) -> FoldData:
        """The fold's data with one vector an utterance where nothing before the head learns; else unchanged.

        Args:
            part: of this unit, with the features of a draw.
            model: gives the vectors.
            draw: of the variant, of which the part has the features.
        """
        if part.features is None or not model.network.fixed_embedding:
            return part
        vectors = model.network.normalised(self._vectors(model, part.features, part.used_ids, draw))
        return part.with_vectors(dict(zip(part.used_ids, vectors, strict=True)))

    def _vectors(
        self, model: EmotionModel, features: Mapping[str, Stored], names: Sequence[str], draw: int = 0
    ) -> Tensor:
        """Pooled vectors (N, E), computed once for all folds unless a normalisation of frames is fitted on this one."""
        if model.network.normalisation is not None:
            return torch.stack([model.network.vector(features[name]) for name in names])
        key = (self.variant.name, draw, self.recipe.vector_settings)
        known = self.vectors.get(key)
        if known is None:
            known = {name: model.network.vector(frames) for name, frames in features.items()}
            known = dict(self.variant.normalised_vectors(known, self.data.manifest.table, draw))
            self.vectors[key] = known
        return torch.stack([known[name] for name in names])

    def _check_features(self, model: EmotionModel) -> None:
        """Refuse features that the model's own upstream and layer mix would not give: its head would not fit to it."""
        if not isinstance(self.features, Features | ParallelFeatures):
            return
        stored = [reduction.layer_norm for reduction in self.features.reductions]
        if stored != [reduction.layer_norm for reduction in model.network.reductions]:
            raise RecipeError(
                "layer_norm of the layer mix is another one than that of the stored features. Set it outside of "
                "selection, alike for every candidate."
            )
        if model.upstream.fingerprint() != self.features.fingerprint:
            first = self.recipe.model(self.data.classes, self.recipe.settings.seed).upstream
            if first.fingerprint() == self.features.fingerprint:
                raise RecipeError(
                    f"The features are those of another upstream than that of seed {self.seed}: random weights depend "
                    f"on the seed. Run the seeds one by one (seeds=1 seed={self.seed})."
                )
            raise RecipeError(
                f"The upstream's files have changed since its features were taken: {self.features.fingerprint} then, "
                f"{model.upstream.fingerprint()} now. Put them back and run the same command again, which goes on; or "
                "run it with the changed ones, which makes another run."
            )


class Stage(ABC):
    """One step of a unit, which leaves a file when it is complete."""

    @abstractmethod
    def done(self, unit: Unit) -> bool:
        """Whether the stage has left its file."""

    @abstractmethod
    def run(self, unit: Unit) -> None:
        """Carry out this step and write its file."""

    def after(self, unit: Unit) -> Unit:
        """The unit as the stages behind this one take it, from the files of this complete stage."""
        return unit


def prediction_table(part: FoldData, outputs: GatheredOutputs, draw: int = 0) -> pd.DataFrame:
    """The rows of ``predictions.parquet`` for one test part."""
    classes = np.array([*part.classes, None], dtype=object)
    rows = part.manifest.table.set_index("id").loc[outputs.ids]
    columns = ["speaker", "sex", "session", "dialogue", "language", "corpus", "votes"]
    table = rows[columns].reset_index()
    table["label"] = classes[np.where(outputs.label == MISSING_LABEL, len(part.classes), outputs.label)]
    if outputs.probabilities is not None:
        table["predicted"] = classes[outputs.probabilities.argmax(axis=1)]
        for index, column in enumerate(probability_columns(part.classes)):
            table[column] = outputs.probabilities[:, index].astype(np.float32)
    for index, name in enumerate(DIMENSIONS):
        table[name] = outputs.dimension_targets[:, index]
        if outputs.dimensions is not None:
            table[predicted_column(name)] = outputs.dimensions[:, index]
    return table.assign(fold=part.fold.name, seed=part.seed, draw=draw)
