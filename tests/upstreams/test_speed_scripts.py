"""The benchmarks of extraction and of a fine-tuning step run, and compare what is equal."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A benchmark's figures: ``run(script, *arguments)``."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def call(script: str, *arguments: str) -> dict[str, Any]:
        file = tmp_path / f"{script}.json"
        threads = str(torch.get_num_threads())
        monkeypatch.setattr(
            sys, "argv", [script, "--tiny", "--rounds", "1", "--threads", threads, "--json", str(file), *arguments]
        )
        importlib.import_module(script).main()
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    return call


def test_extraction_compares_equal_things(run: Any) -> None:
    found = run("extraction", "--clips", "2", "--no-compile")
    errors = {name: row["error"] for name, row in found["rows"].items() if "error" in row}
    assert errors["transformers alone, eager"] == 0
    assert max(errors["ser_toolkit float32"], errors["s3prl wavlm_local alone"]) < 1e-5
    assert 1e-4 < errors["ser_toolkit bf16"] < 3e-2
    assert errors["transformers padded, eager"] > 1e-2  # what padding does to a group-norm model
    assert all(row["ms"] > 0 for row in found["rows"].values())


@pytest.mark.slow
def test_finetuning_step_compares_equal_gradients(run: Any) -> None:
    found = run("finetuning_step", "--epoch", "5")
    assert found["step"]["ser_toolkit float32"]["error"] < 1e-5
    assert 1e-3 < found["step"]["ser_toolkit bf16"]["error"] < 0.2
    assert set(found["epoch"]) == {"random batches", "bucketed batches"}


def test_the_windows_of_whisper_compare_equal_frames(run: Any) -> None:
    found = run("whisper_window")["rows"]
    assert found["own window, one batch"]["error"] < 1e-5
    assert found["published window, one batch"]["ratio"] == 1
    assert all(row["ms"] > 0 for row in found.values())
