"""The hash of an upstream's weights is remembered, and never out of date."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from ser_toolkit.upstreams import base
from ser_toolkit.upstreams.base import weights_hash


def _module() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_it_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module = _module()
    first = weights_hash(module)
    monkeypatch.setattr(base.hashlib, "sha256", lambda: pytest.fail("hashed again"))
    assert weights_hash(module) == first


def _step(module: nn.Sequential) -> None:
    module(torch.randn(5, 3)).square().sum().backward()
    torch.optim.SGD(module.parameters(), 1.0).step()


def _replace(module: nn.Sequential) -> None:
    module[0].weight = nn.Parameter(torch.ones(4, 3))


WRITES: dict[str, Callable[[nn.Sequential], object]] = {
    "in place": lambda module: module[0].weight.detach().add_(1),
    "past autograd": lambda module: module[0].weight.data.mul_(2),
    "state": lambda module: module.load_state_dict({k: v + 1 for k, v in module.state_dict().items()}),
    "step": _step,
    "new parameter": _replace,
    "type": lambda module: module.double(),
}


@pytest.mark.parametrize("write", WRITES)
def test_every_change_is_seen(write: str) -> None:
    module, twin = _module(), _module()
    before = weights_hash(module)
    WRITES[write](module)
    assert weights_hash(module) != before == weights_hash(twin)


def test_a_copy_has_the_same_hash_until_it_changes() -> None:
    module = _module()
    before = weights_hash(module)
    twin = copy.deepcopy(module)
    assert weights_hash(twin) == before
    WRITES["in place"](twin)
    assert weights_hash(twin) != before == weights_hash(module)
