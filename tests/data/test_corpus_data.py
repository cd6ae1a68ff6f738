"""One fold as loaders: who takes part, in which order a trainer sees them, and windows in evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tiny_corpus import CLASSES, NEEDS, RATE, Tones, another, quiet_trainer, tiny_data, tiny_model, tiny_source

from ser_toolkit.corpora.base import Utterance
from ser_toolkit.data.audio.decode import read_audio
from ser_toolkit.data.batch import CONDITION, STREAM, Batch, Targets, Vectors, Waves
from ser_toolkit.data.conditions import SpeakerSex
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.data.needs import Needs
from ser_toolkit.errors import RecipeError, SplitError
from ser_toolkit.protocols.splits import Fold, LeaveOneSpeakerOut


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))


def _ids(loader: object) -> list[str]:
    return [name for batch in loader for name in batch.ids]  # type: ignore[attr-defined]


# --- who takes part ---------------------------------------------------------------------------------------------------


def test_each_part_has_its_utterances_once(tmp_path: Path) -> None:
    data = tiny_data(tmp_path)
    fold = data.fold
    assert sorted(_ids(data.train_dataloader())) == sorted(fold.train)
    assert sorted(_ids(data.val_dataloader())) == sorted(fold.dev)
    assert sorted(_ids(data.test_dataloader())) == sorted(fold.test)
    assert fold.train and fold.dev and fold.test


def test_what_may_not_be_scored_is_left_out_of_the_test_part_only(tmp_path: Path) -> None:
    source = tiny_source(tmp_path)
    fold = source.folds[1]
    hidden = frozenset({fold.test[0], fold.train[0], fold.dev[0]})
    data = FoldData(source, fold, needs=NEEDS, leave_out=hidden)
    assert sorted(_ids(data.test_dataloader())) == sorted(set(fold.test) - hidden)
    assert sorted(_ids(data.train_dataloader())) == sorted(fold.train)
    assert sorted(_ids(data.val_dataloader())) == sorted(fold.dev)


def test_a_refit_trains_on_dev_too_and_selects_on_nothing(tmp_path: Path) -> None:
    plain = tiny_data(tmp_path)
    data = another(plain, join_dev=True)
    assert sorted(_ids(data.train_dataloader())) == sorted(data.fold.train + data.fold.dev)
    assert not data.has_dev
    assert _ids(data.val_dataloader()) == []
    assert plain.has_dev


def test_classes_are_counted_in_the_training_part_only(tmp_path: Path) -> None:
    corpus = Tones.write(tmp_path)
    # The training part of fold 0 loses a sad utterance, the dev and test parts two: only the first may show.
    data = tiny_data(tmp_path, corpus)
    fold = data.fold
    train = tuple(name for name in fold.train if not name.endswith("sad_0"))
    fewer = Fold("x", train, fold.dev, fold.test)
    assert another(data, fold=fewer).class_counts().tolist() == [4, 4, 2]
    assert another(data, fold=fewer, join_dev=True).class_counts().tolist() == [6, 6, 4]


def test_a_class_that_training_lacks_is_counted_as_zero(tmp_path: Path) -> None:
    data = tiny_data(tmp_path)
    fold = data.fold
    without = Fold("x", tuple(name for name in fold.train if "sad" not in name), fold.dev, fold.test)
    assert another(data, fold=without).class_counts().tolist() == [4, 4, 0]


def test_unlabelled_utterances_take_no_part_in_splits(tmp_path: Path) -> None:
    corpus = Tones.write(tmp_path)
    corpus._rows.append(Utterance("mute", corpus._rows[0].path, start=0.0, end=0.1, speaker="s0"))
    data = tiny_data(tmp_path, corpus)
    assert "mute" in set(data.manifest.table["id"])
    assert all("mute" not in (*fold.train, *fold.dev, *fold.test) for fold in data.source.folds)


# --- a fold never changes ---------------------------------------------------------------------------------------------


def test_what_the_model_needs_cannot_be_forgotten(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="needs"):
        FoldData(tiny_source(tmp_path), 1)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["fold", "features", "seed", "source", "training_ids", "scored_ids"])
def test_nothing_of_a_fold_is_set_anew(tmp_path: Path, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(tiny_data(tmp_path), name, None)


def test_loaders_read_at_the_rate_and_with_the_conditions_that_are_needed(tmp_path: Path) -> None:
    corpus = Tones.write(tmp_path)
    data = tiny_data(tmp_path, Tones([replace(row, sex="female") for row in corpus._rows]))
    first = next(iter(data.test_dataloader()))
    half = next(iter(another(data, needs=Needs(RATE // 2, (SpeakerSex(),))).test_dataloader()))
    assert half.ids == first.ids
    assert half.streams[STREAM].lengths.tolist() == [-(-length // 2) for length in first.streams[STREAM].lengths]
    assert CONDITION in half.streams and CONDITION not in first.streams


def test_vectors_make_another_fold(tmp_path: Path) -> None:
    data = another(tiny_data(tmp_path), seed=3, leave_out=frozenset({"s0_sad_0"}))
    vectors = {name: torch.zeros(2) for name in data.used_ids}
    other = data.with_vectors(vectors)
    assert data.features is None and other.features is vectors
    assert (other.fold, other.seed, other.scored_ids) == (data.fold, 3, data.scored_ids)
    assert isinstance(next(iter(other.train_dataloader())).streams[STREAM], Vectors)


def test_other_windows_share_the_manifest_and_leave_the_corpus_as_it_is(tmp_path: Path) -> None:
    source = tiny_source(tmp_path, eval_window_seconds=0.2, train_crop_seconds=0.1)
    other = source.with_windows(0.1, allow_silent=True)
    for data, settings in ((source, (0.2, 0.1, False)), (other, (0.1, None, True))):
        assert (data.eval_window_seconds, data.train_crop_seconds, data.allow_silent) == settings
    assert other.manifest is source.manifest and other.targets is source.targets


# --- folds and errors -------------------------------------------------------------------------------------------------


def test_folds_by_name_or_number(tmp_path: Path) -> None:
    data = tiny_source(tmp_path)
    assert data.fold_named("s2").name == "s2"
    assert data.fold_named(3).name == "s2"
    assert data.fold_named("3").name == "s2"
    for unknown in ("S2x", 0, 5, "-1"):
        with pytest.raises(SplitError, match=r"unknown to LeaveOneSpeakerOut.*s0, s1, s2, s3"):
            data.fold_named(unknown)
        with pytest.raises(SplitError, match="unknown to LeaveOneSpeakerOut"):
            FoldData(data, unknown, needs=NEEDS)


def test_a_fold_whose_name_is_a_number_is_found_by_its_name(tmp_path: Path) -> None:
    data = tiny_source(tmp_path)
    fold = data.folds[0]
    data._folds = [Fold(name, fold.train, fold.dev, fold.test) for name in ("03", "2", "10")]
    assert data.fold_named("03").name == "03"
    assert data.fold_named("2").name == "2"
    assert data.fold_named(3).name == "10"


def test_utterances_below_the_shortest_allowed_are_named(tmp_path: Path) -> None:
    data = tiny_data(tmp_path)
    shortest = data.manifest.table.sort_values("duration")["id"].iloc[0]
    limit = float(data.manifest.table["duration"].min()) + 1e-4
    with pytest.raises(RecipeError, match=rf"1 utterances .*data\.min_seconds={limit}: {shortest}\."):
        _ = tiny_source(tmp_path, min_seconds=limit).manifest


def test_a_corpus_without_a_place_asks_for_it(tmp_path: Path) -> None:
    data = CorpusData(Tones.write(tmp_path), LeaveOneSpeakerOut())
    with pytest.raises(RecipeError, match=r"tones: .*data\.root=PATH"):
        _ = data.manifest


@pytest.mark.parametrize("option", ["batch_size", "eval_batch_size", "steps_per_epoch"])
def test_a_batch_or_an_epoch_of_nothing_is_refused(tmp_path: Path, option: str) -> None:
    with pytest.raises(RecipeError, match=rf"data\.{option} must be at least 1, found 0"):
        tiny_source(tmp_path, **{option: 0})


# --- through a trainer ------------------------------------------------------------------------------------------------


class _Diary(Callback):
    """Notes which utterances each training batch holds, by epoch, and how often dev was looked at."""

    def __init__(self) -> None:
        self.epochs: dict[int, list[list[str]]] = {}
        self.validations = 0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        self.epochs.setdefault(trainer.current_epoch, []).append(batch.ids)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.validations += 1


def _fit(folder: Path, epochs: int, seed: int = 0, checkpoint: Path | None = None, **options: Any) -> _Diary:
    data = another(tiny_data(folder, **options), seed=seed)
    diary = _Diary()
    trainer = quiet_trainer(folder, max_epochs=epochs, callbacks=[diary])
    trainer.fit(tiny_model(), data, ckpt_path=checkpoint, weights_only=True)
    if checkpoint is None:
        trainer.save_checkpoint(folder / f"{epochs}.ckpt")
    return diary


def test_a_trainer_sees_another_order_in_every_epoch_and_the_same_in_every_run(tmp_path: Path) -> None:
    first, second = _fit(tmp_path, 2).epochs, _fit(tmp_path, 2).epochs
    assert first == second
    assert first[0] != first[1]
    assert sorted(chain(*first[0])) == sorted(chain(*first[1]))
    assert _fit(tmp_path, 1, seed=1).epochs[0] != first[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_trainer_sees_the_order_of_the_uninterrupted_one(tmp_path: Path, workers: int) -> None:
    whole = _fit(tmp_path, 3, num_workers=workers).epochs
    _fit(tmp_path, 1, num_workers=workers)
    resumed = _fit(tmp_path, 3, checkpoint=tmp_path / "1.ckpt", num_workers=workers).epochs
    assert resumed == {1: whole[1], 2: whole[2]}


def test_an_epoch_may_be_so_many_steps(tmp_path: Path) -> None:
    passes = _fit(tmp_path, 5).epochs
    diary = _fit(tmp_path, 3, steps_per_epoch=5)
    # 12 utterances in batches of 4: 15 steps are five passes, dev is looked at behind every fifth step
    assert [len(batches) for batches in diary.epochs.values()] == [5, 5, 5]
    assert list(chain(*diary.epochs.values())) == list(chain(*passes.values()))
    assert diary.validations == 3


def test_features_are_put_together_for_the_utterances_of_a_loader(tmp_path: Path) -> None:
    data = tiny_data(tmp_path)
    read: list[str] = []

    class Counted(dict):  # type: ignore[type-arg]
        def __getitem__(self, name: str) -> torch.Tensor:
            read.append(name)
            return torch.tensor([float(data.manifest.table["id"].tolist().index(name))])

    data = another(data, features=Counted())
    names = data.manifest.table["id"].tolist()
    loader = data.train_dataloader()
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        for batch in loader:
            assert [names[int(value)] for value in batch.streams[STREAM].values] == batch.ids
    assert sorted(read) == sorted(data.fold.train)


def test_every_epoch_is_whole_and_ends_with_dev_under_a_budget_of_seconds(tmp_path: Path) -> None:
    # Batches of one budget that are cut anew in every epoch would differ in number; the trainer counts them once.
    corpus = Tones.write(tmp_path, takes=5)
    diary = _fit(tmp_path, 6, corpus=corpus, batch_size=3, max_batch_seconds=0.8)
    assert diary.validations == 6
    for batches in diary.epochs.values():
        assert len(list(chain(*batches))) == 30


# --- windows in evaluation --------------------------------------------------------------------------------------------


def _by_hand(data: Any, model: Any, name: str, cut: Callable[[int], list[tuple[int, int]]]) -> np.ndarray:
    """Mean probabilities over the windows of one utterance, each run alone."""
    row = data.manifest.table["id"].tolist().index(name)
    wav = torch.from_numpy(read_audio(data.manifest.audio_path(row)))
    targets = Targets(torch.tensor([0]), torch.zeros(1, 3), torch.zeros(1, 3))
    found = []
    for first, last in cut(len(wav)):
        stream = Waves(wav[None, first:last], torch.tensor([last - first]))
        with torch.no_grad():
            found.append(model(Batch({STREAM: stream}, targets, [name])).logits.softmax(dim=1)[0].numpy())
    return np.mean(found, axis=0)


def test_windows_cover_every_utterance(tmp_path: Path) -> None:
    data = tiny_data(tmp_path, eval_window_seconds=0.11)
    durations = dict(zip(data.manifest.table["id"], data.manifest.table["duration"], strict=True))
    pieces, seconds = data._pieces(data.fold.test, training=False)
    by_id: dict[str, list[tuple[float, float]]] = {}
    for piece, length in zip(pieces, seconds, strict=True):
        assert piece.start is not None and piece.end is not None
        assert piece.end - piece.start == pytest.approx(0.11) == pytest.approx(length)
        by_id.setdefault(data.manifest.table["id"].iloc[piece.row], []).append((piece.start, piece.end))
    assert set(by_id) == set(data.fold.test)
    for name, parts in by_id.items():
        assert parts[0][0] == 0
        assert parts[-1][1] == pytest.approx(durations[name], abs=1 / 16000)
        assert all(following[0] <= part[1] for part, following in pairwise(parts))


def test_outputs_of_windows_are_averaged_by_utterance(tmp_path: Path) -> None:
    data = tiny_data(tmp_path, eval_window_seconds=0.1, eval_batch_size=3)
    model = tiny_model()
    quiet_trainer(tmp_path).test(model, data, verbose=False)
    outputs = model.test_outputs
    assert outputs.ids == sorted(data.fold.test)
    assert outputs.probabilities is not None

    def cut(total: int) -> list[tuple[int, int]]:
        starts = [*range(0, total - 1600, 1600), total - 1600]
        return [(start, start + 1600) for start in starts]

    for name, probabilities in zip(outputs.ids, outputs.probabilities, strict=True):
        np.testing.assert_allclose(probabilities, _by_hand(data, model, name, cut), atol=1e-6)
    truth = dict(zip(data.manifest.table["id"], data.manifest.table["label"], strict=True))
    assert [CLASSES[code] for code in outputs.label] == [truth[name] for name in outputs.ids]


def test_the_evaluation_batch_does_not_change_a_result(tmp_path: Path) -> None:
    model = tiny_model()
    found = []
    for size in (1, 4, 64):
        data = tiny_data(tmp_path, eval_batch_size=size)
        quiet_trainer(tmp_path).test(model, data, verbose=False)
        found.append(model.test_outputs.probabilities)
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)
    np.testing.assert_allclose(found[2], found[0], atol=1e-6)
