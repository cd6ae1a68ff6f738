"""Processes that train together: which is the first, how the others wait for it, and what it has decided for all.

Files belong to the first process: it alone writes and removes them, behind a wait where the others still read. Whether
a stage is done is seen in files, too, and one process may look before and another behind the writing; so the first
one's answer counts, or some would take part in a step that the others leave out and wait for them for ever.

Before the first trainer has started the others, every process takes itself for the only one.
"""

from __future__ import annotations

import os
from typing import TypeVar

import torch

T = TypeVar("T")


def together() -> bool:
    """Whether this process is one of a group."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def is_first() -> bool:
    """Whether this process is the first of its group, or alone."""
    return not together() or torch.distributed.get_rank() == 0


def launched_rank() -> int:
    """Number of this process among those of a launcher, from 0: known before there is a group; 0 without a launcher."""
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
    found = next((os.environ[name] for name in names if os.environ.get(name)), "0")
    return int(found) if found.isdigit() else 0


def wait_for_all() -> None:
    """Wait until every process of the group has come here; return at once without a group."""
    if together():
        torch.distributed.barrier()


def agreed(value: T) -> T:
    """The first process's value, on every process of the group; the value itself without a group."""
    if not together():
        return value
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]
