"""Names of a model's stored entries: ``upstream.`` those of the upstream, ``objective.`` those of the objective.

The others are the names of ``EmotionNetwork.state_dict``: ``fusion.branches.0.pooling...``, ``head...``. Lightning's
checkpoints have the same names as weights files. The upstream's entries do not depend on what is chosen behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

Module = Literal["upstream", "head", "objective"]


def is_of(module: Module, name: str) -> bool:
    """Whether an entry belongs to a module.

    >>> is_of("head", "head.classes.weight"), is_of("head", "upstream.head.weight")
    (True, False)
    """
    return name.startswith(f"{module}.")


def entries_of(module: Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries of a module, by the names that they have in the module itself."""
    return {name.removeprefix(f"{module}."): value for name, value in state.items() if is_of(module, name)}


def named_as(module: Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries of a module itself, by the names that they have in a model: the inverse of ``entries_of``."""
    return {f"{module}.{name}": value for name, value in state.items()}


def different(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Names of entries that one of two states lacks or, where both have the same, whose shapes differ; sorted."""
    return sorted(state.keys() ^ expected.keys()) or sorted(
        name for name, value in state.items() if value.shape != expected[name].shape
    )


def without(module: Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries of all other modules."""
    return {name: value for name, value in state.items() if not is_of(module, name)}
