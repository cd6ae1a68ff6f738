"""Several upstreams, conditions, fitted heads and heads that judge frames, each through a whole experiment."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mini_recipe import MINI_RECIPE
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor

from ser_toolkit import load_model
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.errors import RecipeError
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.features.extract import extract_corpus
from ser_toolkit.upstreams.spectral import Spectral

pytestmark = pytest.mark.usefixtures("no_pictures")

UPSTREAMS = {
    "class_path": "FusedUpstreams",
    "init_args": {
        "upstreams": [
            {"class_path": "Spectral", "init_args": {"features": "prosody", "hop_ms": 20}},
            {"class_path": "Spectral", "init_args": {"num_mels": 8, "num_mfcc": 8}},
        ]
    },
}
FUSED = f"model.upstream={json.dumps(UPSTREAMS)}"
BOTH_LEVELS = '[Plain,Transductive,{"class_path":"Transductive","init_args":{"level":"utterance"}}]'
PLACE = "fold=spk02/seed=0"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, mini_cache: Path) -> Any:
    """An empty working directory with ``mini.yaml``, for runs that several tests look at."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SER_CACHE", str(mini_cache))
        (folder / "mini.yaml").write_text(MINI_RECIPE, encoding="utf-8")
        yield folder


def run(*overrides: str) -> Path:
    """One fold of the mini recipe; returns the run directory."""
    return Experiment(load_recipe("mini.yaml", "fold=2", "baselines=[]", "output=runs", *overrides)).run().resolve()


def data() -> FoldData:
    return load_recipe("mini.yaml").build(fold=2)[1]


def stored(unit: Path) -> tuple[list[str], np.ndarray]:
    """Ids and probabilities (N, C) of the test part, as the run left them."""
    table = pd.read_parquet(unit / "predictions.parquet")
    return table["id"].tolist(), table[["probability/angry", "probability/sad"]].to_numpy()


def from_recordings(folder: Path, ids: list[str], variant: str = "plain", **known: str) -> np.ndarray:
    """Probabilities (N, C) of the recordings as ser-predict computes them; enrolled with the speaker's own."""
    table = data().manifest.table.set_index("id")
    paths = [data().manifest.root / table.loc[name, "path"] for name in ids]  # type: ignore[operator]
    model = load_model(folder, variant=variant)
    if variant != "plain":
        speaker = table[table["speaker"] == table.loc[ids[0], "speaker"]]
        model = model.enrol([data().manifest.root / path for path in speaker["path"]])
    if known:
        model = model.condition(known)
    return np.array([list((p.probabilities or {}).values()) for _, p in model.predict_many(paths)])


