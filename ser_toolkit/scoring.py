"""Outputs of an epoch, gathered over batches, windows and processes: each utterance counts once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ser_toolkit.data.batch import DIMENSIONS, MISSING_LABEL, Batch, Outputs
from ser_toolkit.evaluation.metrics import classification_metrics, concordance_cc


@dataclass
class GatheredOutputs:
    """Outputs of N utterances, sorted by id.

    Args:
        ids: (N,).
        label: (N,) true class, ``MISSING_LABEL`` where none.
        probabilities: (N, C), or None for a head without logits.
        dimensions: (N, 3) predicted, or None.
        dimension_targets: (N, 3), NaN where missing.
        loss: mean objective over utterances, or NaN.
        num_classes: C.
    """

    ids: list[str]
    label: np.ndarray
    probabilities: np.ndarray | None
    dimensions: np.ndarray | None
    dimension_targets: np.ndarray
    loss: float
    num_classes: int

    def metrics(self) -> dict[str, float]:
        """``uar``, ``accuracy``, ``macro_f1``, ``ccc_*`` and ``ccc``, ``loss``: those that are defined here."""
        found: dict[str, float] = {}
        known = self.label != MISSING_LABEL
        if self.probabilities is not None and known.any():
            scores = classification_metrics(
                self.label[known], self.probabilities[known].argmax(axis=1), self.num_classes
            )
            found |= {name: float(scores[name]) for name in ("uar", "accuracy", "macro_f1")}
        if self.dimensions is not None:
            values = {}
            for index, name in enumerate(DIMENSIONS):
                there = ~np.isnan(self.dimension_targets[:, index])
                if there.sum() > 1:
                    ccc = concordance_cc(self.dimension_targets[there, index], self.dimensions[there, index])
                    values[f"ccc_{name}"] = 0.0 if np.isnan(ccc) else float(ccc)
            if values:
                found |= values | {"ccc": float(np.mean(list(values.values())))}
        if not np.isnan(self.loss):
            found["loss"] = self.loss
        return found


class EpochOutputs:
    """Collects batches of an epoch and puts them together.

    Windows of one utterance are averaged. Under several processes the outputs of all are gathered (the sampler gives
    each piece to one process) and put into one order, so that the number of processes cannot matter.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._rows: list[tuple[str, np.ndarray, int, np.ndarray]] = []
        self._loss, self._count = 0.0, 0
        self._num_logits, self._num_dimensions = 0, 0

    def add(self, batch: Batch, outputs: Outputs, loss: Tensor | None = None) -> None:
        """Keep the outputs of a batch."""
        parts: list[Tensor] = []
        if outputs.logits is not None:
            parts.append(outputs.logits.float().softmax(dim=1))
            self._num_logits = outputs.logits.shape[1]
        if outputs.dimensions is not None:
            parts.append(outputs.dimensions.float())
            self._num_dimensions = outputs.dimensions.shape[1]
        values = torch.cat(parts, dim=1).detach().cpu().numpy()
        labels = batch.targets.label.cpu().tolist()
        dimensions = batch.targets.dimensions.cpu().numpy()
        self._rows.extend(zip(batch.ids, values, labels, dimensions, strict=True))
        if loss is not None:
            self._loss += float(loss) * len(batch)
            self._count += len(batch)

    def finish(self, num_classes: int) -> GatheredOutputs:
        """Everything of all processes, sorted by id; starts anew."""
        rows, loss, count = self._rows, self._loss, self._count
        num_logits, num_dimensions = self._num_logits, self._num_dimensions
        self._clear()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            everyone: list = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(everyone, (rows, loss, count, num_logits, num_dimensions))
            rows = [row for part in everyone for row in part[0]]
            loss, count = sum(part[1] for part in everyone), sum(part[2] for part in everyone)
            num_logits, num_dimensions = max(p[3] for p in everyone), max(p[4] for p in everyone)
        rows.sort(key=lambda row: (row[0], *row[1].tolist()))
        ids = list(dict.fromkeys(row[0] for row in rows))
        position = {name: index for index, name in enumerate(ids)}
        where = np.array([position[row[0]] for row in rows], dtype=int)
        values = np.zeros((len(ids), num_logits + num_dimensions))
        np.add.at(values, where, np.array([row[1] for row in rows], dtype=float).reshape(len(rows), values.shape[1]))
        values /= np.bincount(where, minlength=len(ids))[:, None].clip(min=1)
        label, targets = np.full(len(ids), MISSING_LABEL), np.full((len(ids), len(DIMENSIONS)), np.nan)
        for index, row in zip(where, rows, strict=True):
            label[index], targets[index] = row[2], row[3]
        return GatheredOutputs(
            ids,
            label,
            values[:, :num_logits] if num_logits else None,
            values[:, num_logits:] if num_dimensions else None,
            targets,
            loss / count if count else float("nan"),
            num_classes,
        )
