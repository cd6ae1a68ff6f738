"""From a run directory to models: which units it holds, and their weights put together again without the corpus."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ser_toolkit.config.unit_configuration import UnitConfiguration
from ser_toolkit.errors import CheckpointError, RecipeError, ResultError, nearest
from ser_toolkit.evaluation.run_folder import RunFolder, UnitFolder, find_run
from ser_toolkit.evaluation.run_record import RunRecord
from ser_toolkit.inference.completeness import Asked, check_nothing_lost, unfinished
from ser_toolkit.model.identity import check_identity
from ser_toolkit.model.network import EmotionNetwork
from ser_toolkit.model.state import without
from ser_toolkit.model.weights import StoredWeights, open_weights
from ser_toolkit.parts.own_sources import parts_of
from ser_toolkit.terms import PLAIN


@dataclass(frozen=True)
class StoredUnit:
    """One trained model of a run.

    Args:
        folder: where its files lie.
        fold: name of the fold that it was tested on.
        seed: of its training.
    """

    folder: Path
    fold: str
    seed: int

    @property
    def files(self) -> UnitFolder:
        """Files of the unit."""
        return UnitFolder(self.folder)

    @property
    def weights(self) -> Path:
        """File of the unit's weights."""
        return self.files.weights


@dataclass(frozen=True)
class RunInfo:
    """Where a recogniser comes from, and what has to be known about it before it is used or passed on.

    Args:
        recipe: name of the recipe.
        hash: of configuration, manifest and upstream: the name of the run directory.
        corpus: what it was trained on.
        licence: of the corpus, which may bind the models trained on it; None where the run states none.
        classes: class order.
        variant: how features are normalised (``plain``: not per speaker).
        folds: whose models are averaged. A model was trained on the speech of all folds but its own: for speech of the
            training corpus only the model of its own fold is fair.
        seeds: whose models are averaged.
        banners: warnings of the run, such as that its speech is synthetic.
        notes: what a user should know of the models that are used: folds that an unfinished run lacks, own parts whose
            code has changed since.
        outputs: what the models predict: "logits" (classes) and "dimensions".
        dimension_range: lowest and highest rating on the corpus's own scale; None where the run states none.
    """

    recipe: str
    hash: str
    corpus: str
    licence: str | None
    classes: tuple[str, ...]
    variant: str
    folds: tuple[str, ...]
    seeds: tuple[int, ...]
    banners: tuple[str, ...]
    notes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ("logits",)
    dimension_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class StoredRun:
    """Chosen units of a run directory.

    Args:
        units: the units.
        info: warnings about the run, and where it comes from.
        upstream: where the upstream lies now; None where the run had it.
        trust_code: whether code that is not the user's own may be executed, see ``parts.trust``.
    """

    units: list[StoredUnit]
    info: RunInfo
    upstream: str | None = None
    trust_code: bool = False


def units_of_run(
    run: str | Path, fold: str | int | None = None, variant: str | None = None, seed: int | None = None
) -> StoredRun:
    """Choose the complete units of a run.

    Args:
        run: a run directory, or a folder in it such as ``.../plain/fold=03/seed=0``, which then chooses.
        fold: name or number (from 1) of the fold whose model is wanted; None takes all.
        variant: None takes what the path says, else the plain one.
        seed: None takes all.

    Raises:
        ResultError: this is no run directory, what is asked for is not complete, or models that the run once had are
            gone, so that an average of the others would be that of another ensemble.
        RecipeError: the variant or fold is unknown, or the path names another.
    """
    folder = RunFolder(find_run(Path(run)))
    record = folder.record()
    if record.classes is None:
        raise ResultError(f"{folder.record_file} does not say which classes the run has. Was it written by ser-train?")
    place = folder.place_of(Path(run).expanduser().resolve())
    variant = _agreed("variant", variant, place.get("variant")) or PLAIN
    names = record.folds
    chosen_fold = _agreed("fold", None if fold is None else _fold_name(fold, names), place.get("fold"))
    chosen_seed = _agreed("seed", None if seed is None else str(seed), place.get("seed"))
    complete = _complete_units(folder, variant, names)
    units = [unit for unit in complete if chosen_fold in (None, unit.fold) and chosen_seed in (None, str(unit.seed))]
    asked_for = Asked(folder, variant, names if chosen_fold is None else (chosen_fold,), chosen_seed)
    check_nothing_lost(asked_for, record, [unit.files for unit in units])
    if not units:
        known = ", ".join(f"fold={unit.fold} seed={unit.seed}" for unit in complete[:12])
        asked = " ".join(f"{key}={value}" for key, value in (("fold", chosen_fold), ("seed", chosen_seed)) if value)
        raise ResultError(
            f"{folder.path / variant} holds no complete model{f' of {asked}' if asked else ''}; "
            f"complete: {known or 'none'}. "
            "Run the same ser-train command again to finish the run."
        )
    notes = unfinished(asked_for, record, [unit.files for unit in units])
    return StoredRun(units, _info(folder.path, record, variant, units, notes))


@dataclass(frozen=True)
class LoadedRun:
    """The models of the chosen units, and what else of their configuration predictions depend on.

    Args:
        models: on the CPU, in evaluation mode; a frozen upstream is one object for all.
        trained: outputs of the heads that the objective looked at.
        configuration: of the first unit.
        speaker_level: what the variant standardises per speaker; of the plain one without meaning.
        notes: sentences on own parts whose code has changed since the run.
    """

    models: list[EmotionNetwork]
    trained: tuple[str, ...]
    configuration: UnitConfiguration
    speaker_level: Literal["frames", "utterance"] = "frames"
    notes: tuple[str, ...] = ()


