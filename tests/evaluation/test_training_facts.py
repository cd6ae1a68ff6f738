"""How a run was trained, in the words of its report; a run without its record has no lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ser_toolkit.evaluation.reporting.training_facts import training_facts
from ser_toolkit.evaluation.results import Results
from ser_toolkit.evaluation.run_record import RunRecord, typed

MODEL = {
    "upstream": {"class_path": "a.HuggingFaceUpstream", "init_args": {"name": "wavlm", "frozen": False}},
    "layer_mix": {"class_path": "a.WeightedSum"},
    "pooling": {"class_path": "a.MeanPooling"},
    "head": {"class_path": "a.MLPHead", "init_args": {"hidden_dim": 8, "dropout": 0.3}},
    "objective": {"class_path": "a.CrossEntropy", "init_args": {"label_smoothing": 0.1}},
    "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.001, "betas": [0.9, 0.999], "fused": None}},
    "lr_scheduler": {"class_path": "a.CosineAnnealingLR", "init_args": {"T_max": 20}},
    "lr_interval": "step",
    "upstream_lr": 1e-5,
    "normalisation": "none",
}
SELECTION = {"monitor": "dev/uar", "mode": "max", "average": 5, "patience": 3, "refit": True}
TRAINING = {
    "model": MODEL,
    "data": {"batch_size": 32, "max_batch_seconds": 60.0},
    "trainer": {"max_epochs": 20, "max_steps": -1, "gradient_clip_val": 1.0, "accumulate_grad_batches": 4},
    "selection": SELECTION | {"candidates": ["model.optimizer.lr=1e-3", "model.optimizer.lr=3e-4"]},
    "fitted_at_once": False,
}


def facts(run_dir: Path, **record: Any) -> dict[str, str]:
    return dict(training_facts(Results(run_dir, typed(RunRecord, record), ("a", "b"), (), ("03", "08", "09"), ())))


def test_every_setting_has_its_line(tmp_path: Path) -> None:
    for fold, epoch, rate in (("03", 4, "1e-3"), ("08", 9, "3e-4"), ("09", 5, "3e-4")):
        unit = tmp_path / "plain" / f"fold={fold}" / "seed=0"
        unit.mkdir(parents=True)
        (unit / "fit.json").write_text(json.dumps({"epochs": [epoch]}))
        trials = [{"overrides": f"model.optimizer.lr={one}", "dev/uar": 0.5} for one in ("1e-3", "3e-4")]
        (unit / "chosen.json").write_text(json.dumps({"chosen": f"model.optimizer.lr={rate}", "trials": trials}))
    code = {"commit": "0123abc", "changed": True}
    machine = {"cpu": "Some CPU", "cores": 2, "memory_gib": 24}
    assert facts(tmp_path, training=TRAINING, seeds=[0, 1], code=code, hardware=machine, tuning=["a=1"]) == {
        "Parts": "HuggingFaceUpstream(name=wavlm) → WeightedSum → MeanPooling → MLPHead(hidden_dim=8, dropout=0.3)",
        "Objective": "CrossEntropy(label_smoothing=0.1)",
        "Optimiser": "AdamW(lr=0.001, betas=[0.9, 0.999]), the upstream with lr=1e-05; gradients clipped at norm 1; "
        "a step takes 4 batches",
        "Learning rate": "CosineAnnealingLR(T_max=20), once a step",
        "Batches": "32 utterances, at most 60 s",
        "Epochs": "at most 20; chosen: epoch 6 (median; 5 to 10)",
        "Selected by": "highest dev/uar on the fold's dev part, the average of the 5 best epochs; stopped after 3 "
        "epochs without progress; then trained again on train + dev for as many epochs",
        "First stage": "a=1",
        "Tried": "model.optimizer.lr=1e-3, model.optimizer.lr=3e-4",
        "Chosen, plain": "model.optimizer.lr=3e-4: 2 of 3 (08, 09); model.optimizer.lr=1e-3: 1 of 3 (03)",
        "Seeds": "0, 1",
        "Commit": "0123abc, with changes that are not committed",
        "Machine": "Some CPU, 2 cores, 24 GiB of memory",
    }


def test_a_head_that_is_fitted_at_once_has_no_optimiser(tmp_path: Path) -> None:
    training = TRAINING | {"fitted_at_once": True, "selection": SELECTION | {"candidates": []}}
    found = facts(tmp_path, training=training)
    assert found["Optimiser"] == "none: the head is fitted at once, by its library"
    assert found["Selected by"] == "nothing is selected; then fitted again on train + dev"
    assert not {"Objective", "Learning rate", "Batches", "Epochs"} & set(found)


@pytest.mark.parametrize("record", [{}, {"seeds": [3]}])
def test_a_run_without_its_record_has_no_lines(tmp_path: Path, record: dict) -> None:
    assert facts(tmp_path, **record) == ({"Seeds": "3"} if record else {})
