"""What is kept and why, from recipes alone: obstacles, candidates, variants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_corpus import TinyUpstream, Tones, tiny_model

from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.data.reduction import Reduction
from ser_toolkit.downstream.classical import LinearSVM
from ser_toolkit.downstream.layers import SingleLayer, WeightedSum
from ser_toolkit.downstream.pooling import MeanPooling, StatisticsPooling
from ser_toolkit.errors import RecipeError
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.features.settings import FeatureSettings
from ser_toolkit.features.variants import Enrolment, Plain, Transductive, Variant
from ser_toolkit.model.feature_plan import changes_parts, check_stored, reductions, why_not_stored
from ser_toolkit.protocols.splits import LeaveOneSpeakerOut
from ser_toolkit.upstreams.base import Upstream

AUTO = FeatureSettings()


def kept(model: Any, *variants: Any, searched: Any = (), settings: FeatureSettings = AUTO) -> Reduction:
    (found,) = reductions(model.network, [Plain(), *variants], settings, searched)
    return found


# --- why nothing is kept ----------------------------------------------------------------------------------------------

CROP = "data.train_crop_seconds cuts recordings anew in every epoch"
WINDOW = "data.eval_window_seconds cuts recordings into windows"


class Peer(TinyUpstream):
    @property
    def batch_dependent(self) -> str:
        return "padding=peer lets utterances change each other"


#: Options of the data, upstream, settings -> what is said.
OBSTACLES: dict[str, tuple[dict[str, Any], Any, FeatureSettings, str | None]] = {
    "nothing": ({}, TinyUpstream, AUTO, None),
    "crop": ({"train_crop_seconds": 0.2}, TinyUpstream, AUTO, CROP),
    "window": ({"eval_window_seconds": 0.2}, TinyUpstream, AUTO, WINDOW),
    "keep": ({}, TinyUpstream, FeatureSettings(keep="none"), "features.keep=none"),
    "fine-tuned": ({}, lambda: TinyUpstream(frozen=False), AUTO, "the upstream is fine-tuned"),
    "peer": ({}, Peer, AUTO, "padding=peer lets utterances change each other"),
}


def data(**options: Any) -> CorpusData:
    """A ``CorpusData`` whose corpus nobody looks at."""
    return CorpusData(Tones([]), LeaveOneSpeakerOut(), **options)


@pytest.mark.parametrize("name", OBSTACLES)
def test_whatever_makes_features_depend_on_more_than_the_recording_is_named(name: str) -> None:
    options, upstream, settings, reason = OBSTACLES[name]
    assert why_not_stored(tiny_model(upstream()).network, data(**options), settings) == reason


UTTERANCE = Transductive(level="utterance")
NEEDS: dict[str, tuple[dict[str, Any], list[Variant], str]] = {
    "variant": ({}, [Plain(), Transductive()], "variant transductive: "),
    "variant of vectors": ({"layer_mix": SingleLayer}, [UTTERANCE], "variant transductive-utterance: "),
    "global": ({"normalisation": "global"}, [Plain()], "model.normalisation: "),
    "embedding": ({"normalisation": "embedding", "layer_mix": SingleLayer}, [Plain()], "model.normalisation: "),
    "fitted": ({"head": LinearSVM, "layer_mix": SingleLayer}, [Plain()], "model.head=LinearSVM: "),
}


@pytest.mark.parametrize("name", ["crop", "window", "keep", "peer"])
@pytest.mark.parametrize("need", NEEDS)
def test_whatever_works_on_features_is_refused_in_one_line_where_none_are_kept(name: str, need: str) -> None:
    options, upstream, settings, reason = OBSTACLES[name]
    parts, variants, named = NEEDS[need]
    with pytest.raises(RecipeError, match=rf"^{named}this works on stored features, but none are kept: ") as caught:
        check_stored(tiny_model(upstream(), **parts).network, data(**options), settings, variants)
    assert f"none are kept: {reason}. " in str(caught.value)
    assert "\n" not in str(caught.value)
    check_stored(tiny_model(TinyUpstream(), **parts).network, data(), AUTO, variants)


def test_variants_of_a_fine_tuned_upstream_are_standardised_on_its_own_features() -> None:
    check_stored(
        tiny_model(TinyUpstream(frozen=False)).network, data(train_crop_seconds=0.1), AUTO, [Plain(), Transductive()]
    )


def test_a_recipe_is_refused_before_anything_is_made(mini: Path) -> None:
    overrides = ("variants=[Plain,Transductive]", "fold=2", "baselines=[]", "data.train_crop_seconds=0.2")
    experiment = Experiment(load_recipe("mini.yaml", *overrides))
    with pytest.raises(RecipeError, match=rf"^variant transductive: .*{CROP}"):
        experiment.run()
    assert not (mini / "runs").exists()
    said: list[str] = []
    experiment.console.line = said.append  # type: ignore[method-assign]
    assert experiment.features() is None
    assert said == [f"features: none are kept, every step starts at the recordings: {CROP}"]


# --- how little -------------------------------------------------------------------------------------------------------


def test_the_recipe_may_ask_for_frames() -> None:
    model = tiny_model(pooling=MeanPooling)
    found = kept(model, settings=FeatureSettings(keep="frames"))
    assert found == Reduction("frames")
    assert found.reason == "features.keep=frames"


@pytest.mark.parametrize("variant", [Transductive(), Enrolment(2)], ids=lambda one: one.name)
def test_normalisation_per_speaker_needs_variances(variant: Any) -> None:
    assert kept(tiny_model(pooling=MeanPooling)) == Reduction("means")
    found = kept(tiny_model(pooling=MeanPooling), variant)
    assert found == Reduction("variances")
    assert found.reason.endswith(f"and {variant.name} standardises per speaker")
    assert kept(tiny_model(pooling=StatisticsPooling), variant) == Reduction("covariances"), "which tell variances too"
    assert kept(tiny_model(pooling=MeanPooling), Transductive(level="utterance")) == Reduction("means")


def test_one_vector_an_utterance_is_kept_as_it_is() -> None:
    class Functionals(Upstream):
        feature_dim, num_layers, hop_samples, receptive_samples = 4, 1, 0, 160

        def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
            return torch.ones_like(lengths)

        def extract(self, wav: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            raise NotImplementedError

        def fingerprint(self) -> str:
            return "functionals"

    model = tiny_model(Functionals(frozen=True), pooling=MeanPooling, normalisation="global")
    found = kept(model, Transductive(), searched=["model.pooling=MaxPooling"])
    assert found == Reduction("frames")
    assert found.reason == ""


def test_layer_norm_is_part_of_whatever_is_kept() -> None:
    def normalised(*sizes: int) -> WeightedSum:
        return WeightedSum(*sizes, layer_norm=True)

    for settings in (AUTO, FeatureSettings(keep="frames")):
        for searched in ((), ["model.pooling=MaxPooling"]):
            for variant in (Plain(), Transductive()):
                assert kept(tiny_model(layer_mix=normalised), variant, searched=searched, settings=settings).layer_norm


# --- what is tried inside the folds -----------------------------------------------------------------------------------

CHANGING = [
    "model.pooling=MaxPooling",
    "model.pooling.unbiased=true",
    "model.layer_mix.layer_norm=true",
    "model.layer_mix=SingleLayer",
    "model.frames=LinearReLU",
    "model.frames.init_args.dim=3",
    "model.normalisation=global",
    "model.fusion=LateFusion",
    "model.head=FrameLevelHead",
    "model.head.class_path=FrameLevelHead",
    "--model.pooling=MaxPooling",
    "model.optimizer.lr=0.1 model.pooling=MaxPooling",
]
NOT_CHANGING = [
    "model.optimizer.lr=0.1",
    "model.head.hidden_dim=4",
    "model.head.C=0.1",
    "model.head.init_args.dropout=0.1",
    "model.objective=FocalLoss",
    "model.lr_scheduler.frames=1",
    "trainer.max_epochs=3",
    "model.upstream.layers=[1]",
]


@pytest.mark.parametrize("override", CHANGING)
def test_parts_that_are_tried_inside_the_folds_are_served_by_frames(override: str) -> None:
    assert changes_parts(override)
    found = kept(tiny_model(pooling=MeanPooling), searched=["model.optimizer.lr=1", override])
    assert found == Reduction("frames")
    assert found.reason == f"{override} is tried inside the folds"


@pytest.mark.parametrize("override", NOT_CHANGING)
def test_settings_that_change_nothing_behind_the_upstream_do_not_keep_frames(override: str) -> None:
    assert not changes_parts(override)
    assert kept(tiny_model(pooling=MeanPooling), searched=[override]) == Reduction("means")


def test_a_space_that_is_searched_counts_like_candidates(mini: Path) -> None:
    def what(*overrides: str) -> str:
        recipe = load_recipe("mini.yaml", *overrides)
        return recipe.reductions(recipe.model(["angry", "sad"]))[0].what

    pooling = "model.pooling=MeanPooling"
    assert what(pooling) == "means"
    assert what('selection.space={"model.pooling":"[MeanPooling, MaxPooling]"}', "selection.trials=2") == "frames"
    assert what(pooling, 'selection.space={"model.optimizer.lr":"log(1e-3, 1e-1)"}', "selection.trials=2") == "means"


def test_what_is_kept_is_no_part_of_the_identity_of_a_run(mini: Path) -> None:
    def name(override: str) -> str:
        return load_recipe("mini.yaml", override).hash("m", "f")

    names = {name(f"features.{one}") for one in ("keep=auto", "keep=frames", "keep=none", "batch_seconds=3")}
    assert len(names) == 1
    assert not names & {name("features.dtype=float16"), name("features.precision=bfloat16")}


@pytest.mark.parametrize("reduced", ["features.dtype=float16", "features.precision=bfloat16"])
def test_what_is_kept_decides_what_is_rounded(mini: Path, reduced: str) -> None:
    keeps = ("auto", "frames", "none")
    assert len({load_recipe("mini.yaml", reduced, f"features.keep={keep}").hash("m", "f") for keep in keeps}) == 3
