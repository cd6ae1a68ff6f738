"""s3prl's hub: its entries by name, built from local checkpoints or downloads, with errors in one line."""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib
import inspect
import json
import logging
import pickle
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from ser_toolkit.errors import CheckpointError, RecipeError, nearest
from ser_toolkit.system.places import find_weights, searched
from ser_toolkit.upstreams.encoders.settings import frame_settings, training_settings

#: Ends of the names of entries that are nothing without a checkpoint.
NEED_CHECKPOINT = ("_local", "_custom", "_url")
#: Settings that describe convolutions, such as "[(512, 10, 5)] + [(512, 3, 2)] * 4".
_EVALUATED = ("_layers", "xformers_att_config")
#: Settings of a transformers folder, of the model and of its feature extractor.
_TRANSFORMERS = ("config.json", "preprocessor_config.json")
#: Files beside a checkpoint that are about text: no upstream reads them.
_TOKENS = (
    "added_tokens.json",
    "generation_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)
_ARITHMETIC = re.compile(r"[\d\s()\[\],+*]*")


@functools.lru_cache(maxsize=1)
def hub_entries() -> dict[str, Callable[..., nn.Module]]:
    """Every entry of s3prl's hub by name, imported at the first call (seconds).

    Raises:
        RecipeError: s3prl is not installed, or does not go with what is.
    """
    remarks = logging.root.manager.disable
    logging.disable(logging.WARNING)  # s3prl names every optional package that is absent
    try:
        hub = importlib.import_module("s3prl.hub")
    except (ImportError, OSError) as error:  # OSError: a torchaudio that does not fit, and repairs are switched off
        raise RecipeError(
            f"S3prlUpstream needs the packages s3prl and torchaudio, which cannot be imported ({error}): "
            "pip install s3prl torchaudio. Or choose another model.upstream, such as HuggingFaceUpstream."
        ) from error
    finally:
        logging.disable(remarks)
    return {
        name: function
        for name, function in vars(hub).items()
        if inspect.isfunction(function) and function.__module__.endswith(".hubconf")
    }


@dataclass(frozen=True)
class Checkpoint:
    """Settings that a model depends on besides its weights, as its checkpoint has them.

    Args:
        digest: of what frames depend on (16 hex digits); empty without a checkpoint.
        training: entries of a transformers folder that change fine-tuning alone, by name.
    """

    digest: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)


def build_expert(name: str, checkpoint: str | None) -> tuple[nn.Module, Checkpoint]:
    """An s3prl model, and the settings that its checkpoint holds besides the weights.

    Raises:
        RecipeError: an unknown name, a checkpoint too many or too few, or a package that s3prl lacks.
        CheckpointError: the checkpoint is missing, damaged or unsafe, or cannot be downloaded.
    """
    entries = hub_entries()
    if name not in entries:
        raise RecipeError(f"s3prl has no upstream {name!r}. {nearest(name, entries)}")
    wanted = name.endswith(NEED_CHECKPOINT)
    if wanted and checkpoint is None:
        raise RecipeError(f"s3prl's {name} needs a file, folder or address: set model.upstream.checkpoint.")
    if checkpoint is not None and not wanted:
        raise RecipeError(
            f"s3prl's {name} brings its own weights, found checkpoint={checkpoint!r}. Remove it, or choose an entry "
            f"that takes one: {', '.join(sorted(entry for entry in entries if entry.endswith('_local')))}."
        )
    place = None if checkpoint is None else _find(name, checkpoint)
    if name.startswith("hf_") and place is not None:
        _check_family(name, place)
    with _loading(name, checkpoint):
        expert = entries[name]() if place is None else entries[name](place)
    return _settled(expert), Checkpoint() if place is None else _read(Path(place))


def _find(name: str, checkpoint: str) -> str:
    """The checkpoint's path; a hub id or an address as it is."""
    if (found := find_weights(checkpoint)) is not None:
        return str(found.resolve())
    if checkpoint.startswith("http") or (name.startswith("hf_") and checkpoint.count("/") == 1):
        return checkpoint
    raise CheckpointError(
        f"Checkpoint {checkpoint!r} of s3prl's {name} does not exist (looked in "
        f"{searched()}). Give its path in model.upstream.checkpoint."
    )


