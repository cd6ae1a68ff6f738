"""One fold of a corpus as loaders: which utterances, in what part, as waves or as stored features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader

from ser_toolkit.data.balance import balanced_weights
from ser_toolkit.data.batch import Batch, Stored
from ser_toolkit.data.conditions import condition_table
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.data.dataset import PieceDataset
from ser_toolkit.data.labels import LabelTargets
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.needs import Needs
from ser_toolkit.data.sampling import BatchSampler, Piece, pieces_of, process
from ser_toolkit.protocols.splits import Fold


class FoldData(pl.LightningDataModule):
    """The training, dev and test loaders of one fold; a fold with other features or another seed is another object.

    Args:
        source: corpus, labels and batch settings.
        fold: of the source's protocol, its name or its number counted from 1; or any other.
        needs: of the model (``model.needs``).
        seed: of shuffling and crops.
        features: stored frames, moments or vectors by utterance id; None reads the recordings.
        leave_out: test utterances that are not scored (enrolment, neutral reference).
        join_dev: train on train + dev (a refit after selection); there is no dev loader then.

    Raises:
        SplitError: the protocol has no fold of this name or number.
    """

    def __init__(
        self,
        source: CorpusData,
        fold: Fold | str | int,
        *,
        needs: Needs,
        seed: int = 0,
        features: Mapping[str, Stored] | None = None,
        leave_out: frozenset[str] = frozenset(),
        join_dev: bool = False,
    ) -> None:
        super().__init__()
        self._source = source
        self._fold = fold if isinstance(fold, Fold) else source.fold_named(fold)
        self._needs, self._seed, self._features = needs, seed, features
        self._leave_out, self._join_dev = leave_out, join_dev

    def with_vectors(self, vectors: Mapping[str, Stored]) -> FoldData:
        """The same fold with one vector an utterance, (E,) by id, in place of its features."""
        return FoldData(
            self._source,
            self._fold,
            needs=self._needs,
            seed=self._seed,
            features=vectors,
            leave_out=self._leave_out,
            join_dev=self._join_dev,
        )

    @property
    def source(self) -> CorpusData:
        """Corpus, labels and batch settings."""
        return self._source

    @property
    def fold(self) -> Fold:
        """Ids of the training, dev and test part."""
        return self._fold

    @property
    def seed(self) -> int:
        """Seed of shuffling and crops."""
        return self._seed

    @property
    def features(self) -> Mapping[str, Stored] | None:
        """Stored features, utterance id -> frames (L, T, D), moments or (E,); None where recordings are read."""
        return self._features

    @property
    def manifest(self) -> Manifest:
        """The table of all utterances of the corpus."""
        return self._source.manifest

    @property
    def targets(self) -> LabelTargets:
        """Targets of every row of the manifest."""
        return self._source.targets

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in their order."""
        return self._source.classes

    @property
    def training_ids(self) -> tuple[str, ...]:
        """Ids of the training part, with those of dev where both are joined."""
        return self._fold.train + self._fold.dev if self._join_dev else self._fold.train

    @property
    def has_dev(self) -> bool:
        """Whether there is a dev part to select on."""
        return bool(self._fold.dev) and not self._join_dev

    @property
    def used_ids(self) -> list[str]:
        """Ids of all parts of the fold."""
        return [*self._fold.train, *self._fold.dev, *self._fold.test]

    @property
    def scored_ids(self) -> list[str]:
        """Ids of the test part without what may not be scored."""
        return [name for name in self._fold.test if name not in self._leave_out]

    @cached_property
    def shares(self) -> np.ndarray | None:
        """(N,) of the draws that each of ``training_ids`` gets; None where every utterance is taken once."""
        balance = self._source.balance
        if not balance:
            return None
        rows = self.rows(self.training_ids)
        names = np.array([*self.classes, None], dtype=object)
        table = self.manifest.table.iloc[rows].assign(label=names[self.targets.label[rows]])
        return balanced_weights(table, balance)

    def labels_of(self, ids: Sequence[str]) -> np.ndarray:
        """(N,) class index of each utterance, ``MISSING_LABEL`` where there is none."""
        return self.targets.label[self.rows(ids)].astype(np.int64)

    def class_counts(self) -> np.ndarray:
        """(C,) utterances per class in the training part; where draws are balanced, expected draws of a pass."""
        label, shares = self.labels_of(self.training_ids), self.shares
        weights = None if shares is None else shares * len(shares)
        known = label >= 0
        return np.bincount(label[known], None if weights is None else weights[known], minlength=len(self.classes))

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """(N,) row of each utterance in the manifest."""
        return np.array([self._row_of[name] for name in ids], dtype=int)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.manifest.table["id"])}

    # --- loaders --------------------------------------------------------------------------------------------------

    def train_dataloader(self) -> DataLoader:
        """Shuffled batches of the training part."""
        loader = self._loader(self.training_ids, training=True)
        if self.trainer is not None and isinstance(loader.sampler, BatchSampler):
            # A resumed trainer starts reading ahead (num_workers > 0) before it sets the epoch of the sampler.
            loader.sampler.set_epoch(self.trainer.current_epoch)
        return loader

    def val_dataloader(self) -> DataLoader | list:
        """The dev part, whole utterances or windows; nothing when there is none."""
        return self._loader(self._fold.dev) if self.has_dev else []

    def test_dataloader(self) -> DataLoader:
        """The test part without what may not be scored."""
        return self._loader(self.scored_ids)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch that is not there already."""
        return batch if batch.targets.label.device == device else batch.to(device)

    def _pieces(self, ids: Sequence[str], training: bool) -> tuple[list[Piece], list[float]]:
        rows, source = self.rows(ids), self._source
        durations = self.manifest.table["duration"].to_numpy(dtype=float)[rows]
        if training and source.train_crop_seconds is not None:
            durations = np.minimum(durations, source.train_crop_seconds)
        whole = training or self._features is not None
        window = None if whole else source.eval_window_seconds
        return pieces_of(rows.tolist(), durations.tolist(), window, self._needs.sampling_rate)

    def _loader(self, ids: Sequence[str], training: bool = False) -> DataLoader:
        (pieces, seconds), source, conditions = self._pieces(ids, training), self._source, self._needs.conditions
        rank, world_size = process()
        sampler = BatchSampler(
            pieces,
            seconds,
            source.batch_size if training else source.eval_batch_size,
            source.max_batch_seconds,
            shuffle=training,
            seed=self._seed,
            rank=rank,
            world_size=world_size,
            steps=source.steps_per_epoch,
            shares=self.shares if training else None,
        )
        dataset = PieceDataset(
            self.manifest,
            self.targets,
            self._features,
            self._needs.sampling_rate,
            source.train_crop_seconds if training else None,
            self._seed,
            source.allow_silent,
            condition_table(conditions, self.manifest.table) if conditions else None,
            [piece.row for piece in pieces],
        )
        count = source.num_workers
        return DataLoader(dataset, sampler=sampler, batch_size=None, num_workers=count, persistent_workers=count > 0)
