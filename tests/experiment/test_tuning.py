"""Two stages: upstreams fine-tuned inside the fold, then other parts trained on the tuned upstreams' features."""

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
from torch import Tensor

from ser_toolkit import load_model
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.errors import RecipeError
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.experiment.stages.sequence import Fit, Score
from ser_toolkit.experiment.stages.tune import first_stages
from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream

pytestmark = pytest.mark.usefixtures("no_pictures")

TUNING = "tuning=[model.frames=NoFrameStage model.pooling=MeanPooling,trainer.max_epochs=1]"
SMALL = [
    "data.corpus.num_speakers=3",
    "data.corpus.utterances_per_class=2",
    "fold=2",
    "baselines=[]",
    "model.upstream_lr=1e-3",
    "model.head=LinearHead",
    "trainer.max_epochs=1",
]
PLACE = "fold=spk02/seed=0"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, mini_cache: Path) -> Any:
    """A working directory with ``mini.yaml`` and two random upstreams in it."""
    folder = tmp_path_factory.mktemp("tuning")
    spec = importlib.util.spec_from_file_location(
        "tiny_models", Path(__file__).parents[1] / "upstreams" / "tiny_models.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.save_tiny("wav2vec2", folder / "wav2vec2", "layer")
    module.save_tiny("hubert", folder / "hubert", "group")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SER_CACHE", str(mini_cache))
        (folder / "mini.yaml").write_text(MINI_RECIPE, encoding="utf-8")
        yield folder


def part(name: str) -> dict[str, Any]:
    """A random upstream that is fine-tuned, as a recipe writes it."""
    return {"class_path": "HuggingFaceUpstream", "init_args": {"name": str(Path(name).resolve()), "frozen": False}}


def single() -> str:
    return f"model.upstream={json.dumps(part('wav2vec2'))}"


def pair() -> str:
    upstreams = {"upstreams": [part("wav2vec2"), part("hubert")]}
    return f"model.upstream={json.dumps({'class_path': 'FusedUpstreams', 'init_args': upstreams})}"


def run(*overrides: str, output: str = "runs") -> Path:
    """One fold of the mini recipe in two stages; returns the run directory."""
    return Experiment(load_recipe("mini.yaml", *SMALL, f"output={output}", TUNING, *overrides)).run()


def weights(unit: Path) -> dict[str, Tensor]:
    return load_file(unit / "checkpoints" / "model.safetensors")


def upstream_of(state: dict[str, Tensor], prefix: str = "upstream.") -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def pretrained(name: str) -> dict[str, Tensor]:
    return HuggingFaceUpstream(name, frozen=False).state_dict()


def stored(unit: Path) -> pd.DataFrame:
    return pd.read_parquet(unit / "predictions.parquet")


class Watch:
    """Which fits there were, and the tuned weights that they left."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.fits: list[str] = []
        self.tuned: dict[str, dict[str, Tensor]] = {}
        run = Fit.run

        def watched(fit: Fit, unit: Any) -> None:
            place = unit.folder.parts
            self.fits.append("/".join(place[place.index(PLACE.split("/", 1)[0]) - 1 :]).replace(f"/{PLACE}", ""))
            run(fit, unit)
            if "tune" in place:
                self.tuned[unit.folder.name] = upstream_of(weights(unit.folder))

        patch.setattr(Fit, "run", watched)


@pytest.fixture(scope="module")
def tuned(shared: Path) -> tuple[Path, Watch]:
    """A run of one upstream in two variants."""
    with pytest.MonkeyPatch.context() as patch:
        watch = Watch(patch)
        return run(single(), "variants=[Plain,Transductive]"), watch


def test_each_upstream_is_tuned_once_for_all_variants(tuned: tuple[Path, Watch]) -> None:
    folder, watch = tuned
    assert watch.fits == ["plain/tune/0", "plain", "transductive"]
    record = json.loads((folder / "plain" / PLACE / "tuned.json").read_text())
    assert list(record) == ["0"]
    assert record["0"]["epochs"] == [0]
    assert not (folder / "transductive" / PLACE / "tuned.json").exists()


def test_the_result_holds_the_tuned_upstream_as_the_first_stage_left_it(tuned: tuple[Path, Watch]) -> None:
    folder, watch = tuned
    before, after = pretrained("wav2vec2"), upstream_of(weights(folder / "plain" / PLACE))
    assert set(before) == set(after)
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(moved) > 10, "the first stage has trained it"
    assert same(after, watch.tuned["0"]), "the second stage has not"


def test_the_second_stage_has_parts_of_its_own(tuned: tuple[Path, Watch]) -> None:
    names = set(weights(tuned[0] / "plain" / PLACE))
    assert any(name.startswith("fusion.branches.0.pooling.") for name in names), "attentive pooling behind mean pooling"


def test_other_variants_take_the_plain_ones_upstream(tuned: tuple[Path, Watch]) -> None:
    plain, other = (weights(tuned[0] / name / PLACE) for name in ("plain", "transductive"))
    assert same(upstream_of(plain), upstream_of(other))
    assert not same(upstream_of(plain, "head."), upstream_of(other, "head."))


@pytest.mark.parametrize("variant", ["plain", "transductive"])
def test_recordings_get_what_the_run_said_from_the_tuned_features(tuned: tuple[Path, Watch], variant: str) -> None:
    assert_predicts(tuned[0], variant)


def assert_predicts(folder: Path, variant: str = "plain") -> None:
    """A loaded run says of the recordings what its own test predictions say."""
    table = stored(folder / variant / PLACE).set_index("id")
    manifest = load_recipe("mini.yaml", *SMALL).data().manifest
    paths = dict(zip(manifest.table["id"], (manifest.root / path for path in manifest.table["path"]), strict=True))
    model = load_model(folder, variant=variant)
    if variant != "plain":
        model = model.enrol([paths[name] for name in table.index])
    expected = table[["probability/angry", "probability/sad"]].to_numpy()
    found = [list((p.probabilities or {}).values()) for _, p in model.predict_many([paths[n] for n in table.index])]
    assert expected.std() > 1e-4
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_what_a_complete_unit_no_longer_needs_is_gone(tuned: tuple[Path, Watch]) -> None:
    for variant in ("plain", "transductive"):
        unit = tuned[0] / variant / PLACE
        assert not (unit / "features").exists()
        assert not list(unit.glob("tune/*/checkpoints"))
    assert (tuned[0] / "plain" / PLACE / "tune" / "0" / "fit.json").is_file()


def test_a_complete_run_is_not_tuned_again(tuned: tuple[Path, Watch], monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    assert run(single(), "variants=[Plain,Transductive]") == tuned[0]
    assert not watch.fits


def test_killed_between_the_stages_it_goes_on_without_tuning_again(
    tuned: tuple[Path, Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    fit, score = Fit.run, Score.run

    def killed_behind_the_first(self: Fit, unit: Any) -> None:
        if "tune" not in unit.folder.parts:
            raise KeyboardInterrupt
        fit(self, unit)

    def killed(self: Score, unit: Any) -> None:
        raise KeyboardInterrupt

    for name, stop in (("Fit", killed_behind_the_first), ("Score", killed)):
        monkeypatch.setattr({"Fit": Fit, "Score": Score}[name], "run", stop)
        with pytest.raises(KeyboardInterrupt):
            run(single(), output="killed")
        monkeypatch.setattr(Fit, "run", fit)
    monkeypatch.setattr(Score, "run", score)
    folder = run(single(), output="killed")
    assert watch.fits == ["plain/tune/0", "plain"], "each stage once"
    assert same(weights(folder / "plain" / PLACE), weights(tuned[0] / "plain" / PLACE))
    pd.testing.assert_frame_equal(stored(folder / "plain" / PLACE), stored(tuned[0] / "plain" / PLACE))


def test_two_upstreams_are_tuned_one_by_one_and_fused(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    folder = run(pair(), "selection.refit=true")
    assert watch.fits == ["plain/tune/0", "plain/tune/1", "plain", "plain"], "tuned once, fitted and fitted again"
    state = weights(folder / "plain" / PLACE)
    for index, name in enumerate(("wav2vec2", "hubert")):
        own = upstream_of(state, f"upstream.upstreams.{index}.")
        assert same(own, watch.tuned[str(index)])
        assert not same(own, pretrained(name))
    assert_predicts(folder)


def test_the_first_stage_is_one_upstream_under_the_overrides(shared: Path) -> None:
    recipe = load_recipe("mini.yaml", *SMALL, TUNING, pair(), "selection.refit=true", "model.fusion=LateFusion")
    stages = first_stages(recipe, 2)
    assert list(stages) == ["0", "1"]
    for name, stage in zip(("wav2vec2", "hubert"), stages.values(), strict=True):
        model = stage.model(("angry", "sad"))
        assert isinstance(model.upstream, HuggingFaceUpstream)
        assert type(model.network.fusion.branches[0].pooling).__name__ == "MeanPooling"
        assert same(model.upstream.state_dict(), pretrained(name))
        assert not stage.tuning
        assert not stage.selection.refit
    assert (
        load_recipe("mini.yaml", *SMALL, TUNING, pair())
        .plain_config()["model"]["pooling"]["class_path"]
        .endswith("AttentivePooling")
    )


@pytest.mark.parametrize("override", ["data.batch_size=2", "seed=3", "variants=[]"])
def test_the_first_stage_may_not_change_the_data(shared: Path, override: str) -> None:
    with pytest.raises(RecipeError, match=r"tuning: .* cannot be chosen inside a fold; it may change model"):
        run(single(), f"tuning=[{json.dumps('trainer.max_epochs=1 ' + override)}]")


@pytest.mark.parametrize("override", ["model.upstream.frozen=false", "--model.upstream=BYOLS"])
def test_both_stages_share_the_upstream(shared: Path, override: str) -> None:
    with pytest.raises(RecipeError, match="changes the upstream, which both stages share"):
        run(single(), f"tuning=[{json.dumps('trainer.max_epochs=1 ' + override)}]")
    rest = [one for one in SMALL if not one.startswith("model.upstream_lr=")]
    recipe = load_recipe("mini.yaml", *rest, single(), "tuning=[model.upstream_lr=1e-4]")
    assert recipe.tuning == ["model.upstream_lr=1e-4"], "its learning rate is a matter of training"


def test_a_frozen_upstream_is_not_tuned(shared: Path) -> None:
    with pytest.raises(RecipeError, match=r"which is frozen. Set model.upstream.frozen=false"):
        run("model.upstream=Spectral")
