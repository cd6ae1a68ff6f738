"""Frozen copies of an upstream that only extract: weights in another precision, compiled layers."""

from __future__ import annotations

import copy
import importlib.util
import os
import shutil
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils import parametrize

from ser_toolkit.errors import RecipeError
from ser_toolkit.upstreams.base import Upstream

UpstreamT = TypeVar("UpstreamT", bound=Upstream)


def frozen_copy(upstream: UpstreamT) -> UpstreamT:
    """A copy without gradients, whose parametrised weights (the weight norm of positional convolutions) are final."""
    twin = copy.deepcopy(upstream)
    twin.frozen = True
    for module in twin.modules():
        if parametrize.is_parametrized(module):
            _settle(module)
    twin.freeze()
    return twin


def _settle(module: nn.Module) -> None:
    """Plain weights in place of parametrised ones.

    ``remove_parametrizations`` would take the weight off the class too, which a copy shares with its original.
    """
    names = list(module.parametrizations)  # type: ignore[arg-type]
    weights = {name: getattr(module, name).detach().clone() for name in names}
    del module.parametrizations
    module.__class__ = type(module).__mro__[1]
    for name, weight in weights.items():
        module.register_parameter(name, nn.Parameter(weight))


def compile_layers(layers: Iterable[nn.Module]) -> None:
    """Compile each layer by itself, for inputs of any shape: layers of one kind share the generated code.

    Raises:
        RecipeError: torch has nothing to compile with.
    """
    tool = _missing_compiler()
    if tool is not None:
        raise RecipeError(f"torch.compile needs {tool}, which was not found. Install it or set features.compile=false.")
    for layer in layers:
        layer.compile(dynamic=True)


def _missing_compiler() -> str | None:
    """Tool that torch.compile lacks on this machine (a C++ compiler, or triton on a GPU); None where it lacks none."""
    if torch.cuda.is_available():
        return None if importlib.util.find_spec("triton") else "the package triton"
    candidates = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++", "cl"]
    return None if any(shutil.which(name) for name in candidates) else f"a C++ compiler ({', '.join(candidates)})"
