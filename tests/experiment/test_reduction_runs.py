"""Whole runs: what is kept of the features changes how fast a run is, never what comes out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mini_recipe import MINI_RECIPE
from tiny_corpus import TinyUpstream
from torch import Tensor

from ser_toolkit import load_model
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.experiment.experiment import Experiment

PLACE = "fold=spk02/seed=0"


class Loud(TinyUpstream):
    """Frames that differ from one utterance to the next by more than rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.first.data *= 20


#: Two layers that are summed, statistics over time, and a head with dropout: moments are enough, and every step counts.
PARTS = (
    "model.upstream=test_reduction_runs.Loud",
    "model.layer_mix=WeightedSum",
    "model.layer_mix.layer_norm=true",
    "model.pooling=StatisticsPooling",
    "model.optimizer.lr=0.05",
    "model.optimizer.eps=1e-3",
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, mini_cache: Path) -> Iterator[Path]:
    """An empty working directory with ``mini.yaml``, and stores of its own."""
    folder = tmp_path_factory.mktemp("reductions")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SER_CACHE", str(mini_cache))
        (folder / "mini.yaml").write_text(MINI_RECIPE, encoding="utf-8")
        yield folder


class Heard:
    """A run of one fold, what it said of its features, and how many recordings went through the upstream."""

    def __init__(self, shared: Path, name: str, *overrides: str) -> None:
        self.said: list[str] = []
        self.recordings = 0
        own, extract = self, TinyUpstream.extract

        def counted(upstream: TinyUpstream, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
            own.recordings += len(wav)
            return extract(upstream, wav, lengths)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TinyUpstream, "extract", counted)
            patch.setattr("ser_toolkit.features.store.stores_root", lambda: shared / "stores" / name)
            recipe = load_recipe("mini.yaml", "fold=2", "baselines=[]", f"output={name}", *PARTS, *overrides)
            experiment = Experiment(recipe)
            experiment.console.line = self._note  # type: ignore[method-assign]
            self.folder = experiment.run().resolve()
        self.manifest = experiment.data.manifest

    def _note(self, sentence: str) -> None:
        if "features" in sentence:
            self.said.append(sentence)

    def probabilities(self, variant: str = "plain") -> np.ndarray:
        table = pd.read_parquet(self.folder / variant / PLACE / "predictions.parquet").sort_values("id")
        return table[["probability/angry", "probability/sad"]].to_numpy()

    def read(self, file: str, variant: str = "plain") -> Any:
        return json.loads((self.folder / variant / PLACE / file).read_text(encoding="utf-8"))

    def from_recordings(self, variant: str = "plain") -> np.ndarray:
        """What the run's model says to the recordings of its test speaker."""
        table = self.manifest.table[self.manifest.table["speaker"] == "spk02"].sort_values("id")
        paths = [self.manifest.root / path for path in table["path"]]
        model = load_model(self.folder, variant=variant)
        if variant != "plain":
            model = model.enrol(paths)
        return np.array([list((p.probabilities or {}).values()) for _, p in model.predict_many(paths)])


@pytest.fixture(scope="module")
def moments(shared: Path) -> Heard:
    return Heard(shared, "moments", "variants=[Plain,Transductive]")


@pytest.fixture(scope="module")
def frames(shared: Path) -> Heard:
    return Heard(shared, "frames", "variants=[Plain,Transductive]", "features.keep=frames")


@pytest.fixture(scope="module")
def nothing(shared: Path) -> Heard:
    return Heard(shared, "nothing", "features.keep=none")


def test_the_plan_is_printed(moments: Heard, nothing: Heard) -> None:
    assert moments.said[0].startswith(
        "features of Loud: the mean of each layer and second moments across layers, layer-normalised, "
    )
    assert "WeightedSum -> NoFrameStage -> StatisticsPooling takes mean and variance of a sum" in moments.said[0]
    assert nothing.said[0] == "features: none are kept, every step starts at the recordings: features.keep=none"


def test_each_recording_goes_through_the_upstream_once_where_something_is_kept(moments: Heard, nothing: Heard) -> None:
    assert moments.recordings == len(moments.manifest) == 24
    assert nothing.recordings > 2 * 12


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["plain", "transductive"])
def test_frames_give_what_moments_give(moments: Heard, frames: Heard, variant: str) -> None:
    assert "features.keep=frames" in frames.said[0]
    assert frames.recordings == 24
    _assert_same(moments, frames, variant)


def test_recordings_in_every_step_give_what_moments_give(moments: Heard, nothing: Heard) -> None:
    _assert_same(moments, nothing, "plain")


def _assert_same(moments: Heard, other: Heard, variant: str) -> None:
    assert moments.folder.name == other.folder.name, "the same run, by its hash"
    np.testing.assert_allclose(moments.probabilities(variant), other.probabilities(variant), atol=1e-5)
    for file in ("fit.json", "metrics.json"):
        assert _flat(moments.read(file, variant)) == pytest.approx(_flat(other.read(file, variant)), abs=1e-5)


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Every number of a record by its place, without what a clock says."""
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{path}/{key}").items()}
    if isinstance(value, list):
        return {k: v for place, inner in enumerate(value) for k, v in _flat(inner, f"{path}/{place}").items()}
    return {path: value} if isinstance(value, int | float) and "second" not in path else {}


@pytest.mark.parametrize("variant", ["plain", "transductive"])
def test_recordings_get_what_the_run_said_from_moments(moments: Heard, variant: str) -> None:
    expected = moments.probabilities(variant)
    assert np.abs(expected - expected.mean(axis=0)).max() > 1e-3
    np.testing.assert_allclose(moments.from_recordings(variant), expected, atol=1e-5)


#: The last one learns, so that it is chosen: other features than the recipe's own are then tested and predicted from.
CANDIDATES = [
    "model.pooling=MeanPooling model.optimizer.lr=1e-9",
    "model.pooling=MaxPooling model.optimizer.lr=1e-9",
    "model.layer_mix.layer_norm=false",
]
MEASURED = ("selection.monitor=dev/loss", "selection.mode=min", "trainer.max_epochs=1")


@pytest.fixture(scope="module")
def tried(shared: Path) -> Heard:
    return Heard(shared, "tried", f"selection.candidates={json.dumps(CANDIDATES)}", *MEASURED)


def test_parts_are_tried_inside_a_fold_with_what_they_need(tried: Heard) -> None:
    assert tried.said[0].endswith(f"; {CANDIDATES[0]} is tried inside the folds")
    trials = tried.read("chosen.json")["trials"]
    assert [trial["overrides"] for trial in trials] == CANDIDATES
    assert len({round(trial["dev/loss"], 4) for trial in trials}) == 3
    assert tried.read("chosen.json")["chosen"] == CANDIDATES[-1]
    np.testing.assert_allclose(tried.from_recordings(), tried.probabilities(), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_what_is_tried_inside_a_fold_is_trained_as_in_a_run_of_its_own(shared: Path, tried: Heard, number: int) -> None:
    alone = Heard(shared, f"alone {number}", *CANDIDATES[number].split(), *MEASURED)
    found = tried.read("chosen.json")
    assert found["trials"][number]["dev/loss"] == pytest.approx(alone.read("fit.json")["dev"]["dev/loss"], rel=1e-5)
    if found["chosen"] == CANDIDATES[number]:
        np.testing.assert_allclose(tried.probabilities(), alone.probabilities(), atol=1e-5)
