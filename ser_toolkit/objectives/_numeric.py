"""Arithmetic of all objectives: in float32 at least, masked without branching on the data."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_toolkit.errors import RecipeError


def needed(output: Tensor | None, name: str, objective: str) -> Tensor:
    """The output called ``name`` in float32 at least (half-precision logits would overflow in a sum).

    Raises:
        RecipeError: the head does not predict it.
    """
    if output is None:
        raise RecipeError(
            f"{objective} needs {name!r} from the head, but the head does not predict them. "
            f"Choose a head whose outputs include {name!r}, or another objective."
        )
    return output.to(torch.promote_types(output.dtype, torch.float32))


def masked_ratio(total: Tensor, weight: Tensor) -> Tensor:
    """``total / weight``, and 0 (with a graph through ``total``) where ``weight`` is 0: nothing had a label."""
    return total / torch.where(weight > 0, weight, 1.0)
