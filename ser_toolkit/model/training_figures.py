"""UA and CCC of a training epoch, from the outputs that its steps gave anyway."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from ser_toolkit.data.batch import DIMENSIONS, Outputs, Targets
from ser_toolkit.torchmetrics import ConcordanceCC, UnweightedAccuracy

#: Steps, and rows, whose outputs wait to be counted together: one step's alone would cost as much as a small step.
_STEPS, _ROWS = 64, 65_536


class TrainingFigures:
    """Counts the outputs of training steps; an epoch's figures are computed once.

    They are of the model as it trains: dropout and masks are on, weights move from step to step, crops are random, and
    an utterance that is drawn or evaluated repeatedly (by a line search) counts repeatedly. They show whether a model
    learns its training part at all, not how well the weights behind the epoch do on it.

    Args:
        outputs: what is counted, of ``Head.outputs``: outputs that no objective looks at are random numbers.
    """

    def __init__(self, outputs: Collection[str] = ("logits", "dimensions")) -> None:
        self._outputs = tuple(outputs)
        self._waiting: list[tuple[Tensor | None, Tensor, Tensor | None, Tensor | None]] = []
        self._rows = 0
        self._uar: UnweightedAccuracy | None = None
        self._ccc: ConcordanceCC | None = None

    def add(self, outputs: Outputs, targets: Targets) -> None:
        """Take note of a step's outputs: logits (B, C), dimensions (B, 3) or both."""
        logits, dimensions = (self._detached(outputs, name) for name in ("logits", "dimensions"))
        # copies: each tensor that a loader's process has sent holds a file open while it lives
        ratings = None if dimensions is None else targets.dimensions.clone()
        self._waiting.append((logits, targets.label.clone(), dimensions, ratings))
        self._rows += len(targets.label)
        if len(self._waiting) >= _STEPS or self._rows >= _ROWS:
            self._count()

    def _detached(self, outputs: Outputs, name: str) -> Tensor | None:
        value = getattr(outputs, name) if name in self._outputs else None
        return None if value is None else value.detach()

    def finish(self) -> dict[str, Tensor]:
        """``uar`` and ``ccc`` of all processes since the last call, those that are defined; starts anew."""
        self._count()
        found = {}
        for name, metric in (("uar", self._uar), ("ccc", self._ccc)):
            if metric is not None and metric.update_called:
                value = metric.compute()
                metric.reset()
                if not value.isnan():
                    found[name] = value
        return found

    def _count(self) -> None:
        """Update the metrics with all outputs that wait."""
        waiting, self._waiting, self._rows = self._waiting, [], 0
        if not waiting:
            return
        logits, label, dimensions, ratings = zip(*waiting, strict=True)  # a head fills in the same in each step
        if logits[0] is not None:
            scores = torch.cat(logits)
            self._uar = (self._uar or UnweightedAccuracy(scores.shape[1])).to(scores.device)
            self._uar.update(scores, torch.cat(label))
        if dimensions[0] is not None:
            predicted = torch.cat(dimensions)
            self._ccc = (self._ccc or ConcordanceCC(len(DIMENSIONS))).to(predicted.device)
            self._ccc.update(predicted, torch.cat(ratings))
