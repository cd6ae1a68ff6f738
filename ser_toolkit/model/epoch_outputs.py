"""Losses and outputs of an epoch, gathered over batches, windows and processes: each utterance counts once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ser_toolkit.data.batch import DIMENSIONS, MISSING_LABEL, Batch, Outputs
from ser_toolkit.errors import TrainingError
from ser_toolkit.evaluation.metrics import accuracy, concordance_cc, confusion_matrix, macro_f1, uar
from ser_toolkit.system.processes import together

#: Steps after which losses are looked at, by device: looking at one on a GPU waits for all that it has to do.
CHECK_EVERY = {"cpu": 1, "cuda": 50}


@dataclass
class GatheredOutputs:
    """Outputs of N utterances, sorted by id.

    Args:
        ids: (N,).
        label: (N,) true class, ``MISSING_LABEL`` where none.
        probabilities: (N, C), or None for a head without logits.
        dimensions: (N, 3) predicted, NaN for a dimension without ratings in training; None for a head without any.
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
            counts = confusion_matrix(self.label[known], self.probabilities[known].argmax(axis=1), self.num_classes)
            found |= {
                "uar": float(uar(counts)),
                "accuracy": float(accuracy(counts)),
                "macro_f1": float(macro_f1(counts)),
            }
        if self.dimensions is not None:
            values = {}
            for index, name in enumerate(DIMENSIONS):
                there = ~np.isnan(self.dimension_targets[:, index])
                if there.sum() > 1 and not np.isnan(self.dimensions[:, index]).all():
                    ccc = concordance_cc(self.dimension_targets[there, index], self.dimensions[there, index])
                    values[f"ccc_{name}"] = 0.0 if np.isnan(ccc) else float(ccc)
            if values:
                found |= values | {"ccc": float(np.mean(list(values.values())))}
        if not np.isnan(self.loss):
            found["loss"] = self.loss
        return found


@dataclass
class _Rows:
    """Outputs in the order of batches: ids, arrays with as many rows, the loss summed over ``counted`` utterances."""

    ids: list[str]
    values: np.ndarray
    label: np.ndarray
    dimensions: np.ndarray
    loss: float
    counted: int
    num_logits: int


class EpochOutputs:
    """Collects batches of an epoch and puts them together.

    Windows of one utterance are averaged. Under several processes the outputs of all are gathered (the sampler gives
    each piece to one process) and put into one order, so that the number of processes cannot matter. A
    ``torchmetrics.Metric`` cannot stand here: it knows no ids, by which windows are joined and utterances count once.

    Args:
        outputs: what is gathered, of ``Head.outputs``: outputs that no objective looks at are random numbers.
    """

    def __init__(self, outputs: Collection[str] = ("logits", "dimensions")) -> None:
        self._outputs = tuple(outputs)
        #: Dimensions that had ratings in training; NaN is gathered for the others.
        self.trained_dimensions: tuple[str, ...] = DIMENSIONS
        self._clear()

    def _clear(self) -> None:
        self._ids: list[str] = []
        # what came stays where it is until the end: reading it from a GPU would wait for every batch
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []
        self._losses: list[tuple[Tensor, int]] = []
        self._num_logits = 0

    def add(self, batch: Batch, outputs: Outputs, loss: Tensor | None = None) -> None:
        """Keep the outputs of a batch."""
        parts: list[Tensor] = []
        if outputs.logits is not None and "logits" in self._outputs:
            parts.append(outputs.logits.float().softmax(dim=1))
            self._num_logits = outputs.logits.shape[1]
        if outputs.dimensions is not None and "dimensions" in self._outputs:
            parts.append(outputs.dimensions.float())
        values = torch.cat(parts, dim=1).detach()
        self._ids += batch.ids
        # copies: each tensor that a loader's process has sent holds a file open while it lives
        self._batches.append((values, batch.targets.label.clone(), batch.targets.dimensions.clone()))
        if loss is not None:
            self._losses.append((loss.detach(), len(batch)))

    def finish(self, num_classes: int) -> GatheredOutputs:
        """Outputs of all processes, sorted by id; the next epoch starts empty."""
        rows = _joined(self._rows_of_all())
        self._clear()
        # ids first, then values: the order in which windows are added up depends on nothing else
        names, where = np.unique(np.array(rows.ids, dtype=object), return_inverse=True)
        order = np.lexsort((*rows.values.T[::-1], where))
        where = where[order]
        values = np.zeros((len(names), rows.values.shape[1]))
        np.add.at(values, where, rows.values[order])
        values /= np.bincount(where, minlength=len(names))[:, None].clip(min=1)
        label, targets = np.full(len(names), MISSING_LABEL), np.full((len(names), len(DIMENSIONS)), np.nan)
        label[where], targets[where] = rows.label[order], rows.dimensions[order]
        dimensions = values[:, rows.num_logits :]
        if dimensions.shape[1]:
            dimensions[:, [name not in self.trained_dimensions for name in DIMENSIONS]] = np.nan
        return GatheredOutputs(
            names.tolist(),
            label,
            values[:, : rows.num_logits] if rows.num_logits else None,
            dimensions if dimensions.shape[1] else None,
            targets,
            rows.loss / rows.counted if rows.counted else float("nan"),
            num_classes,
        )

    def _rows_of_all(self) -> list[_Rows]:
        """The rows of every process."""
        if not self._batches:
            empty = np.zeros((0, len(DIMENSIONS)))
            own = _Rows([], np.zeros((0, 0)), np.zeros(0, dtype=int), empty, 0.0, 0, 0)
        else:
            columns = zip(*self._batches, strict=True)
            values, label, dimensions = (torch.cat(column).cpu().numpy() for column in columns)
            losses = torch.stack([loss for loss, _ in self._losses]).cpu().tolist() if self._losses else []
            counts = [count for _, count in self._losses]
            loss = sum(loss * count for loss, count in zip(losses, counts, strict=True))
            own = _Rows(self._ids, values.astype(float), label, dimensions, loss, sum(counts), self._num_logits)
        if not together():
            return [own]
        gathered: list = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(gathered, own)
        return gathered


