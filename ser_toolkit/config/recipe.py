"""A recipe: one YAML, found by name or path, changed by ``key=value`` overrides, resolved and hashed."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonargparse
import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ser_toolkit.config.arguments import Command
from ser_toolkit.config.conventions import conventions
from ser_toolkit.config.identity import what_matters
from ser_toolkit.config.loggers import name_loggers
from ser_toolkit.config.overridden import check_effect
from ser_toolkit.config.schema import make_parser
from ser_toolkit.config.selection import Selection, check_override
from ser_toolkit.config.settings import RunSettings, TrainerSettings
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.data.ratings import check_targets, trained_dimensions
from ser_toolkit.data.reduction import Reduction
from ser_toolkit.errors import RecipeError
from ser_toolkit.evaluation.run_folder import RunFolder
from ser_toolkit.features.settings import FeatureSettings
from ser_toolkit.features.variants import Plain, Variant
from ser_toolkit.model.build import build_model
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.model.feature_plan import reductions
from ser_toolkit.parts.own_sources import hashes, own_sources
from ser_toolkit.parts.trust import check_trusted

#: The upstream of a recipe that names none, where only the data count.
_STAND_IN = "model.upstream=Spectral"


@dataclass(frozen=True)
class Recipe:
    """A resolved configuration, from which models, data and trainers are built.

    Args:
        name: of the recipe, for the run directory.
        _config: what the parser made of files and overrides; it stays in here.
        notes: what a user should know about the arguments, in sentences.
    """

    name: str
    _config: jsonargparse.Namespace
    notes: tuple[str, ...] = ()

    @functools.cached_property
    def settings(self) -> RunSettings:
        """Which units are made, how many side by side, and where they lie."""
        found = {name: self._config[name] for name in RunSettings.__annotations__}
        return RunSettings(**found | {"baselines": tuple(self._config.baselines)})

    @functools.cached_property
    def trainer_settings(self) -> TrainerSettings:
        """How long and how exactly the trainer trains."""
        return TrainerSettings(**{name: self._config.trainer[name] for name in TrainerSettings.__annotations__})

    @functools.cached_property
    def selection(self) -> Selection:
        """How the tested weights are chosen."""
        return Selection(**self._config.selection.as_dict())

    @functools.cached_property
    def features(self) -> FeatureSettings:
        """How the features of frozen upstreams are computed and kept."""
        return FeatureSettings(**self._config.features.as_dict())

    @functools.cached_property
    def tuning(self) -> list[str]:
        """Overrides of the first of two stages, in which every fold's upstreams are fine-tuned; empty for one stage.

        Raises:
            RecipeError: an override changes the data or the upstream.
        """
        for override in self._config.tuning:
            check_override(override, "tuning", ("model.", "trainer.", "selection."))
            if re.search(r"(^|\s)(--)?model\.upstream[.=+]", override):
                raise RecipeError(
                    f"tuning: {override!r} changes the upstream, which both stages share. Set it outside tuning."
                )
        return list(self._config.tuning)

    @functools.cached_property
    def variants(self) -> list[Variant]:
        """The variants of the result, the plain one first."""
        return self._instantiate("variants") or [Plain()]

    @property
    def vector_settings(self) -> str:
        """Settings of the parts from the upstream to the pooling, as text: the same, the same vectors."""
        return repr([self._config.model[name] for name in ("upstream", "layer_mix", "frames", "pooling", "fusion")])

    def reductions(self, model: EmotionModel, searched: bool = True) -> tuple[Reduction, ...]:
        """The least that has to be kept under each upstream of a model of this recipe.

        Args:
            model: of this recipe.
            searched: whether what is tried inside the folds is served too.
        """
        selection = self.selection
        overrides = [*selection.candidates, *(f"{key}=" for key in selection.space)] if searched else []
        return reductions(model.network, self.variants, self.features, overrides)

    @property
    def extraction_device(self) -> str:
        """Where upstreams run ahead of the training: a GPU where the trainer would take one too."""
        wanted = self.trainer_settings.accelerator in ("auto", "gpu", "cuda")
        return "cuda" if torch.cuda.is_available() and wanted else "cpu"

    def data(self) -> CorpusData:
        """Corpus, labels, protocol and batch settings."""
        return CorpusData(**self._instantiate("data").as_dict())

    def model(self, classes: Sequence[str], seed: int = 0) -> EmotionModel:
        """A model with fresh weights that depend on the seed alone."""
        pl.seed_everything(seed, verbose=False)
        parts = self._instantiate("model").as_dict()
        if self.tuning and parts["upstream"].frozen:
            raise RecipeError("tuning fine-tunes the upstream, which is frozen. Set model.upstream.frozen=false.")
        try:
            return build_model(**parts, classes=classes, monitor=self.selection.monitor)
        except (RuntimeError, ValueError) as error:
            # A size that torch refuses (hidden_dim=-1): the parts' own messages are SerErrors already.
            raise RecipeError(f"These parts do not make a model: {str(error).splitlines()[0]}") from error

    def trainer(self, label: str | None = None, loggers: Sequence[Logger] = (), **extra: Any) -> pl.Trainer:
        """A trainer; ``extra`` arguments are added (callbacks to the recipe's own).

        Args:
            label: what loggers without a name of their own are called.
            loggers: come behind the recipe's own.
            extra: arguments of the trainer.

        Raises:
            RecipeError: Lightning refuses a setting.
        """
        settings = self._instantiate("trainer", label).as_dict()
        callbacks = [*_as_list(settings.pop("callbacks", None)), *extra.pop("callbacks", [])]
        settings |= {"use_distributed_sampler": False, "num_sanity_val_steps": 0}
        if loggers:  # true and false ask Lightning for its default one or none
            own = [one for one in _as_list(settings.get("logger")) if isinstance(one, Logger)]
            settings["logger"] = [*own, *loggers]
        try:
            return pl.Trainer(**(settings | extra), callbacks=callbacks)
        except (ValueError, TypeError, MisconfigurationException) as error:
            raise RecipeError(f"trainer: {' '.join(str(error).split())}") from error

    def build(self, fold: str | int = 1, seed: int = 0) -> tuple[EmotionModel, FoldData, pl.Trainer]:
        """Model, data and trainer of one fold, ready for ``trainer.fit(model, data)``; trains from waveforms."""
        source = self.data()
        model = self.model(source.classes, seed)
        data = FoldData(source, fold, needs=model.needs, seed=seed)
        self.check_targets(model, source, [data.training_ids])
        model.prepare(torch.from_numpy(data.class_counts()), seed, dimensions=trained_dimensions(data))
        return model, data, self.trainer(logger=False)

    def check_training(self) -> None:
        """Refuse settings with which nothing would be trained.

        Raises:
            RecipeError: see ``TrainerSettings.check``.
        """
        self.trainer_settings.check(self._config.model.upstream_lr)

    def check_targets(
        self,
        model: EmotionModel,
        data: CorpusData,
        train: Sequence[tuple[str, ...]],
        dev: Sequence[tuple[str, ...]] = (),
    ) -> None:
        """Refuse an objective or a monitor whose targets the corpus, or one of the parts (ids each), does not have.

        Raises:
            RecipeError: see ``data.ratings.check_targets``.
        """
        name = type(model.objective).__name__
        check_targets(data, model.objective.requires, name, self.selection.monitor, train, dev)

    def override(self, *overrides: str) -> Recipe:
        """The same recipe with overrides as on the command line."""
        command = Command.read(overrides)
        given = [f"--config={self.yaml()}", *command.arguments, *conventions(command)]
        return Recipe(self.name, make_parser().parse_args(given))

    def check_candidates(self) -> list[Recipe]:
        """Read every candidate of the selection; returns the recipes that they make.

        Raises:
            RecipeError: one of them has an unknown key or value; it is named.
        """
        found = []
        for candidate in self.selection.candidates:
            try:
                found.append(self.override(*candidate.split()))
            except RecipeError as error:
                raise RecipeError(f"selection.candidates, {candidate!r}: {error}") from error
        return found

    def identity(self) -> dict[str, Any]:
        """Settings that results depend on besides corpus and upstream, and the source of own parts, as plain data."""
        own = hashes(self.own_sources)
        return what_matters(self.plain_config(), self.selection.monitor) | ({"own_parts": own} if own else {})

    @property
    def own_sources(self) -> dict[str, bytes]:
        """Source of the parts that are neither the toolkit's nor installed, by file."""
        plain = self.plain_config()
        # which variants there are makes no other run, but the code of one's own does: its units bear its name alone
        return own_sources(what_matters(plain, self.selection.monitor) | {"variants": plain["variants"]})

    def hash(self, manifest_hash: str, fingerprint: str) -> str:
        """Identity of a run (10 hex digits): configuration, source of own parts, manifest and upstream."""
        identity = json.dumps([self.identity(), manifest_hash, fingerprint], sort_keys=True)
        return hashlib.sha256(identity.encode()).hexdigest()[:10]

    def plain_config(self) -> dict[str, Any]:
        """The resolved configuration as plain data."""
        return make_parser().dump_plain(self._config)

    def yaml(self) -> str:
        """The resolved configuration, to be read again with ``recipe=PATH``."""
        return str(make_parser().dump(self._config, skip_unset=False))

    def _instantiate(self, group: str, label: str | None = None) -> Any:
        """The objects of one group of the configuration; the others (a large upstream, say) are left alone."""
        part = jsonargparse.Namespace(**{group: copy.deepcopy(self._config[group])})
        if label is not None:
            name_loggers(part[group].logger, label)
        return make_parser().instantiate(part)[group]


def parse(arguments: Sequence[str]) -> Recipe:
    """A recipe from command line arguments such as ``recipe=demo fold=2 --trainer.max_epochs=3``.

    Raises:
        RecipeError: the recipe, a part or an option is unknown (the nearest names are given), or a setting would have
            no effect because candidates, a search space or the tuning overwrite it.
    """
    return _of_command(Command.read(arguments))


def parse_run(file: Path, run: Path, trust_code: bool, *overrides: str) -> Recipe:
    """The recipe of a run, which may come from somebody else.

    Args:
        file: ``config.yaml`` of the run, or of a unit in it.
        run: the run directory.
        trust_code: whether classes that are not the user's own may be imported, see ``parts.trust``.
        overrides: of the user, as on the command line.

    Raises:
        RecipeError: see ``parse``, or a class is not trusted.
    """
    command = Command.read([f"recipe={file}", *overrides])
    check_trusted(file, [source.content for source in command.sources], RunFolder(run).own_parts, trust_code)
    return _of_command(command)


def parse_corpus(arguments: Sequence[str]) -> Recipe:
    """A recipe of which the corpus, its classes and label rule alone are going to count.

    A corpus is enough, ``recipe=emovo``: where no upstream is named, one without weights stands in for it.

    Raises:
        RecipeError: see ``parse``.
    """
    command = Command.read(arguments)
    named = any(f"{key}.".startswith("model.upstream.") for level in command.levels for key in level.values)
    return _of_command(command if named else Command.read([*arguments, _STAND_IN]))


def _of_command(command: Command) -> Recipe:
    config = make_parser().parse_or_explain(command, conventions(command))
    recipe = Recipe(config.name or command.name, config)
    notes = check_effect(
        command, recipe.selection, recipe.tuning, lambda more: recipe.override(*more.split()).plain_config()
    )
    return replace(recipe, notes=tuple(notes))


def load_recipe(name: str, *overrides: str) -> Recipe:
    """A recipe by name or path, with overrides.

    Args:
        name: a shipped recipe (``demo``) or a YAML file.
        overrides: as on the command line: ``"data.root=/data/EmoDB"``, ``"model.pooling=MeanPooling"``.

    Raises:
        RecipeError: something is unknown; the message gives the nearest names.
    """
    return parse([f"recipe={name}", *overrides])


def _as_list(value: Any) -> list:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
