"""What every objective must keep to. A new objective is tested on the day it is added."""

from __future__ import annotations

from typing import Any

import pytest

import ser_toolkit.objectives  # noqa: F401  (imports every part, so that the walk finds it)
from ser_toolkit.contracts.objectives import CHECKS
from ser_toolkit.contracts.run import Check, kind_of, maker
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.categorical import CrossEntropy
from ser_toolkit.objectives.combined import CrossEntropyConcordance
from ser_toolkit.objectives.dimensional import ConcordanceLoss
from ser_toolkit.objectives.soft import SoftCrossEntropy
from ser_toolkit.parts.finding import subclasses, summary


def cases() -> list:
    """Every shipped objective with its defaults, and some with other options."""
    shipped = [part for part in subclasses(Objective).values() if part.__module__.startswith("ser_toolkit.")]
    options: list[tuple[type[Objective], dict[str, Any]]] = [
        (CrossEntropy, {"class_weights": "balanced", "label_smoothing": 0.1}),
        (SoftCrossEntropy, {"class_weights": "balanced"}),
        (ConcordanceLoss, {"weights": [1.0, 0.5, 2.0]}),
        (CrossEntropyConcordance, {"alpha": 2.0, "class_weights": "balanced", "dimension_weights": [0.0, 1.0, 1.0]}),
    ]
    return [pytest.param(part, {}, id=part.__name__) for part in shipped] + [
        pytest.param(part, kwargs, id=f"{part.__name__}-{'-'.join(kwargs)}") for part, kwargs in options
    ]


every_objective = pytest.mark.parametrize(("part", "options"), cases())


@every_objective
def test_says_what_it_is(part: type[Objective], options: dict) -> None:
    assert summary(part)
    assert summary(part) != summary(Objective)


@every_objective
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(part: type[Objective], options: dict, check: Check) -> None:
    check(maker(part, kind_of(part), options))
