"""What the settings of a selection do: refit, patience, averaging, no dev part; and a tuned upstream's variants."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from ser_toolkit import load_model
from ser_toolkit.config.recipe import Recipe, load_recipe
from ser_toolkit.downstream.layers import LayerMix
from ser_toolkit.errors import RecipeError, TrainingError
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.experiment.stages.sequence import Fit
from ser_toolkit.features.views import Features
from ser_toolkit.model.weights import average_states

pytestmark = pytest.mark.usefixtures("no_pictures")

FOLD = ["fold=2", "baselines=[]", "output=runs"]


def unit_of(*overrides: str, variant: str = "plain") -> Path:
    folder = Experiment(load_recipe("mini.yaml", *FOLD, *overrides)).run()
    return folder / variant / "fold=spk02" / "seed=0"


def fit_record(unit: Path, name: str = "fit.json") -> dict[str, Any]:
    return json.loads((unit / name).read_text())


def epochs_run(unit: Path, log: str = "log") -> int:
    """Epochs in the table of the training curves."""
    return int(pd.read_csv(unit / log / "metrics.csv")["epoch"].max()) + 1


@pytest.fixture
def epoch_states(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """Weights after every epoch of every fit, in order."""
    states: list[dict[str, torch.Tensor]] = []
    make = Recipe.trainer

    class Recorder(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            own = pl_module.own_state()  # type: ignore[operator]
            states.append({name: value.clone() for name, value in own.items()})

    def recorded(self: Recipe, *label: str, **extra: Any) -> pl.Trainer:
        return make(self, *label, **extra | {"callbacks": [*extra.get("callbacks", []), Recorder()]})

    monkeypatch.setattr(Recipe, "trainer", recorded)
    return states


def dev_curve(unit: Path) -> list[float]:
    return pd.read_csv(unit / "log" / "metrics.csv")["dev/uar"].dropna().tolist()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_the_best_dev_epochs_are_averaged(mini: Path, epoch_states: list[dict[str, torch.Tensor]]) -> None:
    unit = unit_of("trainer.max_epochs=6", "selection.average=3", "model.optimizer.lr=0.03")
    curve, record = dev_curve(unit), fit_record(unit)
    assert len(curve) == len(epoch_states) == 6
    assert sorted((curve[epoch] for epoch in record["epochs"]), reverse=True) == sorted(curve, reverse=True)[:3]
    assert record["averaged"] == 3
    expected = average_states([epoch_states[epoch] for epoch in record["epochs"]])
    assert same(load_file(unit / "checkpoints" / "model.safetensors"), expected)


def test_one_epoch_is_kept_as_it_is(mini: Path, epoch_states: list[dict[str, torch.Tensor]]) -> None:
    unit = unit_of("trainer.max_epochs=4", "model.optimizer.lr=0.03")
    (best,) = fit_record(unit)["epochs"]
    assert dev_curve(unit)[best] == max(dev_curve(unit))
    assert same(load_file(unit / "checkpoints" / "model.safetensors"), epoch_states[best])


def test_the_smallest_loss_may_choose(mini: Path) -> None:
    unit = unit_of("trainer.max_epochs=4", "selection.monitor=dev/loss", "selection.mode=min")
    losses = pd.read_csv(unit / "log" / "metrics.csv")["dev/loss"].dropna().tolist()
    (best,) = fit_record(unit)["epochs"]
    assert losses[best] == min(losses)


def test_patience_stops_after_that_many_epochs_without_progress(mini: Path) -> None:
    # without learning nothing ever gets better: the first epoch and two more
    unit = unit_of("trainer.max_epochs=9", "selection.patience=2", "model.optimizer.lr=0")
    assert epochs_run(unit) == 3
    assert fit_record(unit)["epochs"] == [0]


def test_without_dev_the_last_epochs_are_averaged(mini: Path, epoch_states: list[dict[str, torch.Tensor]]) -> None:
    unit = unit_of(
        "trainer.max_epochs=4", "selection.average=2", "data.protocol.dev_speakers=0", "selection.patience=1"
    )
    record = fit_record(unit)
    assert sorted(record["epochs"]) == [2, 3]
    assert record["dev"] is None
    assert record["training_utterances"] == 18
    assert same(
        load_file(unit / "checkpoints" / "model.safetensors"), average_states([epoch_states[3], epoch_states[2]])
    )


def test_refit_trains_on_dev_too_for_as_many_epochs_as_the_best_needed(
    mini: Path, epoch_states: list[dict[str, torch.Tensor]]
) -> None:
    unit = unit_of("trainer.max_epochs=5", "selection.refit=true", "model.optimizer.lr=0.03")
    first, second = fit_record(unit), fit_record(unit, "refit.json")
    (best,) = first["epochs"]
    assert (first["training_utterances"], second["training_utterances"]) == (12, 18)
    assert second["max_epochs"] == best + 1
    assert len(epoch_states) == 5 + best + 1
    assert same(load_file(unit / "checkpoints" / "model.safetensors"), epoch_states[-1])
    assert json.loads((unit / "metrics.json").read_text())["metrics"]


def test_a_refit_that_is_killed_goes_on_without_fitting_again(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ("trainer.max_epochs=5", "selection.refit=true")
    run = Fit.run

    def stopped(self: Fit, unit: Any) -> None:
        if self._refit:
            raise KeyboardInterrupt
        run(self, unit)

    monkeypatch.setattr(Fit, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        unit_of(*settings)
    monkeypatch.setattr(Fit, "run", lambda self, unit: run(self, unit) if self._refit else pytest.fail("fitted again"))
    assert fit_record(unit_of(*settings), "refit.json")["training_utterances"] == 18


def test_evaluation_windows_and_crops_train_from_waveforms(mini: Path) -> None:
    unit = unit_of("data.train_crop_seconds=0.5", "data.eval_window_seconds=0.4")
    table = pd.read_parquet(unit / "predictions.parquet")
    assert len(table) == 6, "windows of an utterance are one prediction"
    whole = pd.read_parquet(unit_of() / "predictions.parquet")
    assert (table["probability/sad"] != whole["probability/sad"]).all()


def test_a_tuned_upstream_is_trained_and_its_variants_are_fitted_on_its_features(mini: Path) -> None:
    unit = unit_of(
        "model.upstream=HuggingFaceUpstream",
        f"model.upstream.name={tiny_wav2vec2(mini)}",
        "model.upstream.frozen=false",
        "trainer.max_epochs=1",
        "data.train_crop_seconds=0.5",
        "variants=[Plain,Transductive]",
    )
    weights = load_file(unit / "checkpoints" / "model.safetensors")
    assert any(name.startswith("upstream.") for name in weights), "the tuned upstream is part of the result"
    other = Path(str(unit).replace("/plain/", "/transductive/"))
    normalised = load_file(other / "checkpoints" / "model.safetensors")
    assert not same(
        {n: v for n, v in weights.items() if n.startswith("head.")},
        {n: v for n, v in normalised.items() if n.startswith("head.")},
    )
    tuned = {name for name in normalised if name.startswith("upstream.")}
    assert all(torch.equal(weights[name], normalised[name]) for name in tuned), "only the downstream is fitted again"
    assert len(pd.read_parquet(other / "predictions.parquet")) == 6


def tiny_wav2vec2(folder: Path) -> Path:
    """A random wav2vec 2.0 of a few thousand parameters, saved as a hub folder would be."""
    spec = importlib.util.spec_from_file_location(
        "tiny_models", Path(__file__).parents[1] / "upstreams" / "tiny_models.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.save_tiny("wav2vec2", folder / "tiny", "layer")


CANDIDATES = ("model.optimizer.lr=1e-6", "model.optimizer.lr=0.05", "model.optimizer.lr=0.01 model.head.hidden_dim=4")


def candidates(*overrides: str) -> str:
    return f"selection.candidates={json.dumps(overrides)}"


def test_the_best_candidate_on_dev_is_taken_in_the_fold(mini: Path) -> None:
    alone = {one: unit_of(*one.split(), "name=alone") for one in CANDIDATES}
    dev = {one: fit_record(unit)["dev"]["dev/uar"] for one, unit in alone.items()}
    best = max(dev, key=lambda one: (dev[one], -CANDIDATES.index(one)))
    unit = unit_of(candidates(*CANDIDATES))
    trials = [{"overrides": overrides, "dev/uar": score} for overrides, score in dev.items()]
    assert fit_record(unit, "chosen.json") == {"chosen": best, "trials": trials}
    assert not (unit / "candidates").exists()
    mine, theirs = (load_file(one / "checkpoints" / "model.safetensors") for one in (unit, alone[best]))
    assert same(mine, theirs)
    assert (unit / "log" / "metrics.csv").read_text() == (alone[best] / "log" / "metrics.csv").read_text()
    # what lies beside the weights is the chosen configuration, so that they load
    assert load_model(unit).classes == ("angry", "sad")
    predictions = [pd.read_parquet(one / "predictions.parquet") for one in (unit, alone[best])]
    pd.testing.assert_frame_equal(*predictions)


def test_a_refit_uses_the_candidate_that_was_chosen(mini: Path) -> None:
    unit = unit_of(candidates(CANDIDATES[2]), "selection.refit=true")
    assert load_file(unit / "checkpoints" / "model.safetensors")["head.classes.weight"].shape[1] == 4
    assert fit_record(unit, "refit.json")["training_utterances"] > fit_record(unit)["training_utterances"]


def test_a_killed_choice_does_not_fit_its_complete_candidates_again(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, fitted = Fit.run, []

    def stop_at_the_third(self: Fit, unit: Any) -> None:
        if len(fitted) == 2:
            fitted.append("killed")
            raise KeyboardInterrupt
        fitted.append(unit.folder.name)
        run(self, unit)

    monkeypatch.setattr(Fit, "run", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        unit_of(candidates(*CANDIDATES))
    unit_of(candidates(*CANDIDATES))
    assert fitted == ["0", "1", "killed", "2"]


def test_candidates_need_a_dev_part_and_leave_data_alone(mini: Path) -> None:
    with pytest.raises(RecipeError, match="compared on dev"):
        unit_of(candidates(CANDIDATES[0]), "data.protocol.dev_speakers=0")
    with pytest.raises(RecipeError, match="cannot be chosen inside a fold"):
        unit_of(candidates("data.batch_size=2"))


def test_settings_that_diverge_are_the_worst_and_do_not_end_the_search(mini: Path) -> None:
    # nothing survives a step of that length
    unit = unit_of(candidates("model.optimizer.lr=1e30", "model.optimizer.lr=0.01"), "trainer.max_epochs=3")
    record = fit_record(unit, "chosen.json")
    assert record["chosen"] == "model.optimizer.lr=0.01"
    assert record["trials"][0] == {"overrides": "model.optimizer.lr=1e30", "dev/uar": None}
    with pytest.raises(TrainingError, match=r"None of 1 settings can be trained.*The loss is"):
        unit_of(candidates("model.optimizer.lr=1e30"), "trainer.max_epochs=3")


def test_a_candidate_may_be_another_frozen_upstream(mini: Path) -> None:
    widths = ("model.upstream.num_mels=4", "model.upstream.num_mels=12")
    alone = {one: unit_of(one, "name=alone") for one in widths}
    dev = {one: fit_record(unit)["dev"]["dev/uar"] for one, unit in alone.items()}
    unit = unit_of(candidates(*widths), "selection.refit=true")
    chosen = fit_record(unit, "chosen.json")
    assert chosen["trials"] == [{"overrides": one, "dev/uar": dev[one]} for one in widths]
    bands = int(chosen["chosen"].split("=")[1])
    weights = load_file(unit / "checkpoints" / "model.safetensors")
    assert next(v for n, v in weights.items() if n.startswith("head.") and v.ndim == 2).shape[1] % bands == 0
    assert load_model(unit).classes == ("angry", "sad")


def test_stored_frames_are_not_read_before_they_are_needed(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    get = Features.__getitem__
    monkeypatch.setattr(Features, "__getitem__", lambda self, name: read.append(name) or get(self, name))

    class FitBeganError(Exception):
        pass

    def stop(*_: Any, **__: Any) -> None:
        raise FitBeganError

    monkeypatch.setattr(pl.Trainer, "fit", stop)
    with pytest.raises(FitBeganError):
        unit_of("variants=[Plain]")
    assert len(read) <= 1, "one tells how large a batch is"
    read.clear()
    with pytest.raises(FitBeganError):
        unit_of("variants=[Plain]", "model.normalisation=global")
    assert len(read) <= 13 and len(set(read)) == 12, "the training part, once"


TUNED = ("model.upstream=HuggingFaceUpstream", "model.upstream.frozen=false", "trainer.max_epochs=1")


def test_the_rate_of_a_tuned_upstream_may_be_chosen(mini: Path) -> None:
    rates = ("model.upstream_lr=1e-5", "model.upstream_lr=1e-3")
    unit = unit_of(*TUNED, f"model.upstream.name={tiny_wav2vec2(mini)}", candidates(*rates))
    assert fit_record(unit, "chosen.json")["chosen"] in rates


def test_features_of_other_weights_are_refused(mini: Path) -> None:
    random = ["model.upstream=HuggingFaceUpstream", "model.upstream.random_init=true", "trainer.max_epochs=1"]
    with pytest.raises(RecipeError, match="random weights depend on the seed"):
        unit_of(*random, f"model.upstream.name={tiny_wav2vec2(mini)}", "seeds=2")
    assert unit_of(*random, f"model.upstream.name={tiny_wav2vec2(mini)}", "seed=1").with_name("seed=1").is_dir()


class LastLayer(LayerMix):
    """A layer mix of somebody's own, which knows no layer_norm."""

    def __init__(self, num_layers: int, feature_dim: int) -> None:
        super().__init__(num_layers, feature_dim)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return frames[:, -1]


