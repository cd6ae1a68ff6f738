"""What is known besides the sound: through training, the stored run, the recogniser and ser-predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mini_recipe import MINI_RECIPE
from safetensors.torch import load_file

from ser_toolkit import load_model
from ser_toolkit.cli.predict import main
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.data.batch import CONDITION, Batch, Vectors
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.data.needs import Needs
from ser_toolkit.errors import RecipeError
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.inference.recognizer import Recognizer

SETTINGS = ["fold=2", "baselines=[]", "model.optimizer.lr=0.05", "model.head.dropout=0"]
PLACE = "plain/fold=spk02/seed=0"
SEXES = ("female", "male")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, mini_cache: Path) -> Any:
    """A working directory with ``mini.yaml``."""
    folder = tmp_path_factory.mktemp("conditioned")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SER_CACHE", str(mini_cache))
        (folder / "mini.yaml").write_text(MINI_RECIPE, encoding="utf-8")
        yield folder


def run(*overrides: str) -> Path:
    return Experiment(load_recipe("mini.yaml", *SETTINGS, *overrides)).run()


@pytest.fixture(scope="module")
def conditioned(shared: Path) -> Path:
    """A run that is told the speaker's sex."""
    return run("model.conditioning=ConcatenateCondition", "trainer.max_epochs=3")


@pytest.fixture(scope="module")
def deaf(shared: Path) -> Path:
    """A run that hears the sound alone."""
    return run("trainer.max_epochs=1")


@pytest.fixture(scope="module")
def recordings(shared: Path) -> pd.DataFrame:
    """The test part of the runs: id, sex, file, and what the conditioned run said."""
    data = load_recipe("mini.yaml").data()
    table = data.manifest.table.set_index("id").loc[list(data.fold_named(2).test)].reset_index()
    return table.assign(file=[data.manifest.root / path for path in table["path"]])


def probabilities(model: Recognizer, files: list[Path]) -> np.ndarray:
    return np.array([list((p.probabilities or {}).values()) for _, p in model.predict_many(files)])


def test_the_run_was_told_the_sex_of_its_test_speaker(conditioned: Path, recordings: pd.DataFrame) -> None:
    table = pd.read_parquet(conditioned / PLACE / "predictions.parquet").set_index("id").loc[recordings["id"]]
    expected = table[["probability/angry", "probability/sad"]].to_numpy()
    (sex,) = set(recordings["sex"])
    (other,) = set(SEXES) - {sex}
    model = load_model(conditioned)
    files = recordings["file"].tolist()
    told = probabilities(model.condition({"sex": sex}), files)
    np.testing.assert_allclose(told, expected, atol=1e-5)
    assert np.abs(probabilities(model.condition({"sex": other}), files) - expected).max() > 1e-3
    assert "conditioning.embedding.weight" in load_file(conditioned / PLACE / "checkpoints" / "model.safetensors")


def test_nothing_said_is_something_of_its_own(conditioned: Path, recordings: pd.DataFrame) -> None:
    model, files = load_model(conditioned), recordings["file"].tolist()
    untold = probabilities(model, files)
    told = [probabilities(model.condition({"sex": sex}), files) for sex in SEXES]
    assert all(np.abs(one - untold).max() > 1e-4 for one in told)
    np.testing.assert_array_equal(probabilities(model.condition({}), files), untold)
    assert np.abs(told[0] - told[1]).max() > 1e-3
    # the recogniser that was asked is as it was
    np.testing.assert_array_equal(probabilities(model, files), untold)


def test_files_one_by_one_are_files_together(conditioned: Path, recordings: pd.DataFrame) -> None:
    model, files = load_model(conditioned).condition({"sex": "female"}), recordings["file"].tolist()
    alone = [list((model.predict(file).probabilities or {}).values()) for file in files]
    np.testing.assert_allclose(alone, probabilities(model, files), atol=1e-6)


def test_what_the_model_does_not_take_is_refused(conditioned: Path, deaf: Path) -> None:
    with pytest.raises(RecipeError, match=r"not conditioned on language. It takes sex\."):
        load_model(conditioned).condition({"language": "de"})
    with pytest.raises(RecipeError, match=r"sex='woman' is unknown to the model"):
        load_model(conditioned).condition({"sex": "woman"})
    with pytest.raises(RecipeError, match=r"not conditioned on sex. It hears the sound alone"):
        load_model(deaf).condition({"sex": "female"})


# --- training --------------------------------------------------------------------------------------------------------


def test_conditioning_is_part_of_what_a_run_is(conditioned: Path, deaf: Path) -> None:
    plain = load_recipe("mini.yaml")
    told = load_recipe("mini.yaml", "model.conditioning=ConcatenateCondition")
    hashes = [recipe.hash("m", "f") for recipe in (plain, told, plain.override("model.conditioning=null"))]
    assert hashes[0] == hashes[2] != hashes[1]
    assert plain.identity()["model"]["conditioning"] is None


