"""Where derived data and weights lie, on machines that are set up in different ways."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from ser_toolkit.system.places import cache_root, find_weights, weight_folders


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, a working directory and no variables."""
    for name in ("SER_CACHE", "SER_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    place = tmp_path / "home"
    (tmp_path / "work" / "project").mkdir(parents=True)
    place.mkdir()
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.chdir(tmp_path / "work" / "project")
    return place


def test_the_cache_is_below_home_unless_it_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_root() == home / ".cache" / "ser_toolkit"
    monkeypatch.setenv("SER_CACHE", "~/elsewhere")
    assert cache_root() == home / "elsewhere"
    monkeypatch.setenv("SER_CACHE", "")
    assert cache_root() == home / ".cache" / "ser_toolkit"


def test_a_user_without_a_home_has_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", staticmethod(homeless))
    assert cache_root() == Path(tempfile.gettempdir()) / "ser_toolkit"


def test_weights_are_looked_for_from_near_to_far(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_WEIGHTS", str(tmp_path / "given"))
    places = [
        home / ".cache" / "ser_toolkit" / "weights",
        tmp_path / "work" / "shared" / "weights",
        tmp_path / "work" / "project" / "weights",
        tmp_path / "given",
        tmp_path / "work" / "project",
    ]
    assert find_weights("encoder.pt") is None
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        (place / "encoder.pt").write_bytes(b"")
        found = find_weights("encoder.pt")
        assert found is not None and found.resolve() == (place / "encoder.pt").resolve()
    assert len(weight_folders()) == 5


def test_absolute_paths_and_variables_are_taken_at_their_word(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "encoder").mkdir()
    monkeypatch.setenv("PLACE", str(home))
    for name in ("~/encoder", "$PLACE/encoder", str(home / "encoder")):
        assert find_weights(name) == home / "encoder"
    (tmp_path / "work" / "project" / "none").mkdir()
    assert find_weights(str(home / "none")) is None
