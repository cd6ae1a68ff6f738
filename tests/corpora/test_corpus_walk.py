"""Every corpus that ships a replica: manifest, audit, one epoch of its own recipe, report."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_replicas import REPLICAS

from ser_toolkit.arguments import recipe_folder
from ser_toolkit.cli.train import main

SPECTRAL = """\
# One epoch of a linear head on a few mel bands.
_base: [{base}]
data: {{root: audio, allow_incomplete: true, batch_size: 64}}
model:
  upstream: {{class_path: Spectral, init_args: {{num_mels: 8, num_mfcc: 8}}}}
  layer_mix: SingleLayer
  pooling: MeanPooling
  head: LinearHead
  objective: CrossEntropy
  optimizer: {{class_path: torch.optim.Adam, init_args: {{lr: 0.01}}}}
trainer: {{max_epochs: 1}}
baselines: []
"""


@pytest.mark.parametrize("corpus", sorted(REPLICAS))
def test_a_replica_goes_all_the_way_to_a_report(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    replica = REPLICAS[corpus]()
    replica.write(tmp_path / "audio", sound=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    nothing = {"forest": [], "speakers": None, "folds": None, "confusions": []}
    monkeypatch.setattr("ser_toolkit.evaluation.pictures.pictures", lambda data: nothing)  # half of the time otherwise
    base = recipe_folder() / corpus / f"_{corpus}.yaml"
    (tmp_path / "tones.yaml").write_text(SPECTRAL.format(base=base), encoding="utf-8")
    assert main(["recipe=tones.yaml", "fold=1"]) == 0
    said = capfd.readouterr().out
    assert f"{len(replica.audio)} utterances" in said
    assert "audit: speakers" in said
    (report,) = tmp_path.glob("runs/tones/*/report.md")
    assert "Incomplete copy of the corpus was allowed" in report.read_text(encoding="utf-8")
