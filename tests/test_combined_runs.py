"""Whole runs over several corpora, on replicas of their layouts: trained on all, tested on what was left out."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from corpus_replicas import REPLICAS

from ser_toolkit.cli.train import main

RECIPE = """\
# Four corpora in three languages, a linear head on a few mel bands.
data:
  corpus: {class_path: Combined, init_args: {members: [SAVEE, TESS, EMOVO, CaFE]}}
  labels: {class_path: Mapped, init_args: {ontology: big_four}}
  protocol: LeaveOneLanguageOut
  balance: [corpus, label]
  root: audio
  allow_incomplete: true
  batch_size: 8
model:
  upstream: {class_path: Spectral, init_args: {num_mels: 8, num_mfcc: 8}}
  layer_mix: SingleLayer
  pooling: StatisticsPooling
  head: LinearHead
  objective: CrossEntropy
  optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.01}}
trainer: {max_epochs: 2}
variants: [Plain, PerCorpus]
baselines: [majority]
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    for name in ("SAVEE", "TESS", "EMOVO", "CaFE"):
        REPLICAS[name.lower()]().write(tmp_path / "audio" / name, sound=True)
    (tmp_path / "several.yaml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


def test_languages_are_left_out_and_corpora_reported(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe=several.yaml"]) == 0
    said = capfd.readouterr().out
    assert "SAVEE+TESS+EMOVO+CaFE" in said
    assert "per-corpus standardises per corpus" in said
    (run,) = (place / "runs" / "several").iterdir()
    report = json.loads((run / "report.json").read_text())
    assert report["folds"] == ["en", "fr", "it"]
    assert report["classes"] == ["angry", "happy", "neutral", "sad"]
    model = report["systems"][0]
    assert [entry["corpus"] for entry in model["by_corpus"]["corpora"]] == ["CaFE", "EMOVO", "SAVEE", "TESS"]
    predictions = pd.read_parquet(run / "plain" / "fold=it" / "seed=0" / "predictions.parquet", partitioning=None)
    assert set(predictions["corpus"]) == {"EMOVO"}
    assert all(name.startswith("EMOVO/") for name in predictions["speaker"])
    # the same command again has nothing to do, wherever the corpora lie
    (place / "audio" / "CaFE").rename(place / "elsewhere")
    assert main(["recipe=several.yaml", f"--data.corpus.roots.CaFE={place / 'elsewhere'}"]) == 0
    assert [path.name for path in (place / "runs" / "several").iterdir()] == [run.name]


def test_mistakes_are_one_line(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    REPLICAS["urdu"]().write(place / "audio" / "URDU", sound=True)
    for arguments, said in (
        (
            ["data.corpus.members=[SAVEE,URDU]", "data.protocol=LeaveOneCorpusOut", "data.labels=Intended"],
            "nothing is left to learn from",
        ),
        (["data.corpus.members=[SAVEE]"], "at least two different corpora"),
        (["data.corpus.members=[SAVEE,EMOVA]"], "EMOVO"),
        (["data.labels.only=[angry,furious]"], "only names 'furious'"),
        (["data.balance=[speeker]"], "Did you mean speaker"),
        (["--data.corpus.roots.TESS=/nowhere"], "TESS is not at /nowhere"),
    ):
        assert main(["recipe=several.yaml", *arguments]) == 2
        error = capfd.readouterr().err
        assert said in error
        assert "Traceback" not in error