# --- fusion --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fused_run(shared: Path) -> tuple[Path, list[str]]:
    """A late fusion in three variants, and which features it extracted, behind a run of one of its upstreams alone."""
    heard: list[str] = []
    extract = Spectral.extract

    def counted(self: Spectral, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        heard.extend(self.features * len(wav))
        return extract(self, wav, lengths)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SER_CACHE", str(shared / "cache"))
        run("name=alone")
        patch.setattr(Spectral, "extract", counted)
        folder = run(FUSED, "model.fusion=LateFusion", "model.pooling=MeanStdMaxPooling", f"variants={BOTH_LEVELS}")
    return folder, heard


def test_a_fused_run_extracts_only_what_no_single_run_has_stored(fused_run: tuple[Path, list[str]]) -> None:
    assert fused_run[1] == ["prosody"] * 24, "mels were stored by the run of that upstream alone"


@pytest.mark.parametrize("variant", ["plain", "transductive", "transductive-utterance"])
def test_recordings_get_what_the_run_said_from_stored_features(fused_run: tuple[Path, list[str]], variant: str) -> None:
    folder = fused_run[0]
    ids, expected = stored(folder / variant / PLACE)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(from_recordings(folder, ids, variant), expected, atol=2e-5)


def test_variants_of_a_fusion_differ_and_normalise_each_upstream(fused_run: tuple[Path, list[str]]) -> None:
    found = [stored(fused_run[0] / name / PLACE)[1] for name in ("plain", "transductive", "transductive-utterance")]
    assert np.abs(found[0] - found[1]).max() > 1e-3
    assert np.abs(found[1] - found[2]).max() > 1e-3


def test_early_fusion_with_global_normalisation_trains_and_predicts(shared: Path) -> None:
    folder = run(FUSED, "model.normalisation=global")
    weights = load_file(folder / "plain" / PLACE / "checkpoints" / "model.safetensors")
    assert {"normalisation.0.mean", "normalisation.1.std"} <= set(weights)
    assert not torch.equal(weights["normalisation.0.mean"], torch.zeros_like(weights["normalisation.0.mean"]))
    ids, expected = stored(folder / "plain" / PLACE)
    np.testing.assert_allclose(from_recordings(folder, ids), expected, atol=2e-5)


def test_waveforms_train_a_fusion_too(shared: Path) -> None:
    unit = run(FUSED, "data.train_crop_seconds=0.6", "trainer.max_epochs=1") / "plain" / PLACE
    assert len(stored(unit)[0]) == 6


def test_what_does_not_fit_together_is_said_in_one_line(shared: Path) -> None:
    with pytest.raises(RecipeError, match="poolings lists 3, but there are 2 upstreams"):
        run(FUSED, "model.fusion=LateFusion", "model.fusion.poolings=[MeanPooling,MeanPooling,MeanPooling]")
    with pytest.raises(RecipeError, match="list two or more, found Spectral"):
        one = {"class_path": "FusedUpstreams", "init_args": {"upstreams": ["Spectral"]}}
        run(f"model.upstream={json.dumps(one)}")
    with pytest.raises(RecipeError, match="FrameLevelHead judges frames"):
        run(FUSED, "model.fusion=LateFusion", "model.pooling=MeanPooling", "model.head=FrameLevelHead")


def test_each_setting_of_fusion_conditioning_and_stages_makes_another_run() -> None:
    changed = [
        "model.fusion=LateFusion",
        "model.conditioning=ConcatenateCondition",
        'tuning=["trainer.max_epochs=1"]',
    ]
    assert len({load_recipe("demo", *one).hash("m", "f") for one in ([], *([this] for this in changed))}) == 4


# --- heads -----------------------------------------------------------------------------------------------------------


def vectors(ids: list[str]) -> np.ndarray:
    """Mean log-mel frames (N, D) of the mini corpus, float64."""
    frames = extract_corpus(Spectral(num_mels=8, num_mfcc=8), data().manifest)
    return np.stack([frames[name][0].double().mean(dim=0).numpy() for name in ids])


def labels(ids: list[str] | tuple[str, ...]) -> np.ndarray:
    table = data().manifest.table.set_index("id")
    return (table.loc[list(ids), "label"] == "sad").to_numpy(dtype=int)


FITTED = ("model.pooling=MeanPooling", "trainer.max_epochs=1")
HEADS = {
    "LogisticRegressionHead": lambda c: LogisticRegression(C=c, class_weight="balanced", max_iter=10_000, tol=1e-8),
    "LinearSVM": lambda c: LinearSVC(C=c, class_weight="balanced", max_iter=10_000, random_state=0),
}


def fitted_by_hand(head: str, c: float, train: list[str], test: list[str]) -> np.ndarray:
    """Probability of the second class (N,): softmax of scikit-learn's two-sided decision values."""
    scaler = StandardScaler().fit(vectors(train))
    machine = HEADS[head](c).fit(scaler.transform(vectors(train)), labels(train))
    if head == "LogisticRegressionHead":
        return machine.predict_proba(scaler.transform(vectors(test)))[:, 1]
    decision = machine.decision_function(scaler.transform(vectors(test)))
    return 1 / (1 + np.exp(-2 * decision))


@pytest.mark.parametrize("head", HEADS)
def test_a_fitted_head_is_scikit_learn_with_c_chosen_inside_the_fold(shared: Path, head: str) -> None:
    costs = (0.001, 0.1)
    candidates = json.dumps([f"model.head.C={c}" for c in costs])
    balanced = () if head == "LinearSVM" else ("model.head.class_weights=balanced",)
    folder = run(*FITTED, f"model.head={head}", *balanced, f"selection.candidates={candidates}", "selection.refit=true")
    unit, fold = folder / "plain" / PLACE, data().fold
    chosen = json.loads((unit / "chosen.json").read_text())
    for c, trial in zip(costs, chosen["trials"], strict=True):
        predicted = fitted_by_hand(head, c, list(fold.train), list(fold.dev)) > 0.5
        truth = labels(fold.dev) == 1
        recalls = [(predicted == truth)[truth == one].mean() for one in (False, True)]
        assert trial["dev/uar"] == pytest.approx(np.mean(recalls))
    ids, expected = stored(unit)
    c = float(chosen["chosen"].split("=")[1])
    by_hand = fitted_by_hand(head, c, [*fold.train, *fold.dev], ids)
    np.testing.assert_allclose(expected[:, 1], by_hand, atol=1e-4)
    np.testing.assert_allclose(from_recordings(folder, ids), expected, atol=1e-4)
    refit = json.loads((unit / "refit.json").read_text())
    assert refit["training_utterances"] == len(fold.train) + len(fold.dev)


def test_fitted_heads_hear_fused_vectors(shared: Path) -> None:
    folder = run(FUSED, "model.fusion=LateFusion", *FITTED, "model.head=LinearSVM")
    weights = load_file(folder / "plain" / PLACE / "checkpoints" / "model.safetensors")
    assert weights["head.weight"].shape == (1, 6 + 8)
    ids, expected = stored(folder / "plain" / PLACE)
    np.testing.assert_allclose(from_recordings(folder, ids), expected, atol=1e-4)


def test_nothing_before_a_fitted_head_may_learn(shared: Path) -> None:
    with pytest.raises(RecipeError, match=r"LinearSVM is fitted at once.*found SingleLayer, NoFrameStage, Attentive"):
        run("model.head=LinearSVM")
    with pytest.raises(RecipeError, match=r"LinearSVM is fitted at once.*a frozen upstream"):
        run("model.head=LinearSVM", "model.pooling=MeanPooling", *tiny_tuned(shared))
    with pytest.raises(RecipeError, match="LinearSVM is fitted at once"):
        run("model.head=LinearSVM", "model.pooling=MeanPooling", "model.conditioning=ConcatenateCondition")


def tiny_tuned(folder: Path) -> list[str]:
    """Overrides of a small random wav2vec 2.0 that is fine-tuned."""
    spec = importlib.util.spec_from_file_location(
        "tiny_models", Path(__file__).parents[1] / "upstreams" / "tiny_models.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    name = module.save_tiny("wav2vec2", folder / "tiny", "layer")
    return ["model.upstream=HuggingFaceUpstream", f"model.upstream.name={name}", "model.upstream.frozen=false"]


@pytest.mark.parametrize("upstream", [[], [FUSED]], ids=["single", "fused"])
def test_a_head_that_judges_frames_learns_from_each_of_them(shared: Path, upstream: list[str]) -> None:
    settings = ["model.pooling=MeanPooling", "model.head=FrameLevelHead", "model.layer_mix=WeightedSum"]
    folder = run(*upstream, *settings, "model.objective=FrameCrossEntropy")
    ids, expected = stored(folder / "plain" / PLACE)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(from_recordings(folder, ids), expected, atol=2e-5)
    whole = run(*upstream, *settings, "model.objective=CrossEntropy")
    assert np.abs(stored(whole / "plain" / PLACE)[1] - expected).max() > 1e-4
