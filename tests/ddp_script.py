"""One of two processes: tests stored weights, then trains; run by ``test_ddp.py`` with torchrun's variables set."""

from __future__ import annotations

import faulthandler
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from tiny_corpus import TinyUpstream, another, quiet_trainer, tiny_data, tiny_model

from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.model.weights import read_weights, write_weights
from ser_toolkit.protocols.splits import Fold
from ser_toolkit.system.processes import wait_for_all
from ser_toolkit.torchmetrics import ConcordanceCC, UnweightedAccuracy

#: Utterances of each part: nothing divides evenly by two processes or by batches of two.
TEST, DEV, TRAIN = 7, 3, 9


def make_data(folder: Path, window: float | None) -> FoldData:
    """Tones of four speakers, dealt out without regard to speakers."""
    data = tiny_data(folder / "tones", eval_batch_size=2, batch_size=2, eval_window_seconds=window)
    ids = data.manifest.table["id"].tolist()
    fold = Fold("odd", tuple(ids[10 : 10 + TRAIN]), tuple(ids[7 : 7 + DEV]), tuple(ids[:TEST]))
    return another(data, fold=fold)


def make_model(seed: int = 0) -> EmotionModel:
    """A model whose upstream is trained."""
    return tiny_model(TinyUpstream(frozen=False), seed=seed)


def save_test(path: Path, model: EmotionModel) -> None:
    """Write the gathered outputs of a test."""
    outputs = model.test_outputs
    np.savez(path, ids=outputs.ids, label=outputs.label, probabilities=outputs.probabilities)


class Diary(Callback):
    """Notes which utterances this process was given."""

    def __init__(self) -> None:
        self.tested: list[str] = []
        self.trained: list[list[str]] = []
        self.dev: list[dict[str, float]] = []
        self.train: list[float] = []

    def on_test_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *_: Any) -> None:
        self.tested += batch.ids

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.trained.append(batch.ids)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.dev.append({n: float(v) for n, v in trainer.callback_metrics.items() if n.startswith("dev/")})

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.train.append(float(trainer.callback_metrics["train/uar"]))


def rows_of_metrics() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores, labels, predicted and true dimensions of ten utterances; the first three are the second process's."""
    generator = torch.Generator().manual_seed(0)
    scores, predicted, truth = (torch.randn(10, size, generator=generator) for size in (3, 3, 3))
    return scores, torch.arange(10) % 3 - (torch.arange(10) == 4).long(), predicted, truth


def score_share(rank: int) -> list[float]:
    """UA and CCC by the metric classes, of which each process is given its share."""
    share = slice(3, None) if rank == 0 else slice(3)
    scores, label, predicted, truth = (values[share] for values in rows_of_metrics())
    uar, ccc = UnweightedAccuracy(3), ConcordanceCC(3)
    for row in range(len(label)):
        uar.update(scores[row, None], label[row, None])
        ccc.update(predicted[row, None], truth[row, None])
    return [float(uar.compute()), float(ccc.compute())]


def main(folder: Path, processes: int) -> None:
    settings: dict[str, Any] = {"devices": processes, "strategy": "ddp" if processes > 1 else "auto"}
    rank = 0
    diaries = []
    for name, window in (("whole", None), ("windows", 0.1)):
        diary = Diary()
        model = make_model()
        read_weights(folder / "start.safetensors", model)
        trainer = quiet_trainer(folder, callbacks=[diary], **settings)
        trainer.test(model, make_data(folder, window), verbose=False)
        rank = trainer.global_rank
        if rank == 0:
            save_test(folder / f"{name}-{processes}.npz", model)
        diaries.append(diary.tested)
    diary, model = Diary(), make_model()
    trainer = quiet_trainer(folder, callbacks=[diary], max_epochs=2, **settings)
    trainer.fit(model, make_data(folder, None))
    write_weights(folder / f"trained-{rank}.safetensors", model)
    record = {"tested": diaries, "trained": diary.trained, "dev": diary.dev, "train": diary.train}
    record["metrics"] = score_share(rank)
    (folder / f"record-{rank}.json").write_text(json.dumps(record), encoding="utf-8")
    wait_for_all()  # a process that ends while the other still talks to it may be aborted
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    faulthandler.dump_traceback_later(90)  # a process that waits for another says where
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]))
