"""Settings of a unit's ``config.yaml`` that a prediction needs: network, windows, standardisation of a speaker.

Nothing that trains is read or imported: no trainer, optimiser, data module or metric. The signatures are the schema, as
they are for a recipe, so that a part gets the same arguments either way.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import jsonargparse
import numpy as np
import torch

from ser_toolkit.config.arguments import Command
from ser_toolkit.config.files import Source, find_recipe
from ser_toolkit.config.parser import RecipeParser
from ser_toolkit.data.audio.channels import MIX
from ser_toolkit.errors import CheckpointError, RecipeError, SerError
from ser_toolkit.evaluation.run_folder import RunFolder
from ser_toolkit.model.network import EmotionNetwork, build_network
from ser_toolkit.objectives.base import Objective
from ser_toolkit.parts.trust import check_trusted
from ser_toolkit.system.places import find_weights

#: Settings of the model that only its training looks at.
_TRAINING = ("optimizer", "lr_scheduler", "lr_interval", "upstream_lr")
_DATA = ("allow_silent", "channel", "eval_window_seconds")
#: Options of upstreams for where they lie: of those that have several, the first is the weights.
UPSTREAM_PLACES = ("checkpoint", "weights", "name")
#: Objective of a model whose configuration names none.
_USUAL_OBJECTIVE = {"class_path": "ser_toolkit.objectives.categorical.CrossEntropy"}


class UnitConfiguration:
    """The part of a unit's configuration that predictions depend on.

    Args:
        path: of ``config.yaml``.
        upstream: where the upstream lies now; None for the place in the configuration.
        trust_code: whether classes of somebody else may be imported, see ``parts.trust``.

    Raises:
        RecipeError: the file is not YAML, a part or a value is unknown, a class is not trusted, or its upstream
            does not lie anywhere.
    """

    def __init__(self, path: Path, upstream: str | None = None, trust_code: bool = False) -> None:
        self._path, self._trust_code = path, trust_code
        self._sources = [source.content for source in find_recipe(str(path))]
        if upstream is not None:
            for content in self._sources:
                _move_upstream(path, content, upstream)
        self._parser = _network_parser()
        self._config = self._parse(self._parser, [_needed(content) for content in self._sources])

    def _parse(self, parser: RecipeParser, contents: Sequence[dict[str, Any]]) -> jsonargparse.Namespace:
        """Parse the settings of a configuration that the parser knows; errors name the file and its keys."""
        folders = self._path.resolve().parents
        run = next((run for folder in folders if (run := RunFolder(folder)).is_run), RunFolder(folders[0]))
        check_trusted(self._path, contents, run.own_parts, self._trust_code)
        try:
            return parser.parse_or_explain(Command.of_files([Source(self._path, content) for content in contents]))
        except RecipeError as error:
            raise RecipeError(f"{self._path}: {str(error).removeprefix(f'{self._path}: ')}") from error

    @property
    def allow_silent(self) -> bool:
        """Whether the run accepted digital silence."""
        return bool(self._config.data.allow_silent)

    @property
    def channel(self) -> str | int:
        """Channel that the run took of recordings with several."""
        return self._config.data.channel

    @property
    def window_seconds(self) -> float | None:
        """Windows that the run was tested with; None when it was tested on whole utterances."""
        return self._config.data.eval_window_seconds

    def network(self, classes: Sequence[str], seed: int) -> tuple[EmotionNetwork, tuple[str, ...]]:
        """A network with fresh weights that depend on the seed alone, and the outputs that its objective looked at.

        A program that asks for a prediction keeps its own random state.

        Raises:
            RecipeError: the parts do not go together.
            SerError: what the parts themselves refuse, such as the missing weights of an upstream.
        """
        with _seeded(seed):
            try:
                config = jsonargparse.Namespace(model=self._config.model.clone())
                parts = self._parser.instantiate(config).model.as_dict()
            except SerError as error:
                raise self._with_place(error) from error
            objective = parts.pop("objective")
            try:
                network = build_network(**parts, classes=classes)
                requires = tuple(objective(len(network.classes)).requires)
            except (RuntimeError, ValueError) as error:
                # A size that torch refuses (hidden_dim=-1): the parts' own messages are SerErrors already.
                raise RecipeError(f"These parts do not make a model: {str(error).splitlines()[0]}") from error
        missing = sorted(set(requires) - set(network.head.outputs))
        if missing:
            raise RecipeError(
                f"{self._path}: the objective needs {', '.join(missing)}, but head {type(network.head).__name__} gives "
                f"{', '.join(network.head.outputs)}. Copy the run directory again."
            )
        return network, requires

    def _with_place(self, error: SerError) -> SerError:
        """Error of an upstream that is not found, with the option that names its place."""
        upstream = self._config.model.upstream.as_dict()
        option = _place_of(upstream)
        place = None if option is None else str(upstream["init_args"][option])
        if place is None or Path(place).expanduser().exists() or find_weights(place) is not None:
            return error
        return type(error)(
            f"{error} Where {place} was moved, say where it lies now: --upstream PATH (Python: upstream=)."
        )

    def speaker_level(self, variant: str) -> Literal["frames", "utterance"]:
        """Level at which a variant standardises per speaker: frames of each layer, or pooled vectors.

        Raises:
            CheckpointError: the configuration does not list the variant.
        """
        from ser_toolkit.features.variants import Variant  # pandas comes with it, and the plain variant needs neither

        parser = RecipeParser(prog="ser-predict")
        parser.add_argument("--config", action="config")
        parser.add_argument("--variants", type=list[Variant] | None, default=None)
        config = self._parse(parser, [_chosen(content, ("variants",)) for content in self._sources])
        for listed in parser.instantiate(config).variants or ():
            if listed.name == variant:
                return listed.level
        raise CheckpointError(
            f"{self._path} does not list the variant {variant} that it lies under. "
            "Copy the run directory again as a whole, or train the variant again."
        )


def _place_of(upstream: Mapping[str, Any]) -> str | None:
    """Option that names an upstream's place; None of one that needs no files."""
    options = upstream.get("init_args") or {}
    return next((name for name in UPSTREAM_PLACES if options.get(name) is not None), None)