def _check_family(name: str, place: str) -> None:
    """A folder of another family would be loaded with most of its weights left random, without a word."""
    file = Path(place) / "config.json"
    if not file.is_file():
        return
    try:
        found = json.loads(file.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{file} cannot be read ({_in_short(error)}). Expected transformers' JSON.") from error
    if found != name.split("_")[1]:
        raise CheckpointError(
            f"s3prl's {name} reads {name.split('_')[1]} models, {place} holds {found!r}. HuggingFaceUpstream reads it."
        )


@contextmanager
def _loading(name: str, checkpoint: str | None) -> Iterator[None]:
    """Load tensors and settings from checkpoints, never code, whatever s3prl asks for; errors become one line."""
    what = name if checkpoint is None else f"{name} from {checkpoint!r}"
    try:
        with warnings.catch_warnings(), mock.patch.object(torch, "load", functools.partial(_load_safely, torch.load)):
            warnings.simplefilter("ignore")  # s3prl uses what torch and transformers call outdated
            yield
    except ImportError as error:
        raise RecipeError(f"s3prl's {name} needs a package of its own that is not installed: {error}.") from error
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"s3prl's {what} cannot be loaded ({_in_short(error)}). Expected a checkpoint of tensors that s3prl "
            "wrote or converted for this entry; a download that broke off lies in ~/.cache/s3prl/download: delete it."
        ) from error
    except (OSError, AssertionError) as error:
        raise CheckpointError(
            f"s3prl's {what} cannot be fetched or read ({_in_short(error)}). Run it once where there is a "
            f"connection and copy ~/.cache{_local(name)}."
        ) from error


def _load_safely(load: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``torch.load`` without pickled objects, and without expressions that s3prl would evaluate."""
    # settings of older models (TERA, Mockingjay, APC) are stored as a Namespace, which runs no code
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = load(*args, **(kwargs | {"weights_only": True}))
    _check_expressions(content)
    return content


def _check_expressions(content: object) -> None:
    """s3prl evaluates the settings that describe convolutions as Python: they must be arithmetic on numbers."""
    settings = vars(content) if isinstance(content, argparse.Namespace) else content
    if not isinstance(settings, dict):
        return
    for key, value in settings.items():
        if isinstance(value, str) and str(key).endswith(_EVALUATED) and not _ARITHMETIC.fullmatch(value):
            raise ValueError(f"its setting {key} is {value[:80]!r}, expected numbers in brackets")
        _check_expressions(value)


def _local(name: str) -> str:
    """Advice to take the entry that reads a local file of the same kind of model, if there is one."""
    module = hub_entries()[name].__module__
    for entry, function in hub_entries().items():
        if function.__module__ == module and entry.endswith(("_local", "_custom")):
            return f", or give a local file: model.upstream.name={entry} model.upstream.checkpoint=FILE"
    return ""


def _settled(expert: nn.Module) -> nn.Module:
    """The model with a fixed number of hidden states, of which the last is the model's output."""
    for module in expert.modules():
        if isinstance(getattr(module, "layerdrop", None), float):
            module.layerdrop = 0.0  # type: ignore[assignment]
    inner = getattr(expert, "model", None)
    config: Any = getattr(inner, "config", None)
    if isinstance(inner, nn.Module) and hasattr(config, "apply_spec_augment"):
        config.layerdrop = 0.0
        config.apply_spec_augment = False  # it raises on recordings of a few frames
        inner.register_forward_hook(_output_last)
    return expert


def _output_last(module: nn.Module, args: Any, output: Any) -> Any:
    """Since version 5 transformers reports the last state of "stable" models before the final layer norm."""
    output.hidden_states = (*output.hidden_states[:-1], output.last_hidden_state)
    return output


def _read(place: Path) -> Checkpoint:
    """Settings beside the weights: a file's bytes, an address, of a transformers folder those that move frames."""
    config, extractor = (_settings(place / name) for name in _TRANSFORMERS)
    if not config:
        return Checkpoint(_digest(place))
    text = json.dumps(frame_settings(config, extractor), sort_keys=True, default=str)
    now = hashlib.sha256(f"{text}{_digest(place, (*_TRANSFORMERS, *_TOKENS))}".encode()).hexdigest()[:16]
    return Checkpoint(now, training_settings(config))


def _settings(file: Path) -> dict[str, Any]:
    """A JSON file of settings; empty where there is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(place: Path, without: Sequence[str] = ()) -> str:
    """A file's bytes, a folder's JSON files (but those ``without`` names), an address."""
    digest = hashlib.sha256(b"" if place.exists() else str(place).encode())
    files = [file for file in sorted(place.glob("*.json")) if file.name not in without]
    for file in files if place.is_dir() else [place] if place.is_file() else []:
        digest.update(file.name.encode() if place.is_dir() else b"")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def _in_short(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:120]
