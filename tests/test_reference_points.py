"""Published-style reference points on real speech, reproduced within a point by recipes configured alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.experiment.experiment import train

FIXED = ("selection.candidates=[]", "selection.refit=false", "data.protocol.dev_speakers=0", "baselines=[]")
PAIRS = ("model.head=KernelSVM", "model.head.kernel=linear", "model.head.ties=first", "model.head.C=0.1")
#: Standardised with statistics of the whole corpus, as the reference does; mean and maximum over time side by side.
CORPUS_WIDE = ("model.upstream.mean=-1.4498", "model.upstream.std=3.9171", "model.pooling.combine=concatenate")


def headline(run: Path, variant: str) -> tuple[float, float]:
    """UA and WA of a variant, in per cent."""
    systems = json.loads((run / "report.json").read_text())["systems"]
    figures = next(s for s in systems if s["variant"] == variant and not s["baseline"])["metrics"]
    return 100 * figures["uar"]["estimate"], 100 * figures["accuracy"]["estimate"]


@pytest.mark.slow
@pytest.mark.corpus
def test_egemaps_and_a_linear_svm_on_emodb(corpora_root: Path, tmp_path: Path) -> None:
    pytest.importorskip("opensmile")
    root = f"data.root={corpora_root / 'EmoDB'}"
    run = train(load_recipe("emodb_egemaps_svm", root, f"output={tmp_path}", *FIXED, *PAIRS))
    assert headline(run, "plain") == pytest.approx((65.1, 66.0), abs=1.0)
    assert headline(run, "transductive-utterance") == pytest.approx((79.9, 81.5), abs=1.0)


@pytest.mark.slow
@pytest.mark.corpus
def test_byols_and_a_linear_svm_on_emodb(corpora_root: Path, weights_root: Path, tmp_path: Path) -> None:
    root = f"data.root={corpora_root / 'EmoDB'}"
    overrides = (root, f"output={tmp_path}", *FIXED, *CORPUS_WIDE, "model.head.C=0.01", "variants=[Plain]")
    run = train(load_recipe("emodb_byols_svm", *overrides))
    assert headline(run, "plain") == pytest.approx((76.3, 77.4), abs=1.0)
