"""Small work is done by one thread, and what was set before is set again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_corpus import another, tiny_data

from ser_toolkit.data.batch import Moments, Stored
from ser_toolkit.experiment.stages import threads
from ser_toolkit.experiment.stages.threads import suitable_threads


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


MEANS = Moments(torch.tensor(3), torch.zeros(2, 4))
CASES: dict[str, tuple[Stored | None, int]] = {
    "recordings": (None, 2),
    "frames": (torch.zeros(2, 3, 4), 2),
    "vectors": (torch.zeros(5), 1),
    "means": (MEANS, 1),
    "means beside frames": ((MEANS, torch.zeros(2, 3, 4)), 2),
}


@pytest.mark.parametrize("name", CASES)
def test_moments_and_vectors_get_one_thread(tmp_path: Path, two_threads: None, name: str) -> None:
    data = tiny_data(tmp_path)
    kept, expected = CASES[name]
    data = another(data, features=None if kept is None else dict.fromkeys(data.manifest.table["id"], kept))
    with pytest.raises(KeyError), suitable_threads(data):
        assert torch.get_num_threads() == expected
        raise KeyError
    assert torch.get_num_threads() == 2


def test_large_batches_keep_their_threads(tmp_path: Path, two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny_data(tmp_path, batch_size=2)
    data = another(data, features=dict.fromkeys(data.manifest.table["id"], torch.zeros(8)))
    monkeypatch.setattr(threads, "SMALL_BATCH", 63)
    with suitable_threads(data):
        assert torch.get_num_threads() == 2
    monkeypatch.setattr(threads, "SMALL_BATCH", 64)
    with suitable_threads(data):
        assert torch.get_num_threads() == 1
