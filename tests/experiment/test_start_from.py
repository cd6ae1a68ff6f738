"""Starting from another run: a head trained on stored features, fine-tuned with its upstream afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mini_recipe import MINI_RECIPE
from safetensors.torch import load_file
from tiny_models import save_tiny

from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.errors import CheckpointError, RecipeError, ResultError
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.experiment.stages import fit

pytestmark = pytest.mark.usefixtures("no_pictures")

COMMON = [
    "data.corpus.num_speakers=3",
    "data.corpus.utterances_per_class=2",
    "fold=2",
    "baselines=[]",
    "model.upstream=HuggingFaceUpstream",
    "model.upstream.name=wav2vec2",
    "model.layer_mix=WeightedSum",
    "model.pooling=MeanPooling",
    "model.head=LinearHead",
    "model.optimizer.lr=0.03",
    "trainer.max_epochs=2",
]
#: Nothing moves: what is predicted then is what the weights that it started from predict from waveforms.
STILL = ["model.upstream.frozen=false", "model.optimizer.lr=0.0", "trainer.max_epochs=1"]
UNIT = "plain/fold=spk02/seed=0"


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory, mini_cache: Path) -> Iterator[Path]:
    """A run of a head on stored means, in a working directory with the upstream."""
    folder = tmp_path_factory.mktemp("start")
    save_tiny("wav2vec2", folder / "wav2vec2", "group")
    (folder / "mini.yaml").write_text(MINI_RECIPE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SER_CACHE", str(mini_cache))
        yield run()


def run(*overrides: str) -> Path:
    return Experiment(load_recipe("mini.yaml", *COMMON, *overrides)).run()


def predictions(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / UNIT / "predictions.parquet").set_index("id").sort_index()


def test_fine_tuning_starts_where_the_head_on_stored_means_ended(probe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load, loaded = fit.load_start_weights, []
    monkeypatch.setattr(
        fit, "load_start_weights", lambda unit, model: (loaded.append(unit.files.label), load(unit, model))
    )
    tuned = run(*STILL, f"start_from={probe}")
    assert len(loaded) == 1, "the stages behind the fit have weights of their own"
    columns = [name for name in predictions(probe) if name.startswith("probability/")]
    expected, found = predictions(probe)[columns], predictions(tuned)[columns]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(expected.to_numpy() - predictions(run(*STILL))[columns].to_numpy()).max() > 1e-3
    assert json.loads((tuned / "run.json").read_text(encoding="utf-8"))["start_from"] == str(probe)
    # and from the fine-tuned one, upstream included
    again = run(*STILL, f"start_from={tuned}")
    np.testing.assert_allclose(predictions(again)[columns], expected, rtol=1e-4, atol=1e-6)


def test_variants_of_a_fine_tuned_upstream_start_from_the_head_alone(probe: Path) -> None:
    variants = "variants=[Plain,Transductive]"
    tuned = run("model.upstream.frozen=false", variants, f"start_from={run(variants)}")
    again = run("model.upstream.frozen=false", variants, "model.optimizer.lr=0.05", f"start_from={tuned}")
    for folder in (tuned, again):
        plain, other = (
            load_file(folder / name / "fold=spk02/seed=0/checkpoints/model.safetensors")
            for name in ("plain", "transductive")
        )
        upstream = [name for name in other if name.startswith("upstream.")]
        assert upstream
        # the features that its head was trained on are those of this upstream, whatever the other run had
        assert all(plain[name].equal(other[name]) for name in upstream)
    with pytest.raises(CheckpointError, match="trained with a fine-tuned upstream"):
        run(f"start_from={tuned}")


def test_the_run_is_another_than_one_that_starts_anew(probe: Path) -> None:
    moved = probe.parents[1] / "elsewhere" / probe.parent.name
    moved.mkdir(parents=True)
    (moved / probe.name).symlink_to(probe)
    hashes = [
        load_recipe("mini.yaml", *COMMON, *STILL, *start).hash("m", "f")
        for start in ([], [f"start_from={probe}"], [f"start_from={probe / UNIT}"])
    ]
    assert hashes[0] != hashes[1] == hashes[2]


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["data.protocol.dev_speakers=0"], RecipeError, "may have been trained on utterances that are tested here"),
        (["data.corpus.utterances_per_class=3"], RecipeError, "corpus, labels or protocol"),
        (["seed=1"], CheckpointError, "no complete fold=spk02/seed=1"),
        (["model.head=MLPHead"], CheckpointError, "other parts than this recipe"),
        (["model.upstream.layers=last"], CheckpointError, "was trained on upstream"),
    ],
)
def test_what_cannot_be_started_from_is_refused(
    probe: Path, overrides: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(*STILL, f"start_from={probe}", *overrides)


def test_a_folder_that_is_no_run_is_said_at_once(probe: Path) -> None:
    with pytest.raises(ResultError, match="No run directory"):
        run(*STILL, "start_from=nowhere")
