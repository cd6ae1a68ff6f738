"""When states are kept, and what lies on the disk at any time: without training anything."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from ser_toolkit.errors import CheckpointError
from ser_toolkit.experiment.stages import checkpoints


def a_keeper(folder: Path) -> checkpoints.Keeper:
    return checkpoints.Keeper(folder, "dev/uar", "max", 2, has_dev=True)


def a_trainer(value: float) -> Any:
    """Enough of a trainer whose model holds one number."""
    weight = torch.tensor([value])
    model = SimpleNamespace(own_state=lambda: {"weight": weight}, weight=weight)
    return SimpleNamespace(lightning_module=model, loggers=[], world_size=1, global_step=int(value))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_states_wait_in_memory_as_they_were_and_are_written_together(tmp_path: Path) -> None:
    keeper, trainer = a_keeper(tmp_path), a_trainer(1.0)
    keeper._save_checkpoint(trainer, str(tmp_path / "epoch=1.ckpt"))
    trainer.lightning_module.weight.fill_(9.0)  # the model trains on
    assert names(tmp_path) == []
    assert keeper.state(tmp_path / "epoch=1.ckpt")["weight"].tolist() == [1.0]
    keeper.write()
    assert names(tmp_path) == ["epoch=1.ckpt"]
    assert a_keeper(tmp_path).state(tmp_path / "epoch=1.ckpt")["weight"].tolist() == [1.0]


def test_a_written_state_stays_until_no_state_names_it(tmp_path: Path) -> None:
    keeper = a_keeper(tmp_path)
    for epoch in (1, 2):
        keeper._save_checkpoint(a_trainer(epoch), str(tmp_path / f"epoch={epoch}.ckpt"))
        if epoch == 1:
            keeper.write()
    keeper._remove_checkpoint(a_trainer(3), str(tmp_path / "epoch=1.ckpt"))
    keeper.write()
    # the state to go on from still names epoch 1
    assert names(tmp_path) == ["epoch=1.ckpt", "epoch=2.ckpt"]
    keeper.drop_replaced()
    assert names(tmp_path) == ["epoch=2.ckpt"]


def test_a_state_that_was_never_written_leaves_no_file(tmp_path: Path) -> None:
    keeper = a_keeper(tmp_path)
    keeper._save_checkpoint(a_trainer(1), str(tmp_path / "epoch=1.ckpt"))
    keeper._remove_checkpoint(a_trainer(2), str(tmp_path / "epoch=1.ckpt"))
    keeper.write()
    keeper.drop_replaced()
    assert names(tmp_path) == []


def test_large_states_are_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(checkpoints, "HELD_BYTES", 3)
    monkeypatch.setattr(ModelCheckpoint, "_save_checkpoint", lambda self, trainer, path: written.append(path))
    keeper = a_keeper(tmp_path)
    keeper._save_checkpoint(a_trainer(1), "epoch=1.ckpt")
    assert written == ["epoch=1.ckpt"]
    assert not keeper._held


def test_states_of_older_runs_are_taken_over(tmp_path: Path) -> None:
    theirs = ModelCheckpoint(tmp_path, monitor="dev/uar", mode="max")
    assert a_keeper(tmp_path).state_key == theirs.state_key


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "epoch=1.ckpt").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"Cannot read .*epoch=1\.ckpt"):
        a_keeper(tmp_path).state(tmp_path / "epoch=1.ckpt")


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

    count = SimpleNamespace(ready=3)
    trainer = SimpleNamespace(
        strategy=SimpleNamespace(broadcast=lambda value: value),
        fit_loop=SimpleNamespace(epoch_progress=SimpleNamespace(total=count, current=count)),
        is_global_zero=True,
        save_checkpoint=save,
    )
    start = checkpoints.EpochStart(tmp_path / "last.ckpt", a_keeper(tmp_path))
    start.on_train_start(trainer, None)
    lost = 0.0
    for epoch in range(200 if seconds < 1 else 9):
        trainer.current_epoch = epoch
        start.on_train_epoch_start(trainer, None)
        now += seconds
        lost = max(lost, now - start._written)
    assert lost <= max(checkpoints.PERIOD, seconds) + 1e-6
    assert saved == pytest.approx(kept, abs=1)
    assert count.ready == 3
    assert names(tmp_path) == ["last.ckpt"]
