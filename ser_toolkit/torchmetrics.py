"""UA, WA, macro-F1 and CCC as ``torchmetrics.Metric``, for a LightningModule of one's own.

They agree with the reports in every case, because they add up what the reports add up (a confusion matrix, or sums)
and call the same formulas (``ser_toolkit.evaluation.metrics``) in the end: batches may be cut anywhere, and under
several processes the sums of all are put together. torchmetrics' own differ: ``recall`` with ``average="macro"``
counts a class that is predicted but absent from the truth with recall 0, ``ConcordanceCorrCoef`` divides by N - 1.

>>> import torch
>>> ua = UnweightedAccuracy(num_classes=3)
>>> ua.update(torch.tensor([[9.0, 0, 0], [0, 0, 9.0]]), torch.tensor([0, 0]))    # (N, C) logits or probabilities
>>> ua.update(torch.tensor([1, 1]), torch.tensor([1, -1]))                       # or (N,) classes; -1: no label
>>> ua.compute().item()
0.75

In a LightningModule of one's own, logged under any logger and computed once an epoch:

    def __init__(self):
        ...
        self.dev = MetricCollection({"uar": UnweightedAccuracy(4), "wa": WeightedAccuracy(4), "f1": MacroF1(4)})

    def validation_step(self, batch, batch_idx):
        wav, label = batch
        self.dev.update(self(wav), label)

    def on_validation_epoch_end(self):
        self.log_dict({f"dev/{name}": value for name, value in self.dev.compute().items()})
        self.dev.reset()

Each row counts: average the windows of an utterance first, and do not let a sampler repeat utterances to fill up.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.metrics import accuracy, ccc_of_sums, macro_f1, uar

#: A deviation below so many units of float64 rounding of the mean is that of a constant.
_ROUNDING = 16 * torch.finfo(torch.float64).eps


class _OfConfusion(Metric):
    """A figure of a confusion matrix (C, C), truth in rows and prediction in columns.

    Args:
        num_classes: C.
        kwargs: options of ``torchmetrics.Metric``, such as ``sync_on_compute``.
    """

    is_differentiable: bool | None = False
    higher_is_better: bool | None = True
    full_state_update: bool | None = False
    plot_lower_bound: float | None = 0.0
    plot_upper_bound: float | None = 1.0
    confusion: Tensor
    unknown: Tensor

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_classes < 1:
            raise ResultError(f"{type(self).__name__} got num_classes={num_classes}: expected at least 1.")
        self.num_classes = num_classes
        empty = torch.zeros(num_classes, num_classes, dtype=torch.long)
        self.add_state("confusion", empty, dist_reduce_fx="sum")
        self.add_state("unknown", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch to the confusion matrix.

        Args:
            preds: (N, C) logits or probabilities, or (N,) predicted classes.
            target: (N,) true classes; negative where an utterance has no label, which is left out.

        Raises:
            ResultError: the shapes do not go together.
        """
        classes = self.num_classes
        wanted = (target.shape[0], classes) if preds.is_floating_point() and target.ndim == 1 else target.shape
        if target.ndim != 1 or target.is_floating_point() or preds.shape != wanted:
            raise ResultError(
                f"{type(self).__name__} got predictions of shape {tuple(preds.shape)} ({preds.dtype}) and targets of "
                f"shape {tuple(target.shape)} ({target.dtype}): expected (N, {classes}) scores or (N,) classes, and "
                "(N,) classes as integers."
            )
        guess, true = (preds.argmax(dim=1) if preds.ndim == 2 else preds).long(), target.long()
        known = (true < classes) & (guess >= 0) & (guess < classes)
        # two places behind the matrix, for what has no label and for what is no class: a GPU is not waited for
        place = torch.where(known, true * classes + guess, classes**2).masked_fill(true < 0, classes**2 + 1)
        counts = torch.zeros(classes**2 + 2, dtype=torch.long, device=place.device)
        counts.index_add_(0, place, torch.ones_like(place))
        self.confusion = self.confusion + counts[: classes**2].view(classes, classes)
        self.unknown = self.unknown + counts[classes**2]

    def compute(self) -> Tensor:
        """The figure over all batches and processes, in [0, 1]; NaN where no utterance has a label.

        Raises:
            ResultError: a class was not one of 0 to C - 1.
        """
        if self.unknown:
            raise ResultError(
                f"{type(self).__name__} met {int(self.unknown)} utterances whose true or predicted class is not one "
                f"of 0 to {self.num_classes - 1}: num_classes is too small, or labels are not class indices."
            )
        return _precise(self._figure(), self.confusion.device)

    def _figure(self) -> Any:
        """The figure of the report's own formula."""
        raise NotImplementedError


class UnweightedAccuracy(_OfConfusion):
    """UA: mean recall over the classes that occur in the truth, in [0, 1] (``evaluation.metrics.uar``).

    Source: Schuller, Steidl and Batliner, "The INTERSPEECH 2009 Emotion Challenge", Interspeech 2009, section 3.

    Args:
        num_classes: C.
        kwargs: options of ``torchmetrics.Metric``, such as ``sync_on_compute``.
    """

    def _figure(self) -> Any:
        return uar(self.confusion.cpu().numpy())


class WeightedAccuracy(_OfConfusion):
    """WA: share of utterances whose class is right, in [0, 1] (``evaluation.metrics.accuracy``).

    Args:
        num_classes: C.
        kwargs: options of ``torchmetrics.Metric``, such as ``sync_on_compute``.
    """

    def _figure(self) -> Any:
        return accuracy(self.confusion.cpu().numpy())


class MacroF1(_OfConfusion):
    """Mean F1 over the classes that occur in truth or prediction, in [0, 1] (``evaluation.metrics.macro_f1``).

    Args:
        num_classes: C.
        kwargs: options of ``torchmetrics.Metric``, such as ``sync_on_compute``.
    """

    def _figure(self) -> Any:
        return macro_f1(self.confusion.cpu().numpy())


