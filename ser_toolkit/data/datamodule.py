"""One fold as loaders: which utterances, in what part, as waves or as stored frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

from ser_toolkit.corpora.base import Corpus
from ser_toolkit.data.audio.channels import MIX
from ser_toolkit.data.balance import balanced_weights, check_balance
from ser_toolkit.data.batch import Batch, Stored
from ser_toolkit.data.conditions import Condition, condition_table
from ser_toolkit.data.dataset import PieceDataset
from ser_toolkit.data.labels import Intended, LabelRule, LabelTargets
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.prepare import prepare
from ser_toolkit.data.sampling import BatchSampler, Piece, pieces_of, process
from ser_toolkit.data.speakers import SpeakerChoice
from ser_toolkit.errors import RecipeError, SplitError, nearest
from ser_toolkit.limits import check_data
from ser_toolkit.protocols.folds import folder_name
from ser_toolkit.protocols.splits import Fold, Protocol


class SerDataModule(pl.LightningDataModule):
    """Corpus, label rule and split protocol -> the loaders of one fold.

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
        super().__init__()
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
        self._fold: Fold | None = None
        self._features: Mapping[str, Stored] | None = None
        self._seed, self._sampling_rate = 0, 16000
        self._not_scored: frozenset[str] = frozenset()
        self._join_dev = False
        self._conditions: tuple[Condition, ...] = ()

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
        """What the label rule makes of the manifest."""
        if self._targets is None:
            self._targets = self.labels.targets(self.manifest)
        return self._targets

    @property
    def classes(self) -> tuple[str, ...]:
        """Class order."""
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

    def use(
        self,
        fold: Fold,
        seed: int = 0,
        features: Mapping[str, Stored] | None = None,
        not_scored: frozenset[str] = frozenset(),
        join_dev: bool = False,
    ) -> None:
        """Choose what the loaders give.

        Args:
            fold: the fold.
            seed: of shuffling and crops.
            features: stored frames by utterance id, or None for waveforms.
            not_scored: test utterances that are left out (enrolment, neutral reference).
            join_dev: train on train + dev (a refit after selection); there is no dev loader then.
        """
        self._fold, self._seed, self._features = fold, seed, features
        self._not_scored, self._join_dev = not_scored, join_dev

    def use_rate(self, sampling_rate: int) -> None:
        """Tell the rate, in Hz, at which the upstream hears."""
        self._sampling_rate = sampling_rate

    def use_conditions(self, conditions: Sequence[Condition]) -> None:
        """Tell what the model wants to know besides the sound."""
        self._conditions = tuple(conditions)

    @property
    def fold(self) -> Fold:
        """The fold in use."""
        if self._fold is None:
            raise RecipeError("No fold is chosen: call data.use(fold) before training.")
        return self._fold

    @property
    def training_ids(self) -> tuple[str, ...]:
        """Ids of the training part in use."""
        return self.fold.train + self.fold.dev if self._join_dev else self.fold.train

    @property
    def has_dev(self) -> bool:
        """Whether there is a dev part to select on."""
        return bool(self.fold.dev) and not self._join_dev

    @property
    def shares(self) -> np.ndarray | None:
        """(N,) of the draws that each of ``training_ids`` gets; None where every utterance is taken once."""
        if not self.balance:
            return None
        rows = self._rows(self.training_ids)
        names = np.array([*self.classes, None], dtype=object)
        table = self.manifest.table.iloc[rows].assign(label=names[self.targets.label[rows]])
        return balanced_weights(table, self.balance)

    def labels_of(self, ids: Sequence[str]) -> np.ndarray:
        """(N,) class index of each utterance, ``MISSING_LABEL`` where there is none."""
        return self.targets.label[self._rows(ids)].astype(np.int64)

    def class_counts(self) -> np.ndarray:
        """(C,) utterances per class in the training part in use; where draws are balanced, expected draws of a pass."""
        label, shares = self.labels_of(self.training_ids), self.shares
        weights = None if shares is None else shares * len(shares)
        known = label >= 0
        return np.bincount(label[known], None if weights is None else weights[known], minlength=len(self.classes))

    @property
    def features(self) -> Mapping[str, Stored] | None:
        """Stored frames in use, utterance id -> (L, T, D) for each upstream, or None when the recordings are read."""
        return self._features

    @property
    def used_ids(self) -> list[str]:
        """Ids of all parts of the fold in use."""
        return [*self.fold.train, *self.fold.dev, *self.fold.test]

    @property
    def scored_ids(self) -> list[str]:
        """Ids of the test part without what may not be scored."""
        return [name for name in self.fold.test if name not in self._not_scored]

    def use_vectors(self, vectors: Mapping[str, Stored]) -> None:
        """Give one vector an utterance, (E,) by id, instead of its frames; until the next ``use``."""
        self._features = vectors

    def train_dataloader(self) -> DataLoader:
        """Shuffled batches of the training part."""
        loader = self._loader(self.training_ids, training=True)
        if self.trainer is not None and isinstance(loader.sampler, BatchSampler):
            # A resumed trainer starts reading ahead (num_workers > 0) before it tells the sampler the epoch.
            loader.sampler.set_epoch(self.trainer.current_epoch)
        return loader

    def val_dataloader(self) -> DataLoader | list:
        """The dev part, whole utterances or windows; nothing when there is none."""
        return self._loader(self.fold.dev) if self.has_dev else []

    def test_dataloader(self) -> DataLoader:
        """The test part without what may not be scored."""
        return self._loader(self.scored_ids)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch that is not there already."""
        return batch if batch.targets.label.device == device else batch.to(device)

    def _rows(self, ids: Sequence[str]) -> np.ndarray:
        index = {name: row for row, name in enumerate(self.manifest.table["id"])}
        return np.array([index[name] for name in ids], dtype=int)

    def _pieces(self, ids: Sequence[str], training: bool) -> tuple[list[Piece], list[float]]:
        rows = self._rows(ids)
        durations = self.manifest.table["duration"].to_numpy(dtype=float)[rows]
        if training and self.train_crop_seconds is not None:
            durations = np.minimum(durations, self.train_crop_seconds)
        whole = training or self._features is not None
        return pieces_of(
            rows.tolist(), durations.tolist(), None if whole else self.eval_window_seconds, self._sampling_rate
        )

    def _loader(self, ids: Sequence[str], training: bool = False) -> DataLoader:
        pieces, seconds = self._pieces(ids, training)
        rank, world_size = process()
        sampler = BatchSampler(
            pieces,
            seconds,
            self.batch_size if training else self.eval_batch_size,
            self.max_batch_seconds,
            shuffle=training,
            seed=self._seed,
            rank=rank,
            world_size=world_size,
            steps=self.steps_per_epoch,
            shares=self.shares if training else None,
        )
        dataset = PieceDataset(
            self.manifest,
            self.targets,
            self._features,
            self._sampling_rate,
            self.train_crop_seconds if training else None,
            self._seed,
            self.allow_silent,
            condition_table(self._conditions, self.manifest.table) if self._conditions else None,
            [piece.row for piece in pieces],
        )
        count = self.num_workers
        return DataLoader(dataset, sampler=sampler, batch_size=None, num_workers=count, persistent_workers=count > 0)
