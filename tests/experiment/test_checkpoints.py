"""Which epochs are the best, when their weights are written, and what lies on the disk: nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.trainer.states import TrainerFn

from ser_toolkit.config.selection import Selection
from ser_toolkit.errors import CheckpointError, RecipeError
from ser_toolkit.experiment.stages import checkpoints


def best_weights(folder: Path, average: int = 2, mode: str = "max", has_dev: bool = True) -> checkpoints.BestWeights:
    monitor = "dev/uar" if mode == "max" else "dev/loss"
    return checkpoints.BestWeights(folder, Selection(monitor=monitor, mode=mode, average=average), has_dev)  # type: ignore[arg-type]


class Trainer(SimpleNamespace):
    """Enough of a trainer whose model holds one number, the epoch's."""

    def __init__(self, **options: Any) -> None:
        self.saved: list[str] = []
        defaults = {"world_size": 1, "loggers": [], "is_global_zero": True, "fast_dev_run": False}
        strategy = SimpleNamespace(reduce_boolean_decision=lambda decision: decision, broadcast=lambda value: value)
        super().__init__(strategy=strategy, **(defaults | options))

    def end(self, best: checkpoints.BestWeights, epoch: int, score: float, monitor: str = "dev/uar") -> None:
        """The end of an epoch with a dev part."""
        self.weight = torch.tensor([float(epoch)])
        self.lightning_module = SimpleNamespace(own_state=lambda: {"weight": self.weight})
        self.current_epoch, self.global_step = epoch, epoch + 1
        self.callback_metrics = {monitor: torch.tensor(score)}
        best.on_validation_end(self, None)
        best.on_train_epoch_end(self, None)

    def save_checkpoint(self, path: str | Path, weights_only: bool) -> None:
        self.saved.append(Path(path).name)
        torch.save({"state_dict": {"weight": self.weight}}, path)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


SCORES = [0.5, 0.25, 0.5, 0.75, 0.75, 0.125, 0.75, math.nan, 0.5, 0.875, 0.75]


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("average", [1, 2, 3, 20])
@pytest.mark.parametrize("scores", [SCORES, SCORES[7:] + SCORES[:7]], ids=["plain", "nan first"])
def test_the_best_epochs_are_those_that_lightning_would_keep(
    tmp_path: Path, mode: str, average: int, scores: Sequence[float]
) -> None:
    monitor = "dev/uar" if mode == "max" else "dev/loss"
    best, trainer = best_weights(tmp_path, average, mode), Trainer()
    theirs = ModelCheckpoint(
        tmp_path, "{epoch}", monitor=monitor, mode=mode, save_top_k=average, enable_version_counter=False
    )
    for epoch, score in enumerate(scores):
        trainer.end(best, epoch, score, monitor)
        trainer.state, trainer.sanity_checking, trainer.ckpt_path = SimpleNamespace(fn=TrainerFn.FITTING), False, None
        trainer.check_val_every_n_epoch = 2  # they save behind dev then
        trainer.strategy.remove_checkpoint = lambda path: None
        theirs.on_validation_end(trainer, None)  # type: ignore[arg-type]
        assert best.best_k_models == {path: float(value) for path, value in theirs.best_k_models.items()}
        assert best.best_model_path == theirs.best_model_path
        assert best.best_model_score == theirs.best_model_score
    assert [best.state(epoch)["weight"].item() for epoch in best.epochs()] == best.epochs()


def test_without_a_dev_part_the_last_epochs_are_the_best(tmp_path: Path) -> None:
    best, trainer = best_weights(tmp_path, has_dev=False), Trainer()
    for epoch in range(11):
        trainer.end(best, epoch, 0.5)
    assert best.epochs() == [10, 9]
    assert best.dev() is None


def test_equal_epochs_are_averaged_in_the_order_of_their_files(tmp_path: Path) -> None:
    best, trainer = best_weights(tmp_path, 3), Trainer()
    for epoch, score in ((2, 0.5), (9, 0.75), (10, 0.5)):
        trainer.end(best, epoch, score)
    assert best.epochs() == [9, 10, 2]
    assert best.dev() == {"dev/uar": 0.75}


