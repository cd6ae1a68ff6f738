"""Utterances with votes but without a label are split, trained on as distributions and tested; no label is counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_corpus import CLASSES, RATE, Tones

from ser_toolkit.data.batch import MISSING_LABEL, Outputs
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.data.labels import AllInclusive, LabelRule, Plurality, Soft
from ser_toolkit.data.needs import Needs
from ser_toolkit.experiment.baselines import MajorityClass
from ser_toolkit.objectives.categorical import CrossEntropy
from ser_toolkit.objectives.soft import SoftCrossEntropy
from ser_toolkit.protocols.splits import GroupedKFold, LeaveOneSpeakerOut


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tones:
    """Take 1 is a tie of two classes, take 0 is voted for clearly; s3_sad_0 has no votes at all."""
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    written = Tones.write(tmp_path / "corpus")
    rows = []
    for row in written.utterances(tmp_path):
        other = CLASSES[(CLASSES.index(row.label) + 1) % 3]
        votes = {row.label: 2.0, other: 2.0} if row.id.endswith("_1") else {row.label: 3.0, other: 1.0}
        rows.append(replace(row, votes=None if row.id == "s3_sad_0" else votes))
    return Tones(rows)


def data_of(corpus: Tones, tmp_path: Path, rule: LabelRule, batch_size: int = 64) -> FoldData:
    source = CorpusData(corpus, LeaveOneSpeakerOut(), str(tmp_path / "corpus"), rule, batch_size=batch_size)
    return FoldData(source, 1, needs=Needs(RATE))


@pytest.mark.parametrize("rule", [Soft(), AllInclusive()])
def test_ties_take_part_in_every_part(corpus: Tones, tmp_path: Path, rule: LabelRule) -> None:
    data = data_of(corpus, tmp_path, rule)
    parts = {name: getattr(data.fold, name) for name in ("train", "dev", "test")}
    assert {name: sum(one.endswith("_1") for one in ids) for name, ids in parts.items()} == {
        "train": 6,
        "dev": 3,
        "test": 3,
    }
    assert "s3_sad_0" not in data.source.split_table["id"].tolist(), "neither label nor votes"
    for loader, ids in (("train", parts["train"]), ("val", parts["dev"]), ("test", parts["test"])):
        batches = list(getattr(data, f"{loader}_dataloader")())
        seen = {one: batch.targets for batch in batches for one in batch.ids}
        assert sorted(seen) == sorted(ids)
    batch = next(iter(data.test_dataloader()))
    tied = torch.tensor([name.endswith("_1") for name in batch.ids])
    assert (batch.targets.label == MISSING_LABEL).tolist() == tied.tolist()
    assert batch.targets.soft[tied].max(dim=1).values.tolist() == [0.5] * 3


def test_what_counts_labels_leaves_ties_out(corpus: Tones, tmp_path: Path) -> None:
    data = data_of(corpus, tmp_path, Soft())
    label_of = dict(zip(data.manifest.table["id"], data.targets.label, strict=True))
    labels = np.array([label_of[name] for name in data.training_ids])
    assert (labels == MISSING_LABEL).sum() == 6
    assert data.class_counts().tolist() == np.bincount(labels[labels >= 0], minlength=3).tolist() == [2, 2, 1]
    majority = MajorityClass().predict(data)
    assert len(majority.ids) == 6 and (majority.label == MISSING_LABEL).sum() == 3
    np.testing.assert_allclose(majority.probabilities[0], [3 / 8, 3 / 8, 2 / 8])


def test_plurality_drops_ties_and_soft_has_its_labels_and_the_same_folds_as_all_utterances(
    corpus: Tones, tmp_path: Path
) -> None:
    dropped = data_of(corpus, tmp_path, Plurality())
    assert not any(name.endswith("_1") for fold in dropped.source.folds for name in fold.test)
    kept = data_of(corpus, tmp_path, Soft())
    assert kept.targets.label.tolist() == dropped.targets.label.tolist()
    everyone = GroupedKFold(num_folds=3).folds(kept.manifest.table[kept.source.labelled])
    alike = GroupedKFold(num_folds=3).folds(kept.source.split_table)
    assert {fold.test for fold in everyone} == {fold.test for fold in alike}


def test_cross_entropy_passes_over_ties_and_soft_cross_entropy_learns_from_them(corpus: Tones, tmp_path: Path) -> None:
    data = data_of(corpus, tmp_path, Soft())
    batch = next(iter(data.train_dataloader()))
    tied = batch.targets.label == MISSING_LABEL
    for objective, learns in ((CrossEntropy(3), False), (SoftCrossEntropy(3), True)):
        logits = torch.randn(len(batch), 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
        objective(Outputs(logits=logits), batch)[0].backward()
        moved = logits.grad.abs().sum(dim=1) > 0
        assert moved[~tied].all()
        assert moved[tied].all() if learns else not moved[tied].any()