def _joined(parts: list[_Rows]) -> _Rows:
    """The rows of all processes; one without any has no columns either."""
    filled = [part for part in parts if part.ids] or parts[:1]
    return _Rows(
        [name for part in filled for name in part.ids],
        np.concatenate([part.values for part in filled]),
        np.concatenate([part.label for part in filled]),
        np.concatenate([part.dimensions for part in filled]),
        sum(part.loss for part in parts),
        sum(part.counted for part in parts),
        max(part.num_logits for part in parts),
    )


class TrainingLosses:
    """Means over the utterances of an epoch, and the steps whose loss has not been looked at."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._unseen: list[tuple[Tensor, list[str], int]] = []

    @property
    def waiting(self) -> int:
        """Number of steps whose loss is not checked yet."""
        return len(self._unseen)

    def add(self, parts: Mapping[str, Tensor], ids: list[str], step: int) -> None:
        """Add the parts of one step's loss, each a mean over the batch; "loss" is the whole."""
        self._unseen.append((parts["loss"].detach(), ids, step))
        for name, value in parts.items():
            value = value.detach()
            if value.dtype not in (torch.float32, torch.float64):
                value = value.float()
            # added up in the precision and order of Lightning's own means
            self._sums[name] = value * len(ids) + self._sums.get(name, 0.0)
            self._counts[name] = self._counts.get(name, 0) + len(ids)

    def means(self) -> dict[str, Tensor]:
        """Mean over all utterances since the last call."""
        counts = {n: torch.tensor(self._counts[n], device=v.device) for n, v in self._sums.items()}
        found = {name: value / counts[name] for name, value in self._sums.items()}
        self._sums, self._counts = {}, {}
        return found

    def check(self, epoch: int) -> None:
        """Check the losses since the last check.

        Raises:
            TrainingError: one of them is not a number; its step and utterances are named.
        """
        unseen, self._unseen = self._unseen, []
        if not unseen:
            return
        values = [unseen[0][0].item()] if len(unseen) == 1 else torch.stack([loss for loss, _, _ in unseen]).tolist()
        for value, (_, ids, step) in zip(values, unseen, strict=True):
            if not abs(value) < float("inf"):
                raise TrainingError(
                    f"The loss is {value} in epoch {epoch}, step {step} (utterances {', '.join(ids[:3])}, ...). Lower "
                    "the learning rate, clip gradients with --trainer.gradient_clip_val=1, or use "
                    "--trainer.precision=32."
                )
