"""Weights on disk: safetensors with the class order and the upstream's fingerprint inside, never a pickle."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ser_toolkit.errors import CheckpointError
from ser_toolkit.identity import FINGERPRINT, check_identity
from ser_toolkit.network import EmotionNetwork

#: Name of the weights file of a unit, in its folder checkpoints.
WEIGHTS_FILE = "model.safetensors"


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


def write_weights(path: Path, model: EmotionNetwork) -> None:
    """Write what the model adds to its frozen upstream, and what it must be put together with; atomic.

    Raises:
        CheckpointError: the disk is full or the folder is not writable; nothing half-written stays behind.
    """
    metadata = {
        "classes": json.dumps(list(model.classes)),
        FINGERPRINT: model.upstream.fingerprint() if model.upstream.frozen else "",
    }
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous().cpu() for name, value in model.own_state().items()}, partial, metadata)
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise CheckpointError(
            f"Cannot write weights to {path}: {error}. Free some space there and run the same command again."
        ) from error


@dataclass(frozen=True)
class StoredWeights:
    """What a weights file holds.

    Args:
        state: tensors by name, on the CPU.
        classes: class order they were trained for; None when the file does not say.
        fingerprint: of the frozen upstream they were trained on; None when the upstream is part of them.
    """

    state: dict[str, Tensor]
    classes: tuple[str, ...] | None
    fingerprint: str | None


def open_weights(path: Path) -> StoredWeights:
    """Read a weights file, before there is a model to put it into.

    Raises:
        CheckpointError: the file is missing, damaged or not safetensors (a pickle, say: nothing in it is run).
    """
    try:
        with safe_open(path, framework="pt") as content:
            metadata = content.metadata() or {}
            state = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        classes = json.loads(metadata.get("classes", "null"))
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"Cannot read weights from {path}: {error}. Expected a safetensors file written by ser-train."
        ) from error
    if classes is not None and not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise CheckpointError(f"{path}: the class order is {classes!r}, expected a list of names.")
    fingerprint = metadata.get(FINGERPRINT) or None
    return StoredWeights(state, None if classes is None else tuple(classes), fingerprint)


def read_weights(path: Path, model: EmotionNetwork) -> None:
    """Load weights into a model made by the same configuration.

    Raises:
        CheckpointError: the file is missing, damaged, not safetensors, or belongs to other classes or another model.
    """
    stored = open_weights(path)
    check_identity(model.classes, model.upstream, stored.classes, stored.fingerprint)
    model.load_own_state(stored.state)
