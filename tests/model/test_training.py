"""What is logged of an epoch, and that no loss that is not a number gets by, through a trainer."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from tiny_corpus import TinyUpstream, quiet_trainer, tiny_data, tiny_model

from ser_toolkit.data.batch import MISSING_LABEL, Batch, Outputs, Targets
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.downstream.heads import MultiTaskHead
from ser_toolkit.errors import TrainingError
from ser_toolkit.evaluation.metrics import concordance_cc, confusion_matrix, uar
from ser_toolkit.model import training, training_figures
from ser_toolkit.objectives.combined import CrossEntropyConcordance


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FoldData:
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    return tiny_data(tmp_path, batch_size=5)


class Diary(pl.Callback):
    """Losses and sizes of the batches of each epoch, and what a callback sees of them behind its last."""

    def __init__(self) -> None:
        self.batches: dict[int, list[tuple[torch.Tensor, int]]] = {}
        self.seen: list[dict[str, float]] = []
        self.validations = 0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.batches.setdefault(trainer.current_epoch, []).append((outputs["loss"], len(batch)))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.validations += 1

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.seen.append({n: v.item() for n, v in trainer.callback_metrics.items() if n.startswith("train/")})


def test_the_logged_loss_is_the_mean_over_the_epochs_utterances(data: FoldData, tmp_path: Path) -> None:
    diary = Diary()
    quiet_trainer(tmp_path, max_epochs=3, callbacks=[diary]).fit(tiny_model(), data)
    assert [sorted(size for _, size in batches) for batches in diary.batches.values()] == [[2, 5, 5]] * 3
    for batches, seen in zip(diary.batches.values(), diary.seen, strict=True):
        total = torch.tensor(0.0)
        for loss, size in batches:
            total = total + loss * size  # in this precision and order
        assert seen["train/loss"] == (total / 12).item()
        assert set(seen) == {"train/loss", "train/cross_entropy", "train/uar"}


@pytest.mark.parametrize("steps", [1, 64], ids=["counted each step", "counted together"])
def test_training_figures_are_of_the_outputs_of_the_epochs_steps(
    data: FoldData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    monkeypatch.setattr(training_figures, "_STEPS", steps)
    outputs: list[tuple[Outputs, Targets]] = []

    head = functools.partial(MultiTaskHead, hidden_dim=None)
    assert tiny_model(head=head)._figures._outputs == ("logits",)  # no objective looks at the dimensions
    model = tiny_model(head=head, objective=CrossEntropyConcordance)
    forward = model.forward

    def noted(batch: Batch) -> Outputs:
        found = forward(batch)
        if model.training:
            batch.targets.dimensions = torch.rand(len(batch), 3, generator=torch.Generator().manual_seed(len(batch)))
            batch.targets.label[0] = MISSING_LABEL
            outputs.append((found, batch.targets))
        return found

    monkeypatch.setattr(model, "forward", noted)
    trainer = quiet_trainer(tmp_path, max_epochs=1)
    trainer.fit(model, data)
    logits, label = (torch.cat(v) for v in zip(*((o.logits, t.label) for o, t in outputs), strict=True))
    guess, truth = (torch.cat(v) for v in zip(*((o.dimensions, t.dimensions) for o, t in outputs), strict=True))
    known = label != MISSING_LABEL
    counts = confusion_matrix(label[known].numpy(), logits[known].argmax(dim=1).numpy(), logits.shape[1])
    ccc = [concordance_cc(truth[:, d].numpy(), guess[:, d].detach().numpy()) for d in range(3)]
    assert trainer.callback_metrics["train/uar"].item() == pytest.approx(float(uar(counts)), abs=1e-6)
    assert trainer.callback_metrics["train/ccc"].item() == pytest.approx(sum(ccc) / 3, abs=1e-6)


def test_an_epoch_that_is_cut_short_has_a_loss(data: FoldData, tmp_path: Path) -> None:
    diary = Diary()
    trainer = quiet_trainer(tmp_path, max_epochs=-1, max_steps=4, callbacks=[diary])
    trainer.fit(tiny_model(), data)
    ((loss, _),) = diary.batches[1]
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(loss.item())


@pytest.mark.parametrize(("every", "dev_after"), [(1, 1.0), (2, 1.0), (50, 1.0), (50, 2)])
def test_a_loss_that_is_no_number_is_found_before_dev_is_scored(
    data: FoldData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, dev_after: float
) -> None:
    monkeypatch.setitem(training.CHECK_EVERY, "cpu", every)
    # nothing survives a step of that length: the second loss is no number
    model = tiny_model(TinyUpstream(frozen=False), optimizer=functools.partial(torch.optim.SGD, lr=1e38))
    diary = Diary()
    trainer = quiet_trainer(tmp_path, max_epochs=2, callbacks=[diary], val_check_interval=dev_after)
    with pytest.raises(TrainingError, match=r"The loss is nan in epoch 0, step 1 \(utterances s"):
        trainer.fit(model, data)
    assert diary.validations == 0


def test_the_random_state_of_a_step_is_that_of_torchs_own_seed(data: FoldData, tmp_path: Path) -> None:
    model = tiny_model()
    model._seed = 3
    quiet_trainer(tmp_path, max_epochs=1).fit(model, data)
    model.on_train_batch_start(next(iter(data.train_dataloader())), 2)
    found = torch.rand(5)
    torch.manual_seed((3 * 1_000_003 + model.current_epoch * 10_007 + 2) % 2**63)
    assert torch.equal(found, torch.rand(5))