def _move_upstream(path: Path, content: Mapping[str, Any], place: str) -> None:
    upstream = (content.get("model") or {}).get("upstream")
    option = _place_of(upstream) if isinstance(upstream, dict) else None
    if not isinstance(upstream, dict) or option is None:
        raise RecipeError(
            f"{path}: the run's upstream does not say where it lies ({', '.join(UPSTREAM_PLACES)}), so it cannot be "
            "elsewhere. Of several that are fused, edit the paths in this file."
        )
    upstream["init_args"][option] = place


def _network_parser() -> RecipeParser:
    parser = RecipeParser(prog="ser-predict", allow_abbrev=False)
    parser.add_argument("--config", action="config")
    parser.add_argument("--data.allow_silent", type=bool, default=False)
    parser.add_argument("--data.channel", type=int | str, default=MIX)
    parser.add_argument("--data.eval_window_seconds", type=float | None, default=None)
    parser.add_function_arguments(build_network, "model", skip={"classes"})
    parser.add_argument("--model.objective", type=Callable[[int], Objective], default=_USUAL_OBJECTIVE)
    return parser


def _needed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a configuration that predictions depend on."""
    found = _chosen(content, ("data", "model"))
    if isinstance(found.get("data"), dict):
        found["data"] = _chosen(found["data"], _DATA)
    if isinstance(found.get("model"), dict):
        found["model"] = {key: value for key, value in found["model"].items() if key not in _TRAINING}
    return found


def _chosen(content: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: content[key] for key in keys if key in content}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Context in which random numbers depend on the seed alone; afterwards the former random state is back."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
