"""Simulated run directories for every test of the evaluation room."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from simulated_run import make_run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run; tests must not change it."""
    return make_run(tmp_path_factory.mktemp("runs") / "emodb_example" / "3f9a2c71")


@pytest.fixture(scope="session")
def _one_seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("one_seed") / "run", seeds=(0,))


@pytest.fixture
def own_run(tmp_path: Path, _one_seed: Path) -> Path:
    """A complete run of one seed that a test may damage."""
    shutil.copytree(_one_seed, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def edit_record() -> Callable[[Path, dict], None]:
    """Merge keys into ``run.json``."""

    def edit(run_dir: Path, changes: dict) -> None:
        path = run_dir / "run.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")

    return edit
