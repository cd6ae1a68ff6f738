"""The wiring: what is trained, what is saved, and what a trainer may ask of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from tiny_corpus import CLASSES, TinyUpstream, Tones, another, quiet_trainer, tiny_data, tiny_model
from torch import Tensor

from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.downstream.frames import LinearProjection, LinearReLU
from ser_toolkit.downstream.heads import LinearHead, MLPHead, MultiTaskHead, RegressionHead
from ser_toolkit.downstream.layers import ConcatenateLayers
from ser_toolkit.downstream.peers import UnmaskedMeanPooling
from ser_toolkit.downstream.pooling import MeanPooling, MeanStdMaxPooling
from ser_toolkit.errors import CheckpointError, RecipeError, TrainingError
from ser_toolkit.features.extract import extract_corpus
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.model.optimisers import RegularisedLBFGS
from ser_toolkit.objectives.categorical import CrossEntropy
from ser_toolkit.objectives.combined import CrossEntropyConcordance
from ser_toolkit.objectives.dimensional import ConcordanceLoss
from ser_toolkit.protocols.splits import Fold


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FoldData:
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    return tiny_data(tmp_path / "tones")


def _first_batch(data: FoldData) -> Any:
    return next(iter(data.train_dataloader()))


def _probabilities(model: EmotionModel, data: FoldData, folder: Path, **options: Any) -> Any:
    quiet_trainer(folder).test(model, data, verbose=False, **options)
    return model.test_outputs.probabilities


# --- what is trained --------------------------------------------------------------------------------------------------


def _gradients(model: EmotionModel, data: FoldData) -> dict[str, Tensor | None]:
    model.train()
    loss, _ = model.objective(model(_first_batch(data)), _first_batch(data))
    loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("frozen", [True, False])
def test_every_part_that_is_trained_gets_a_gradient_and_no_other(data: FoldData, frozen: bool) -> None:
    upstream = TinyUpstream(frozen)
    model = tiny_model(upstream, frames=functools.partial(LinearReLU, dim=5), head=functools.partial(MLPHead))
    trained = {id(p) for group in model.configure_optimizers().param_groups for p in group["params"]}
    for name, gradient in _gradients(model, data).items():
        meant = not (frozen and name.startswith("upstream."))
        assert (gradient is not None) == meant, name
        assert (id(model.get_parameter(name)) in trained) == meant, name
        if gradient is not None:
            assert torch.isfinite(gradient).all() and gradient.abs().max() > 0, name
    assert upstream.training == (not frozen)


def test_stored_features_train_the_same_parameters_with_the_same_gradients(data: FoldData) -> None:
    model = tiny_model(frames=functools.partial(LinearProjection, dim=5))
    heard = {name: g.clone() for name, g in _gradients(model, data).items() if g is not None}
    model.zero_grad()
    data = another(data, features=extract_corpus(model.upstream, data.manifest))
    for name, gradient in _gradients(model, data).items():
        if gradient is not None:
            torch.testing.assert_close(gradient, heard[name], rtol=1e-4, atol=1e-6)
    assert len(heard) == sum(1 for p in model.parameters() if p.requires_grad)


def test_the_upstream_has_a_learning_rate_of_its_own() -> None:
    optimizer = tiny_model(TinyUpstream(frozen=False), upstream_lr=1e-5).configure_optimizers()
    assert {group["name"]: group["lr"] for group in optimizer.param_groups} == {"downstream": 0.01, "upstream": 1e-5}
    optimizer = tiny_model(TinyUpstream(frozen=False)).configure_optimizers()
    assert {group["lr"] for group in optimizer.param_groups} == {0.01}
    assert [group["name"] for group in tiny_model().configure_optimizers().param_groups] == ["downstream"]


def test_a_frozen_upstream_does_not_move_and_a_trained_one_does(data: FoldData, tmp_path: Path) -> None:
    for frozen in (True, False):
        model = tiny_model(TinyUpstream(frozen))
        before = {name: value.clone() for name, value in model.state_dict().items()}
        quiet_trainer(tmp_path).fit(model, data)
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert {"head.classes.weight", "layer_mix.scores"} <= moved
        assert ({"upstream.first", "upstream.second"} <= moved) == (not frozen)


def test_eight_clips_are_learnt_by_heart(data: FoldData, tmp_path: Path) -> None:
    data.source.batch_size = 8
    labels = torch.Generator().manual_seed(3)
    ids = [data.fold.train[i] for i in torch.randperm(len(data.fold.train), generator=labels)[:8].tolist()]
    data = another(data, fold=Fold("eight", tuple(ids), (), tuple(ids)))
    # Labels that have nothing to do with the tones: only memory helps.
    data.targets.label[data.rows(ids)] = [0, 1, 2, 0, 1, 2, 0, 1]
    model = tiny_model(
        TinyUpstream(feature_dim=24),
        frames=functools.partial(LinearReLU, dim=48),
        pooling=MeanStdMaxPooling,
        normalisation="global",
        optimizer=functools.partial(torch.optim.Adam, lr=0.02),
    )
    features = extract_corpus(model.upstream, data.manifest)
    data = another(data, features=features)
    model.prepare(torch.from_numpy(data.class_counts()), 0, [features[name] for name in ids])
    quiet_trainer(tmp_path, max_epochs=40).fit(model, data)
    _probabilities(model, data, tmp_path)
    assert model.test_outputs.metrics()["uar"] == 1.0


# --- what a trainer may ask -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"precision": "bf16-mixed"}, {"accumulate_grad_batches": 2}], ids=str)
def test_precision_and_accumulation(data: FoldData, tmp_path: Path, options: dict[str, Any]) -> None:
    model = tiny_model(frames=functools.partial(LinearReLU, dim=5))
    before = model.head.classes.weight.detach().clone()  # type: ignore[union-attr]
    trainer = quiet_trainer(tmp_path, max_epochs=2, **options)
    trainer.fit(model, data)
    batches = len(data.train_dataloader())
    assert trainer.global_step == 2 * -(-batches // options.get("accumulate_grad_batches", 1))
    assert not torch.equal(model.head.classes.weight, before)  # type: ignore[union-attr]
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert torch.isfinite(trainer.callback_metrics["dev/loss"])


class _Rates(Callback):
    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def _rates(data: FoldData, folder: Path, scheduler: Callable, epochs: int = 3, **options: Any) -> list[float]:
    recorder = _Rates()
    model = tiny_model(lr_scheduler=scheduler, **options)
    quiet_trainer(folder, max_epochs=epochs, callbacks=[recorder]).fit(model, data)
    return [round(rate / 0.01, 6) for rate in recorder.rates]


def test_schedulers_step_as_asked(data: FoldData, tmp_path: Path) -> None:
    halve = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    batches = len(data.train_dataloader())
    assert _rates(data, tmp_path, halve) == [1.0] * batches + [0.5] * batches + [0.25] * batches
    every_step = _rates(data, tmp_path, halve, epochs=1, lr_interval="step")
    assert every_step == [0.5**step for step in range(batches)]


def test_a_plateau_scheduler_looks_at_dev(data: FoldData, tmp_path: Path) -> None:
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau
    # With this threshold nothing counts as better, so that the rate falls behind every epoch but the first.
    impatient = functools.partial(plateau, mode="max", patience=0, factor=0.1, threshold=1e6, threshold_mode="abs")
    batches = len(data.train_dataloader())
    rates = _rates(data, tmp_path, impatient)
    assert rates == [1.0] * 2 * batches + [0.1] * batches
    loss = functools.partial(plateau, patience=9)
    assert set(_rates(data, tmp_path, loss, monitor="dev/loss")) == {1.0}


def test_a_plateau_scheduler_that_looks_the_wrong_way_or_at_nothing_is_refused(data: FoldData, tmp_path: Path) -> None:
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau
    with pytest.raises(RecipeError, match=r"mode=min .* dev/uar improves.*mode: max"):
        quiet_trainer(tmp_path).fit(tiny_model(lr_scheduler=plateau), data)
    model = tiny_model(lr_scheduler=functools.partial(plateau, mode="max"))
    with pytest.raises(RecipeError, match=r"no dev part"):
        quiet_trainer(tmp_path, limit_val_batches=0).fit(model, data)


def test_the_dev_part_is_scored_as_a_whole(data: FoldData, tmp_path: Path) -> None:
    def uar(size: int) -> tuple[float, float]:
        data.eval_batch_size = size
        model = tiny_model()
        (found,) = quiet_trainer(tmp_path).validate(model, data, verbose=False)
        return found["dev/uar"], found["dev/loss"]

    assert uar(1) == pytest.approx(uar(64), abs=1e-6)


def test_a_loss_that_is_no_number_names_the_utterances(data: FoldData, tmp_path: Path) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.head.classes.bias[1] = torch.nan  # type: ignore[union-attr, index]
    first = _first_batch(data).ids
    with pytest.raises(TrainingError, match=rf"nan in epoch 0, step 0 \(utterances {', '.join(first[:3])}"):
        quiet_trainer(tmp_path).fit(model, data)


def test_the_same_seed_gives_the_same_weights_whatever_happened_before(data: FoldData, tmp_path: Path) -> None:
    def weights(seed: int) -> Tensor:
        model = tiny_model(head=functools.partial(LinearHead, dropout=0.5))
        model.prepare(torch.from_numpy(data.class_counts()), seed)
        torch.rand(seed * 10 + 3)
        quiet_trainer(tmp_path).fit(model, data)
        return model.head.classes.weight.detach()  # type: ignore[union-attr, return-value]

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_a_resumed_run_ends_where_the_uninterrupted_one_does(data: FoldData, tmp_path: Path) -> None:
    def fit(epochs: int, checkpoint: Path | None = None) -> EmotionModel:
        model = tiny_model(
            head=functools.partial(LinearHead, dropout=0.5),
            lr_scheduler=functools.partial(torch.optim.lr_scheduler.StepLR, step_size=2),
        )
        keeper = ModelCheckpoint(tmp_path, filename=f"{epochs}", monitor="dev/uar", mode="max", save_last=True)
        trainer = quiet_trainer(
            tmp_path, max_epochs=epochs, callbacks=[keeper], enable_checkpointing=True, accumulate_grad_batches=2
        )
        trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
        return model

    whole = fit(4).state_dict()
    (tmp_path / "last.ckpt").unlink()
    fit(2)
    torch.rand(17)
    resumed = fit(4, tmp_path / "last.ckpt").state_dict()
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)


# --- checkpoints ------------------------------------------------------------------------------------------------------


def _checkpoint(model: EmotionModel, data: FoldData, folder: Path) -> Path:
    trainer = quiet_trainer(folder)
    trainer.fit(model, data)
    trainer.save_checkpoint(folder / "model.ckpt")
    return folder / "model.ckpt"


@pytest.mark.parametrize("frozen", [True, False])
def test_a_checkpoint_predicts_what_the_model_did(data: FoldData, tmp_path: Path, frozen: bool) -> None:
    model = tiny_model(TinyUpstream(frozen), normalisation="global" if frozen else "none")
    if frozen:
        features = extract_corpus(model.upstream, data.manifest)
        model.prepare(torch.from_numpy(data.class_counts()), 0, [features[name] for name in data.training_ids])
    path = _checkpoint(model, data, tmp_path)
    stored = torch.load(path, weights_only=True)
    assert stored["classes"] == list(CLASSES)
    # A frozen upstream is known by its fingerprint, its weights would only fill the disk.
    assert any(name.startswith("upstream.") for name in stored["state_dict"]) == (not frozen)
    assert (stored["upstream_fingerprint"] is None) == (not frozen)
    expected = _probabilities(model, data, tmp_path)
    fresh = tiny_model(TinyUpstream(frozen), seed=5, normalisation="global" if frozen else "none")
    assert abs(_probabilities(fresh, data, tmp_path) - expected).max() > 1e-3
    again = _probabilities(fresh, data, tmp_path, ckpt_path=path, weights_only=True)
    assert abs(again - expected).max() == 0


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: tiny_model(classes=CLASSES[::-1]), r"class order \['angry', 'neutral', 'sad'\].*misnamed"),
        (lambda: tiny_model(TinyUpstream(seed=1)), r"trained on upstream TinyUpstream\|.*train again"),
        # Loaded into a frozen upstream, tuned weights would be dropped without a word, and the other way round.
        (lambda: tiny_model(TinyUpstream(frozen=False)), r"with a frozen upstream, this model's is fine-tuned"),
    ],
    ids=["classes", "upstream", "tuned"],
)
def test_checkpoints_of_another_model_are_refused(
    data: FoldData, tmp_path: Path, model: Callable[[], EmotionModel], message: str
) -> None:
    path = _checkpoint(tiny_model(), data, tmp_path)
    with pytest.raises(CheckpointError, match=message):
        _probabilities(model(), data, tmp_path, ckpt_path=path, weights_only=True)


def test_a_tuned_checkpoint_is_refused_by_a_frozen_model(data: FoldData, tmp_path: Path) -> None:
    path = _checkpoint(tiny_model(TinyUpstream(frozen=False)), data, tmp_path)
    with pytest.raises(CheckpointError, match="with a fine-tuned upstream, this model's is frozen"):
        _probabilities(tiny_model(), data, tmp_path, ckpt_path=path, weights_only=True)


# --- what does not fit together ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"upstream": TinyUpstream(frozen=False), "normalisation": "global"}, "normalisation=global .* frozen"),
        ({"normalisation": "embedding"}, "without parameters .* found WeightedSum, NoFrameStage, MeanPooling"),
        ({"head": RegressionHead}, "CrossEntropy needs logits, but head RegressionHead gives dimensions"),
        ({"objective": ConcordanceLoss}, "ConcordanceLoss needs dimensions, but head LinearHead gives logits"),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_training(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        tiny_model(**options)


def test_statistics_need_stored_features(data: FoldData) -> None:
    for options in ({"normalisation": "global"}, {"normalisation": "embedding", "layer_mix": ConcatenateLayers}):
        with pytest.raises(RecipeError, match="needs stored features"):
            tiny_model(**options).prepare(torch.ones(3), 0)


def test_class_counts_reach_the_objective(data: FoldData) -> None:
    model = tiny_model(objective=functools.partial(CrossEntropy, class_weights="balanced"))
    model.prepare(torch.tensor([1, 2, 3]), 0)
    assert model.objective.class_counts.tolist() == [1, 2, 3]
    assert model.state_dict()["objective.class_counts"].tolist() == [1, 2, 3]


def test_only_parts_without_parameters_make_a_fixed_embedding() -> None:
    assert tiny_model(layer_mix=ConcatenateLayers).fixed_embedding
    assert not tiny_model(TinyUpstream(frozen=False), layer_mix=ConcatenateLayers).fixed_embedding
    assert not tiny_model().fixed_embedding
    assert not tiny_model(layer_mix=ConcatenateLayers, frames=LinearProjection).fixed_embedding


def test_a_multi_task_model_reports_both_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    corpus = Tones.write(tmp_path / "tones")
    corpus._rows = [replace(row, valence=float(number % 5), arousal=1.0) for number, row in enumerate(corpus._rows)]
    corpus.dimension_range = (0.0, 4.0)
    data = tiny_data(tmp_path / "tones", corpus)
    model = tiny_model(head=MultiTaskHead, objective=CrossEntropyConcordance)
    _probabilities(model, data, tmp_path)
    outputs = model.test_outputs
    assert outputs.dimensions is not None and outputs.dimensions.shape == (6, 3)
    # Arousal never moves and dominance is unknown: a CCC of 0 and none at all.
    assert {"uar", "ccc", "ccc_valence", "ccc_arousal"} <= set(outputs.metrics())
    assert outputs.metrics()["ccc_arousal"] == 0
    assert "ccc_dominance" not in outputs.metrics()


def test_a_regularised_head_is_solved_through_the_trainer(data: FoldData, tmp_path: Path) -> None:
    data.source.batch_size = 99
    model = tiny_model(
        layer_mix=ConcatenateLayers,
        pooling=MeanStdMaxPooling,
        normalisation="embedding",
        optimizer=functools.partial(RegularisedLBFGS, weight_decay=1e-2),
    )
    features = extract_corpus(model.upstream, data.manifest)
    vectors = {name: model.vector(frames) for name, frames in features.items()}
    training = torch.stack([vectors[name] for name in data.training_ids])
    model.prepare(torch.from_numpy(data.class_counts()), 0, None, lambda: training)
    data = another(data, features={name: model.normalised(vector[None])[0] for name, vector in vectors.items()})
    quiet_trainer(tmp_path).fit(model, data)
    loss = model.objective(model(_first_batch(data)), _first_batch(data))[0]
    weight = model.head.classes.weight  # type: ignore[union-attr]
    (slope,) = torch.autograd.grad(loss + 0.005 * weight.square().sum(), weight)  # type: ignore[operator, arg-type]
    assert slope.abs().max() < 1e-4


def test_a_batch_dependent_pooling_is_computed_in_every_batch() -> None:
    exact, dependent = (
        tiny_model(layer_mix=ConcatenateLayers, pooling=part) for part in (MeanPooling, UnmaskedMeanPooling)
    )
    assert exact.fixed_embedding
    assert not dependent.fixed_embedding, "one vector kept for all batches would hide what the peers' padding does"
