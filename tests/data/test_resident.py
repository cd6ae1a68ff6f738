"""Features put together: a selection of rows is what stacking them one by one gives, and frames stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from ser_toolkit.data import resident
from ser_toolkit.data.batch import Moments, Stored, stack_stored
from ser_toolkit.data.resident import put_together

NAMES = [f"u{number}" for number in range(7)]


class CountedReads(Mapping[str, Stored]):
    """Notes which utterances are read."""

    def __init__(self, content: dict[str, Stored]) -> None:
        self._content = content
        self.read: list[str] = []

    def __getitem__(self, name: str) -> Stored:
        self.read.append(name)
        return self._content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)


def moments(number: int, layers: int = 3, dim: int = 5, what: str = "means") -> Moments:
    generator = torch.Generator().manual_seed(number * 100 + layers)

    def values(rows: int) -> Tensor:
        return torch.randn(rows, dim, generator=generator)

    return Moments(
        torch.tensor(number + 1),
        values(layers),
        values(layers) if what == "variances" else None,
        values(layers * (layers + 1) // 2) if what == "covariances" else None,
    )


def corpus(kind: str) -> CountedReads:
    made = {
        "vectors": lambda n: torch.arange(4.0) + 10 * n,
        "half vectors": lambda n: (torch.arange(4.0) + 10 * n).half(),
        "means": moments,
        "variances": lambda n: moments(n, what="variances"),
        "covariances": lambda n: moments(n, what="covariances"),
        "two upstreams": lambda n: (moments(n), moments(n, layers=2, dim=4, what="covariances")),
    }[kind]
    return CountedReads({name: made(number) for number, name in enumerate(NAMES)})


@pytest.mark.parametrize("kind", ["vectors", "half vectors", "means", "variances", "covariances", "two upstreams"])
def test_a_selection_is_what_stacking_gives(kind: str) -> None:
    features = corpus(kind)
    ids = ["u5", "u1", "u6", "u0"]
    whole = put_together(features, ids)
    assert whole is not None
    assert features.read == ids, "each that is needed is read once"
    rows = [2, 0, 2, 3]
    found = whole.streams(torch.tensor(rows))
    expected = stack_stored([features[ids[row]] for row in rows])
    assert list(found) == list(expected)
    for name, stream in expected.items():
        assert type(found[name]) is type(stream)
        for field in fields(stream):
            one, other = getattr(found[name], field.name), getattr(stream, field.name)
            assert (one is None) == (other is None)
            if other is not None:
                assert one.dtype == other.dtype
                torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_batch_may_be_changed_without_changing_the_store() -> None:
    whole = put_together(corpus("vectors"), NAMES)
    assert whole is not None
    index = torch.tensor([1])
    whole.streams(index)["speech"].values.zero_()  # type: ignore[union-attr]
    assert whole.streams(index)["speech"].values.tolist() == [[10.0, 11.0, 12.0, 13.0]]  # type: ignore[union-attr]


@pytest.mark.parametrize("mixed", [False, True])
def test_frames_stay_as_they_are_and_are_not_read_through(mixed: bool) -> None:
    frames = {name: torch.zeros(2, number + 1, 3) for number, name in enumerate(NAMES)}
    features = CountedReads({name: (moments(0), part) if mixed else part for name, part in frames.items()})
    assert put_together(features, NAMES) is None
    assert features.read == ["u0"]


def test_what_differs_in_shape_or_does_not_fit_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = corpus("means")
    odd._content["u3"] = moments(3, layers=4)
    assert put_together(odd, NAMES) is None
    features = corpus("vectors")
    size = len(NAMES) * 4 * 4
    monkeypatch.setattr(resident, "free_memory", lambda: round(size / resident.SHARE) - 1)
    assert put_together(features, NAMES) is None
    monkeypatch.setattr(resident, "free_memory", lambda: round(size / resident.SHARE))
    assert put_together(features, NAMES) is not None
    assert put_together(features, []) is None