def test_no_epoch_and_no_measure_are_said(tmp_path: Path) -> None:
    best = best_weights(tmp_path)
    with pytest.raises(CheckpointError, match=r"Is trainer.max_epochs at least 1"):
        best.epochs()
    with pytest.raises(RecipeError, match=r"dev/uar was not measured on dev; dev/ccc, epoch were"):
        Trainer().end(best, 0, 0.5, "dev/ccc")


def test_weights_wait_in_memory_as_they_were_and_are_written_together(tmp_path: Path) -> None:
    best, trainer = best_weights(tmp_path), Trainer()
    trainer.end(best, 1, 0.5)
    trainer.weight.fill_(9.0)  # the model trains on
    assert names(tmp_path) == []
    assert best.state(1)["weight"].tolist() == [1.0]
    best.write()
    assert names(tmp_path) == ["epoch=1.ckpt"]
    assert best_weights(tmp_path).state(1)["weight"].tolist() == [1.0]


@pytest.mark.parametrize("processes", [1, 2])
def test_written_weights_stay_until_no_state_names_them(tmp_path: Path, processes: int) -> None:
    best, trainer = best_weights(tmp_path), Trainer(world_size=processes)
    for epoch in (1, 2):
        trainer.end(best, epoch, epoch)
    best.write()
    trainer.end(best, 3, 3)
    best.write()
    # the state to go on from still names epoch 1
    assert names(tmp_path) == ["epoch=1.ckpt", "epoch=2.ckpt", "epoch=3.ckpt"]
    best.drop_replaced()
    assert names(tmp_path) == ["epoch=2.ckpt", "epoch=3.ckpt"]


def test_weights_that_were_never_written_leave_no_file(tmp_path: Path) -> None:
    best, trainer = best_weights(tmp_path, average=1), Trainer()
    trainer.end(best, 1, 0.5)
    trainer.end(best, 2, 0.75)
    best.write()
    best.drop_replaced()
    assert names(tmp_path) == ["epoch=2.ckpt"]


class Store(Logger):
    """A logger that stores models: it is told of every file."""

    name, version = "store", ""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, float | None]] = []

    def log_hyperparams(self, *_: Any) -> None: ...

    def log_metrics(self, *_: Any) -> None: ...

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self.told.append((Path(checkpoint_callback.best_model_path).name, checkpoint_callback.best_model_score))


@pytest.mark.parametrize("reason", ["large", "processes", "logger"])
def test_weights_are_written_at_once_where_memory_does_not_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    store = Store()
    trainer = Trainer(world_size=1 + (reason == "processes"), loggers=[store] if reason == "logger" else [])
    if reason == "large":
        monkeypatch.setattr(checkpoints, "HELD_BYTES", 3)
    best = best_weights(tmp_path)
    trainer.end(best, 1, 0.5)
    assert trainer.saved == names(tmp_path) == ["epoch=1.ckpt"]
    assert best_weights(tmp_path).state(1)["weight"].tolist() == [1.0]
    assert store.told == ([("epoch=1.ckpt", 0.5)] if reason == "logger" else [])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "epoch=1.ckpt").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"Cannot read .*epoch=1\.ckpt"):
        best_weights(tmp_path).state(1)


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [
        (0.1, [99, 198]),
        (4.0, [2, 4, 6, 8]),
        (9.0, list(range(1, 9))),
        (60.0, list(range(1, 9))),
    ],
)
def test_a_kill_costs_ten_seconds_or_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, kept: list[int]
) -> None:
    now = 5.0
    monkeypatch.setattr(checkpoints, "clock", lambda: now)
    saved: list[int] = []

    def save(path: Path, weights_only: bool) -> None:
        saved.append(trainer.current_epoch)
        path.touch()

    trainer = SimpleNamespace(strategy=SimpleNamespace(broadcast=lambda value: value), save_checkpoint=save)
    start = checkpoints.EpochStart(tmp_path / "last.ckpt", best_weights(tmp_path))
    start.on_train_start(trainer, None)
    lost = 0.0
    for epoch in range(200 if seconds < 1 else 9):
        trainer.current_epoch = epoch
        start.on_train_epoch_start(trainer, None)
        now += seconds
        lost = max(lost, now - start._written)
    assert lost <= max(checkpoints.PERIOD, seconds) + 1e-6
    assert saved == pytest.approx(kept, abs=1)
    assert names(tmp_path) == ["last.ckpt"]