def build_models(run: StoredRun) -> LoadedRun:
    """Put the models of the chosen units together, own parts as they were when the run was trained.

    The corpus is not needed: the classes come from the weights. Weights are read as safetensors, which cannot hold
    code; ``config.yaml`` names the classes that the model is made of, and those have to be trusted (``parts.trust``).

    Raises:
        CheckpointError: weights are damaged, or belong to other classes, another model or another upstream.
        RecipeError: a class is not trusted.
        SerError: what the parts themselves refuse, such as the missing weights of an upstream.
    """
    with parts_of(RunFolder(find_run(run.units[0].folder)).own_parts, run.trust_code) as changed:
        loaded = _build(run)
        plain = run.info.variant == PLAIN
        level = "frames" if plain else loaded.configuration.speaker_level(run.info.variant)
    return replace(loaded, speaker_level=level, notes=tuple(changed))


def _build(run: StoredRun) -> LoadedRun:
    templates: dict[str, tuple[EmotionNetwork, tuple[str, ...], UnitConfiguration]] = {}
    shared: dict[str, EmotionNetwork] = {}
    models: list[EmotionNetwork] = []
    for unit in run.units:
        stored = open_weights(unit.weights)
        _check_classes(unit, stored, run.info.classes)
        _check_recorded(unit, stored)
        # Candidates that were chosen inside a fold may have given it other parts than its neighbour.
        text = _configuration(unit)
        if text not in templates:
            configuration = UnitConfiguration(unit.files.config, run.upstream, run.trust_code)
            template, trained = configuration.network(run.info.classes, unit.seed)
            check_identity(template.classes, template.upstream, stored.classes, stored.fingerprint, stored.settings)
            if stored.fingerprint is not None:
                template.upstream = shared.setdefault(template.upstream.fingerprint(), template).upstream
            templates[text] = (template, trained, configuration)
        template = templates[text][0]
        check_identity(template.classes, template.upstream, stored.classes, stored.fingerprint, stored.settings)
        model = _copy(template)
        model.load_own_state(without("objective", stored.state))
        model.trained_on(stored.dimensions)
        models.append(model.eval())
    _, trained, configuration = templates[_configuration(run.units[0])]
    return LoadedRun(models, trained, configuration)


def _configuration(unit: StoredUnit) -> str:
    path = unit.files.config
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Copy the run directory again.") from error


def _copy(model: EmotionNetwork) -> EmotionNetwork:
    """A model of its own around the same frozen upstream, which is the bulk of the memory."""
    shared = {id(model.upstream): model.upstream} if model.upstream.frozen else {}
    return copy.deepcopy(model, shared)


def _check_classes(unit: StoredUnit, stored: StoredWeights, classes: Sequence[str]) -> None:
    if stored.classes != tuple(classes):
        raise CheckpointError(
            f"{unit.weights} was trained for the class order {list(stored.classes)}, its run says "
            f"{list(classes)}. Predictions would be misnamed; copy the run directory again as a whole."
        )


def _check_recorded(unit: StoredUnit, stored: StoredWeights) -> None:
    """Refuse weights that are whole, but not those that the unit was tested with."""
    path = unit.files.metrics
    try:
        known = json.loads(path.read_text(encoding="utf-8")).get("weights")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Copy the run directory again.") from error
    if known != stored.checksum:
        raise CheckpointError(
            f"{unit.weights} is not what fold {unit.fold}, seed {unit.seed} was tested with: its checksum is "
            f"{stored.checksum}, tested was {known}. Copy the file again, or delete {unit.folder} and run ser-train "
            "again: only that unit is made anew."
        )


def _info(
    folder: Path, record: RunRecord, variant: str, units: Sequence[StoredUnit], notes: tuple[str, ...] = ()
) -> RunInfo:
    return RunInfo(
        recipe=record.recipe or folder.parent.name,
        hash=record.hash or folder.name,
        corpus=record.corpus.name or "unknown",
        licence=record.corpus.licence,
        classes=record.classes or (),
        variant=variant,
        folds=tuple(dict.fromkeys(unit.fold for unit in units)),
        seeds=tuple(sorted({unit.seed for unit in units})),
        banners=record.banners,
        notes=notes,
        outputs=record.outputs,
        dimension_range=record.corpus.dimension_range,
    )


def _agreed(key: str, asked: str | None, found: str | None) -> str | None:
    if asked is not None and found is not None and asked != found:
        raise RecipeError(f"{key}={asked} was asked for, but the path given is inside {key}={found}. Leave one out.")
    return asked if asked is not None else found


def _fold_name(fold: str | int, names: Sequence[str]) -> str:
    """A fold by its name, or by its number from 1, as ser-train takes it."""
    given = str(fold).replace("/", "-")  # the speaker EmoDB/03, as ``data.folds.folder_name`` names the fold
    if given in names:
        return given
    if str(fold).isdigit() and 1 <= int(fold) <= len(names):
        return names[int(fold) - 1]
    raise RecipeError(f"Fold {fold!r} is unknown to this run. {nearest(str(fold), names)}")


def _complete_units(folder: RunFolder, variant: str, names: Sequence[str]) -> list[StoredUnit]:
    """All units of a variant that were trained and tested, in the order of the run's folds."""
    known = folder.variants()
    if variant not in known:
        raise RecipeError(f"Variant {variant!r} is unknown to this run. {nearest(variant, known)}")
    found = []
    for unit in folder.units(variant):
        if unit.weights.is_file() and unit.metrics.is_file():
            found.append(StoredUnit(unit.path, unit.fold, int(unit.seed)))
    order = {name: index for index, name in enumerate(names)}
    return sorted(found, key=lambda unit: (order.get(unit.fold, len(order)), unit.fold, unit.seed))
