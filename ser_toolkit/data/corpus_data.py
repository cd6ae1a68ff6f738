"""A corpus as a recipe sets it up: its manifest, targets and folds, and how batches of it are made."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd

from ser_toolkit.corpora.base import Corpus
from ser_toolkit.data.audio.channels import MIX
from ser_toolkit.data.balance import check_balance
from ser_toolkit.data.labels import Intended, LabelRule, LabelTargets
from ser_toolkit.data.limits import check_data
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.prepare import prepare
from ser_toolkit.data.speakers import SpeakerChoice
from ser_toolkit.errors import SplitError, nearest
from ser_toolkit.protocols.folds import folder_name
from ser_toolkit.protocols.splits import Fold, Protocol


class CorpusData:
    """Corpus, label rule, split protocol and batch settings; ``FoldData`` gives the loaders of one of its folds.

    Args:
        corpus: where the speech comes from.
        protocol: how it is split.
        root: the corpus folder.
        labels: how the targets are made from labels or rater votes.
        batch_size: utterances in a training batch, at most.
        max_batch_seconds: padded audio seconds in a batch, at most.
        eval_batch_size: utterances in an evaluation batch (never changes a result).
        train_crop_seconds: in training, longer recordings are cut at a random place; None keeps them whole.
        eval_window_seconds: in evaluation, longer recordings are cut into windows whose outputs are averaged.
        min_seconds: shorter utterances are refused, naming them.
        num_workers: processes that decode audio (0: none; stored features need none).
        allow_incomplete: accept a copy that deviates from the published counts; said in the report.
        allow_silent: accept digitally silent recordings.
        channel: of recordings with several: ``mix`` averages them; ``left``, ``right`` or a number from 0 takes one.
        steps_per_epoch: an epoch is so many batches (of each process), drawn from consecutive shuffles of the training
            part, so that epochs mean steps, as in SUPERB's 30,000 steps with dev every 1,000. None: one pass.
        balance: groups that training draws from equally often, each within those before it: ``[corpus, label,
            speaker]``. A pass has as many draws as the training part has utterances. None: every utterance once.
        speakers: the speakers who take part, ``[1001,1002]``; the whole copy is checked all the same. None: all.
        leave_out_speakers: the speakers who do not; one of the two at most is given.
    """

    def __init__(
        self,
        corpus: Corpus,
        protocol: Protocol,
        root: str | None = None,
        labels: LabelRule | None = None,
        batch_size: int = 32,
        max_batch_seconds: float | None = None,
        eval_batch_size: int = 64,
        train_crop_seconds: float | None = None,
        eval_window_seconds: float | None = None,
        min_seconds: float = 0.0,
        num_workers: int = 0,
        allow_incomplete: bool = False,
        allow_silent: bool = False,
        steps_per_epoch: int | None = None,
        balance: list[str] | None = None,
        speakers: str | list[str] | None = None,
        leave_out_speakers: str | list[str] | None = None,
        channel: int | str = MIX,
    ) -> None:
        check_balance(balance or [])
        sizes = {"batch_size": batch_size, "eval_batch_size": eval_batch_size, "steps_per_epoch": steps_per_epoch}
        lengths = {"max_batch": max_batch_seconds, "train_crop": train_crop_seconds, "eval_window": eval_window_seconds}
        check_data(sizes, lengths, {"min_seconds": min_seconds, "num_workers": num_workers})
        self.corpus = corpus
        self.protocol = protocol
        self.root = root
        self.labels = labels if labels is not None else Intended()
        self.batch_size = batch_size
        self.max_batch_seconds = max_batch_seconds
        self.eval_batch_size = eval_batch_size
        self.train_crop_seconds, self.eval_window_seconds = train_crop_seconds, eval_window_seconds
        self.min_seconds = min_seconds
        self.num_workers = num_workers
        self.allow_incomplete, self.allow_silent = allow_incomplete, allow_silent
        self.channel = channel
        self.steps_per_epoch = steps_per_epoch
        self.balance = list(balance or [])
        self.speakers = SpeakerChoice.of(speakers, leave_out_speakers)
        self._manifest: Manifest | None = None
        self._targets: LabelTargets | None = None
        self._folds: list[Fold] | None = None

    @property
    def manifest(self) -> Manifest:
        """The validated table of utterances; made on first use."""
        if self._manifest is None:
            self._manifest = prepare(
                self.corpus, self.root, self.allow_incomplete, self.min_seconds, self.speakers, self.channel
            )
        return self._manifest

    @property
    def targets(self) -> LabelTargets:
        """Targets of the manifest's rows, by the label rule."""
        if self._targets is None:
            self._targets = self.labels.targets(self.manifest)
        return self._targets

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in their order, by the label rule."""
        return self.labels.classes_of(self.manifest)

    @property
    def labelled(self) -> np.ndarray:
        """(N,) bool: rows with a target of any kind; the others take no part in splits."""
        targets = self.targets
        return (targets.label >= 0) | ~np.isnan(targets.soft).all(axis=1) | ~np.isnan(targets.dimensions).all(axis=1)

    @property
    def folds(self) -> list[Fold]:
        """The folds of the protocol over the labelled utterances (the target class counts, whatever the rule)."""
        if self._folds is None:
            self._folds = self.protocol.folds(self.split_table)
        return self._folds

    @property
    def split_table(self) -> pd.DataFrame:
        """The labelled rows of the manifest, with ``label`` as the label rule gives it."""
        table = self.manifest.table.copy()
        names = np.array([*self.classes, None], dtype=object)
        table["label"] = names[self.targets.label]
        return table[self.labelled].reset_index(drop=True)

    def fold_named(self, name: str | int) -> Fold:
        """A fold by its name, or by its number counted from 1.

        Raises:
            SplitError: there is no such fold.
        """
        names = [fold.name for fold in self.folds]
        if folder_name(str(name)) in names:
            return self.folds[names.index(folder_name(str(name)))]
        if str(name).isdigit() and 1 <= int(name) <= len(names):
            return self.folds[int(name) - 1]
        raise SplitError(f"Fold {name!r} is unknown to {type(self.protocol).__name__}. {nearest(str(name), names)}")

    def with_windows(self, seconds: float | None, allow_silent: bool) -> CorpusData:
        """The same corpus, cut in evaluation only; manifest, targets and folds are shared.

        Args:
            seconds: of the windows; None keeps recordings whole.
            allow_silent: accept digitally silent recordings.
        """
        _ = self.manifest, self.targets  # made once for both
        other = copy.copy(self)
        other.eval_window_seconds, other.train_crop_seconds, other.allow_silent = seconds, None, allow_silent
        return other
