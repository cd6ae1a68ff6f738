"""Weights of one model in a local file: where the file lies, and whether it is of that model."""

from __future__ import annotations

import os
import re
from pathlib import Path

from torch import Tensor, nn

from ser_toolkit.errors import CheckpointError
from ser_toolkit.system.places import find_weights, searched


def weights_file(part: str, checkpoint: str, expected: str, inside: str = "") -> Path:
    """The file that a checkpoint setting names.

    Args:
        part: name of the upstream, for messages.
        checkpoint: path; ``~`` and ``${VARIABLE}`` are expanded, relative ones are looked for in ``weight_folders``.
        expected: what the file should be, for messages.
        inside: file name that is taken where the path is a folder; empty where a folder is of no use.

    Raises:
        CheckpointError: there is no such file, or the path names a variable that is not set.
    """
    expanded = os.path.expanduser(os.path.expandvars(checkpoint))
    unset = re.search(r"\$\{?(\w+)", expanded)
    if unset and not os.path.exists(expanded):
        raise CheckpointError(
            f"{part} checkpoint {checkpoint!r} names the environment variable {unset.group(1)}, which is not set. "
            f"Set it (export {unset.group(1)}=/path/to/weights) or give the path itself."
        )
    path = find_weights(expanded)
    if inside and path is not None and path.is_dir():
        path /= inside
    if path is None or not path.is_file():
        raise CheckpointError(
            f"{part} checkpoint {expanded!r} is not a file (looked in {searched()}). Give the path of {expected} "
            "as model.upstream.checkpoint, or set SER_WEIGHTS to the folder that it is relative to."
        )
    return path


def load_exactly(part: str, module: nn.Module, weights: dict[str, Tensor], path: Path, expected: str) -> None:
    """Copy all weights into the model.

    Raises:
        CheckpointError: a name or a shape differs.
    """
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        name = wrong[0]
        raise CheckpointError(
            f"{part} checkpoint {str(path)!r} does not fit: {len(wrong)} tensors differ, first {name} "
            f"(found {found.get(name, 'none')}, expected {wanted.get(name, 'none')}). Give {expected}."
        )
    module.load_state_dict(weights)