@pytest.mark.parametrize("normalisation", ["none", "embedding"])
def test_stored_vectors_are_conditioned_too(shared: Path, recordings: pd.DataFrame, normalisation: str) -> None:
    folder = run(
        "model.conditioning=FeatureWiseModulation",
        "model.conditioning.hidden=0.3",
        "model.pooling=MeanPooling",
        f"model.normalisation={normalisation}",
    )
    table = pd.read_parquet(folder / PLACE / "predictions.parquet").set_index("id").loc[recordings["id"]]
    model = load_model(folder).condition({"sex": recordings["sex"][0]})
    found = probabilities(model, recordings["file"].tolist())
    np.testing.assert_allclose(found, table[["probability/angry", "probability/sad"]], atol=1e-5)


def test_the_same_run_twice_hides_the_same(conditioned: Path, shared: Path) -> None:
    again = run("model.conditioning=ConcatenateCondition", "trainer.max_epochs=3", "output=again")
    first, second = (load_file(folder / PLACE / "checkpoints" / "model.safetensors") for folder in (conditioned, again))
    assert all((first[name] == second[name]).all() for name in first)


def test_batches_say_what_is_known(shared: Path) -> None:
    model, data, _ = load_recipe("mini.yaml", "model.conditioning=ConcatenateCondition").build()
    sex_of = dict(zip(data.manifest.table["id"], data.manifest.table["sex"], strict=True))
    for batch in [*data.train_dataloader(), *data.val_dataloader(), *data.test_dataloader()]:
        assert isinstance(batch, Batch)
        known = batch.streams[CONDITION]
        assert isinstance(known, Vectors)
        assert known.values.tolist() == [[float(sex_of[name] == sex) for sex in SEXES] for name in batch.ids]
        assert model(batch).logits.shape == (len(batch), 2)
    unconditioned = FoldData(data.source, data.fold, needs=Needs(model.upstream.sampling_rate))
    with pytest.raises(RecipeError, match=r"the batch does not say on what: use needs=model\.needs"):
        model(next(iter(unconditioned.test_dataloader())))


def test_a_corpus_that_does_not_know_is_refused_before_training(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    condition = '[{"class_path":"Language","init_args":{"languages":["de"]}}]'
    with pytest.raises(RecipeError, match="Language: the corpus says nothing of language"):
        run("model.conditioning=ConcatenateCondition", f"model.conditioning.conditions={condition}")
    manifest = CorpusData.manifest.fget  # type: ignore[attr-defined]

    def in_danish(data: CorpusData) -> Any:
        found = manifest(data)
        found.table["language"] = "da"
        return found

    monkeypatch.setattr(CorpusData, "manifest", property(in_danish))
    with pytest.raises(RecipeError, match=r"language='da' is unknown to the model.*de"):
        run("model.conditioning=ConcatenateCondition", f"model.conditioning.conditions={condition}")


# --- ser-predict -----------------------------------------------------------------------------------------------------


def predict(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, output and error without notes."""
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, "".join(line for line in err.splitlines(keepends=True) if "note:" not in line)


@pytest.fixture(scope="module")
def recording(recordings: pd.DataFrame) -> Path:
    """One of the test part."""
    return recordings["file"][0]


def test_the_command_is_told_what_is_known(
    conditioned: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for sex in SEXES:
        output = tmp_path / f"{sex}.csv"
        assert predict(capsys, recording, "--model", conditioned, "--condition", f"sex={sex}", "--output", output)[
            ::2
        ] == (0, "")
        found[sex] = pd.read_csv(output)[["probability/angry", "probability/sad"]].to_numpy()
        expected = probabilities(load_model(conditioned).condition({"sex": sex}), [recording])
        np.testing.assert_allclose(found[sex], expected, atol=1e-6)
    assert np.abs(found["female"] - found["male"]).max() > 1e-3


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (["sex=woman"], "sex='woman' is unknown to the model"),
        (["language=de"], "not conditioned on language. It takes sex"),
        (["female"], "--condition expects KEY=VALUE such as sex=female, found 'female'"),
        (["sex=female", "age=3"], "not conditioned on age"),
    ],
)
def test_the_command_refuses_in_one_line(
    conditioned: Path, recording: Path, capsys: pytest.CaptureFixture[str], condition: list[str], message: str
) -> None:
    code, out, err = predict(capsys, recording, "--model", conditioned, "--condition", *condition)
    assert (code, out) == (2, "")
    assert err.startswith("ser-predict: ")
    assert len(err.splitlines()) == 1
    assert message in err