def test_a_layer_mix_that_drops_layer_norm_does_not_get_normalised_features(mini: Path) -> None:
    settings = ["model.layer_mix=WeightedSum", "model.layer_mix.layer_norm=true", "tuning=[trainer.max_epochs=1]"]
    name = f"model.upstream.name={tiny_wav2vec2(mini)}"
    with pytest.raises(RecipeError, match="layer_norm of the layer mix is another one"):
        unit_of(*TUNED, name, *settings, candidates("model.layer_mix=LastLayer"))


def test_a_variant_takes_the_tuned_upstream_whatever_parts_the_plain_unit_chose(mini: Path) -> None:
    unit = unit_of(
        *TUNED,
        f"model.upstream.name={tiny_wav2vec2(mini)}",
        "variants=[Plain,Transductive]",
        candidates("model.head.hidden_dim=5"),
    )
    other = Path(str(unit).replace("/plain/", "/transductive/"))
    weights, normalised = (load_file(one / "checkpoints" / "model.safetensors") for one in (unit, other))
    tuned = [name for name in normalised if name.startswith("upstream.")]
    assert tuned
    assert all(torch.equal(weights[name], normalised[name]) for name in tuned)


def test_a_normalised_variant_refuses_a_candidate_without_stored_features(mini: Path) -> None:
    name = f"model.upstream.name={tiny_wav2vec2(mini)}"
    with pytest.raises(RecipeError, match="normalises the features of a frozen one"):
        unit_of(TUNED[0], name, "variants=[Transductive]", candidates("model.upstream.frozen=false"))


