"""Weights on a Hugging Face upstream: its folder may change where no frame depends on it, and may move."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_models import save_tiny
from tiny_run import make_run

from ser_toolkit.cli import predict
from ser_toolkit.inference.recognizer import load_model

RECIPE = """
data: {corpus: EmoDB, protocol: LeaveOneSpeakerOut, root: /nowhere/EmoDB}
model:
  upstream: {class_path: HuggingFaceUpstream, init_args: {name: FOLDER}}
  pooling: MeanPooling
  head: LinearHead
  objective: CrossEntropy
"""


def edit(path: Path, **values: Any) -> None:
    """Change a file of settings."""
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_an_upstream_that_changes_or_moves(
    tmp_path: Path, recordings: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    place = save_tiny("hubert", tmp_path / "hubert", "group")
    run = make_run(tmp_path / "runs", recipe=RECIPE.replace("FOLDER", str(place))).path
    said = [str(recordings[0]), "--model", str(run), "--fold", "1"]
    before = load_model(run, fold=1).predict(recordings[0])
    edit(place / "config.json", use_cache=False, id2label={"0": "x"})
    assert load_model(run, fold=1).predict(recordings[0]) == before
    edit(place / "config.json", layer_norm_eps=0.5)
    assert predict.main(said) == 2
    assert "config.layer_norm_eps was 1e-05, is 0.5" in capsys.readouterr().err
    edit(place / "config.json", layer_norm_eps=1e-5)
    place.rename(tmp_path / "moved")
    assert predict.main(said) == 2
    assert "say where it lies now: --upstream PATH" in capsys.readouterr().err
    assert load_model(run, fold=1, upstream=tmp_path / "moved").predict(recordings[0]) == before
    assert predict.main([*said, "--upstream", str(tmp_path / "moved")]) == 0
