"""Weights on disk: safetensors with class order, the upstream's fingerprint and a checksum inside, never a pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ser_toolkit.errors import CheckpointError
from ser_toolkit.model.identity import FINGERPRINT, SETTINGS, check_identity, plain_settings
from ser_toolkit.system.files import whole

if TYPE_CHECKING:  # prediction reads weights without Lightning
    from ser_toolkit.model.emotion_model import EmotionModel

#: Name under which the checksum stands in a weights file.
CHECKSUM = "checksum"
#: Everything that a weights file states besides its tensors.
_ENTRIES = ("classes", "dimensions", FINGERPRINT, SETTINGS, CHECKSUM)


def average_states(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of several state dicts; integer buffers are taken from the first.

    Source: Morais et al. 2022, arXiv:2202.03896 (the five best checkpoints; its largest single gain).

    Raises:
        CheckpointError: the states have different entries.
    """
    first = states[0]
    if any(set(state) != set(first) for state in states):
        raise CheckpointError("Checkpoints of different models cannot be averaged.")
    # torch.optim.swa_utils averages a model as it trains; these are chosen afterwards, from files
    return {
        name: (
            torch.stack([state[name].double() for state in states]).mean(dim=0).to(value.dtype)
            if value.is_floating_point() and len(states) > 1
            else value
        )
        for name, value in first.items()
    }


def write_weights(path: Path, model: EmotionModel) -> None:
    """Write the weights beside a frozen upstream, with the identity of what they belong to; atomic.

    Raises:
        CheckpointError: the disk is full or the folder is not writable; nothing half-written stays behind.
    """
    metadata = {
        "classes": json.dumps(list(model.classes)),
        FINGERPRINT: model.upstream.fingerprint() if model.upstream.frozen else "",
        "dimensions": json.dumps(list(model.network.trained_dimensions)),
        SETTINGS: json.dumps(plain_settings(model.upstream), sort_keys=True),
    }
    state = {name: value.contiguous().cpu() for name, value in model.own_state().items()}
    metadata[CHECKSUM] = checksum(state, metadata)
    try:
        with whole(path) as partial:
            save_file(state, partial, metadata)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"Cannot write weights to {path}: {error}. Free some space there and run the same command again."
        ) from error


@dataclass(frozen=True)
class StoredWeights:
    """Content of a weights file.

    Args:
        state: tensors by name, on the CPU.
        classes: class order they were trained for.
        fingerprint: of the frozen upstream they were trained on; None when the upstream is part of them.
        dimensions: those that had ratings in training.
        checksum: of all this.
        settings: of the upstream, by name.
    """

    state: dict[str, Tensor]
    classes: tuple[str, ...]
    fingerprint: str | None
    dimensions: tuple[str, ...]
    checksum: str
    settings: dict[str, Any]


def checksum(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 (16 hex digits) of a weights file's content: names, types, shapes, numbers and metadata."""
    others = {name: text for name, text in metadata.items() if name != CHECKSUM}
    digest = hashlib.sha256(json.dumps(others, sort_keys=True).encode())
    for name, value in sorted(state.items()):
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def open_weights(path: Path) -> StoredWeights:
    """Read a weights file, before there is a model to put it into.

    Raises:
        CheckpointError: the file is missing, not safetensors (a pickle, say: nothing in it is run), or not what was
            written, by its checksum.
    """
    if not path.is_file():
        raise CheckpointError(f"Cannot read weights from {path}: no such file; deleted, or not copied? {_remedy(path)}")
    try:
        with safe_open(path, framework="pt") as content:
            metadata = content.metadata() or {}
            state = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        if lacking := [name for name in _ENTRIES if name not in metadata]:
            raise ValueError(f"it lacks {', '.join(lacking)}")
        classes, dimensions, settings = (json.loads(metadata[name]) for name in ("classes", "dimensions", SETTINGS))
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"Cannot read weights from {path}: {error}. Expected a safetensors file written by ser-train. "
            f"{_remedy(path)}"
        ) from error
    known, found = metadata[CHECKSUM], checksum(state, metadata)
    if known != found:
        raise CheckpointError(f"{path} is damaged: its checksum is {found}, written was {known}. {_remedy(path)}")
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise CheckpointError(f"{path}: the class order is {classes!r}, expected a list of names.")
    return StoredWeights(state, tuple(classes), metadata[FINGERPRINT] or None, tuple(dimensions), known, settings)


def _remedy(path: Path) -> str:
    """Advice where weights cannot be used: a unit without its folder is made anew."""
    unit = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    return f"Copy the file again, or delete {unit} and run ser-train again: only that unit is made anew."


def read_weights(path: Path, model: EmotionModel) -> StoredWeights:
    """Load weights into a model made by the same configuration; returns the content of the file.

    Raises:
        CheckpointError: the file is missing, damaged, not safetensors, or belongs to other classes or another model.
    """
    stored = open_weights(path)
    check_identity(model.classes, model.upstream, stored.classes, stored.fingerprint, stored.settings)
    model.load_own_state(stored.state)
    model.trained_on(stored.dimensions)
    return stored