class ConcordanceCC(Metric):
    """CCC of one or more dimensions over all batches, in [-1, 1] (``evaluation.metrics.concordance_cc``).

    It is 0 where one side is constant and NaN where it is undefined: fewer than two rated utterances, or both sides
    the same constant. Means and sums of squares about them are kept in float64 and put together exactly, so that
    neither the cut into batches nor an offset of the ratings matters.

    Source: Lin, Biometrics 45(1), 1989; Chan, Golub and LeVeque, The American Statistician 37(3), 1983, eq. 2.1
    (sums of two parts).

    >>> import torch
    >>> ccc = ConcordanceCC()
    >>> ccc.update(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]))
    >>> ccc.update(torch.tensor([4.0, 9.0]), torch.tensor([2.0, float("nan")]))  # NaN: no rating
    >>> round(ccc.compute().item(), 4)
    0.6667

    Args:
        num_outputs: D, dimensions beside each other.
        reduction: ``none`` gives (D,) values. ``mean`` gives the CCC of one dimension; of several, the mean over those
            with two rated utterances or more, in which an undefined CCC counts 0, as in ``dev/ccc``.
        kwargs: options of ``torchmetrics.Metric``, such as ``sync_on_compute``.
    """

    is_differentiable: bool | None = False
    higher_is_better: bool | None = True
    full_state_update: bool | None = False
    plot_lower_bound: float | None = -1.0
    plot_upper_bound: float | None = 1.0
    moments: Tensor

    def __init__(self, num_outputs: int = 1, reduction: Literal["mean", "none"] = "mean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_outputs < 1 or reduction not in ("mean", "none"):
            raise ResultError(
                f"ConcordanceCC got num_outputs={num_outputs}, reduction={reduction!r}: expected at least 1, and mean "
                "or none."
            )
        self.num_outputs, self.reduction = num_outputs, reduction
        empty = torch.zeros(num_outputs, 6, dtype=torch.float64)
        self.add_state("moments", empty, dist_reduce_fx=_joined)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch to the moments.

        Args:
            preds: (N, D) predictions, or (N,) for one dimension.
            target: ratings of the same shape; NaN marks an utterance without a rating, which is left out.

        Raises:
            ResultError: the shapes do not go together.
        """
        wide = preds.shape == target.shape == (len(target), self.num_outputs)
        if not wide and not (preds.shape == target.shape == (len(target),) and self.num_outputs == 1):
            raise ResultError(
                f"ConcordanceCC got predictions of shape {tuple(preds.shape)} and ratings of shape "
                f"{tuple(target.shape)}: expected (N, {self.num_outputs}) twice"
                f"{', or (N,) twice' if self.num_outputs == 1 else ''}."
            )
        device = self.moments.device
        truth, guess = (_precise(v.detach(), device).reshape(-1, self.num_outputs) for v in (target, preds))
        self.moments = _joined(torch.stack([_precise(self.moments, device), _moments(truth, guess)]))

    def compute(self) -> Tensor:
        """CCC over all batches and processes: () for ``mean``, (D,) for ``none``; NaN where undefined.

        Raises:
            ResultError: a prediction was not a finite number where there is a rating.
        """
        n, x, y, xx, yy, xy = self.moments.cpu().double().unbind(dim=1)
        if not self.moments.isfinite().all():
            raise ResultError("Predictions or ratings are not finite numbers; check the training loss.")
        xx, yy = (torch.where(s <= n * (_ROUNDING * m) ** 2, 0.0, s) for s, m in ((xx, x), (yy, y)))
        apart = y - x
        # sums about the mean of the truth, as concordance_cc takes them
        values = ccc_of_sums(torch.stack([n, 0 * n, n * apart, xx, yy + n * apart**2, xy], dim=1).numpy())
        found = torch.as_tensor(values)
        if self.reduction == "mean":
            found = found[n > 1].nan_to_num(0.0).mean() if self.num_outputs > 1 else found[0]
        return _precise(found, self.moments.device)


def _moments(truth: Tensor, guess: Tensor) -> Tensor:
    """Count, means, and sums of squares and products about them, of a batch: (N, D) twice -> (D, 6)."""
    rated = ~truth.isnan()
    count = rated.sum(dim=0).to(truth)
    x, y = (v.masked_fill(~rated, 0.0).sum(dim=0) / count.clamp(min=1) for v in (truth, guess))
    dx, dy = ((v - mean).masked_fill(~rated, 0.0) for v, mean in ((truth, x), (guess, y)))
    return torch.stack([count, x, y, (dx * dx).sum(dim=0), (dy * dy).sum(dim=0), (dx * dy).sum(dim=0)], dim=1)


def _joined(parts: Tensor) -> Tensor:
    """The moments of several parts put together: (P, D, 6) -> (D, 6)."""
    whole = parts[0]
    for part in parts[1:]:
        (n, x, y, *whole_sums), (m, u, v, *part_sums) = whole.unbind(dim=1), part.unbind(dim=1)
        count = (n + m).clamp(min=1)
        dx, dy, share = u - x, v - y, m / count
        between = [dx * dx, dy * dy, dx * dy]
        sums = [a + b + apart * n * share for a, b, apart in zip(whole_sums, part_sums, between, strict=True)]
        whole = torch.stack([n + m, x + dx * share, y + dy * share, *sums], dim=1)
    return whole


def _precise(value: Any, device: torch.device) -> Tensor:
    """A value as a tensor on the device, in float64 where the device has it."""
    dtype = torch.float32 if device.type == "mps" else torch.float64
    return torch.as_tensor(value).to(dtype).to(device)