@pytest.mark.parametrize("head", ["MLPHead", "LinearSVM"])
def test_a_monitor_that_the_head_does_not_give_is_refused(mini: Path, head: str) -> None:
    settings = [f"model.head={head}", "model.pooling=MeanPooling", "selection.monitor=dev/ccc"]
    with pytest.raises(RecipeError, match="dev/ccc is not measured"):
        unit_of(*settings, candidates("model.head.C=1") if head == "LinearSVM" else "seed=0")


def test_a_trial_of_other_settings_is_not_taken_for_this_one(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, fitted = Fit.run, []

    def stop_at_the_second(self: Fit, unit: Any) -> None:
        if len(fitted) == 1:
            fitted.append("killed")
            raise KeyboardInterrupt
        run(self, unit)
        fitted.append(unit.folder.name)

    monkeypatch.setattr(Fit, "run", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        unit_of(candidates(*CANDIDATES))
    [note] = Path("runs").rglob("candidates/0/overrides.txt")
    assert note.read_text() == CANDIDATES[0]
    note.write_text("model.optimizer.lr=9")  # as another version of Optuna might have drawn
    unit_of(candidates(*CANDIDATES))
    assert fitted == ["0", "killed", "0", "1", "2"]


def test_a_kill_behind_the_metrics_leaves_no_features_for_ever(mini: Path) -> None:
    unit = unit_of()
    (unit / "features").mkdir()
    unit_of()
    assert not (unit / "features").exists()
