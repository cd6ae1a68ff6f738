"""Parts of one's own: their source makes the run, lies in it, and is what its weights are used with."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mini_recipe import MINI_RECIPE
from safetensors.torch import load_file

from ser_toolkit import load_model
from ser_toolkit.cli import predict, train
from ser_toolkit.config.recipe import Recipe, load_recipe
from ser_toolkit.errors import CheckpointError, RecipeError, ResultError, RunWarning
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.experiment.resume import _check_same, resume, resumed
from ser_toolkit.experiment.stages.start import changed_code
from ser_toolkit.parts.own_sources import differences, own_sources, parts_of, source_identity

pytestmark = pytest.mark.usefixtures("no_pictures")

POOLING = '''"""A pooling whose factor lies in another file."""
from own_package.inner import FACTOR
from ser_toolkit.downstream.pooling import MeanPooling


class Sharp(MeanPooling):
    """A mean, times a factor."""

    def forward(self, frames, lengths):
        return FACTOR * super().forward(frames, lengths)

    def from_moments(self, mean, variance=None):
        return FACTOR * mean
'''
ARGUMENTS = [
    "recipe=mini.yaml",
    "model.pooling=own_pooling.Sharp",
    "data.protocol=GroupedKFold",
    "data.protocol.num_folds=2",
    "data.protocol.dev_folds=0",
    "trainer.max_epochs=1",
    "baselines=[]",
]


def forget() -> None:
    """As in a process that has imported none of these files yet."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("own_pooling", "own_package")]:
        del sys.modules[name]


def write_parts(folder: Path, factor: float = 1.0, end: str = "\n") -> None:
    """A pooling, and what it imports: a package with a module."""
    (folder / "own_package").mkdir(exist_ok=True)
    for name, text in (
        ("own_pooling.py", POOLING),
        ("own_package/__init__.py", ""),
        ("own_package/inner.py", f"import numpy\nFACTOR = {factor}\n"),
        ("own_package/unused.py", "FACTOR = 3\n"),
    ):
        (folder / name).write_bytes(text.replace("\n", end).encode())
    forget()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, mini_cache: Path) -> Iterator[Path]:
    """A working directory with the recipe."""
    place = tmp_path_factory.mktemp("own")
    (place / "mini.yaml").write_text(MINI_RECIPE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.syspath_prepend(str(place))
        patch.setenv("SER_CACHE", str(mini_cache))
        yield place
        forget()


@pytest.fixture(autouse=True)
def as_trained(home: Path) -> None:
    """The code is that of the run, until a test changes it."""
    write_parts(home)


@pytest.fixture(scope="module")
def run(home: Path) -> Path:
    """Two folds, complete."""
    write_parts(home)
    assert train.main(ARGUMENTS) == 0
    (found,) = home.glob("runs/mini/*")
    return found


@pytest.fixture
def moved(run: Path, tmp_path: Path) -> Path:
    """A copy of the run elsewhere, under another name."""
    return Path(shutil.copytree(run, tmp_path / "archive" / "mine"))


@pytest.fixture
def wav(tmp_path: Path, voice: np.ndarray) -> Path:
    """A recording."""
    soundfile.write(tmp_path / "voice.wav", voice, 16000)
    return tmp_path / "voice.wav"


def test_the_source_of_own_parts_and_of_what_they_import_makes_the_hash(home: Path) -> None:
    def identity(factor: float = 1.0, end: str = "\n") -> str:
        write_parts(home, factor, end)
        return load_recipe("mini.yaml", "model.pooling=own_pooling.Sharp").hash("", "")

    first = identity()
    assert first == identity(end="\r\n") != identity(factor=2.0)
    write_parts(home)
    (home / "own_package" / "unused.py").write_text("FACTOR = 4\n")
    assert load_recipe("mini.yaml", "model.pooling=own_pooling.Sharp").hash("", "") == first


def test_recipes_without_own_parts_name_none(home: Path) -> None:
    assert "own_parts" not in load_recipe("mini.yaml").identity()


@pytest.mark.parametrize(
    "settings",
    [
        {"selection": {"candidates": ["model.optimizer.lr=1 model.pooling=own_pooling.Sharp"]}},
        {"selection": {"space": {"model.pooling": ["MeanPooling", "own_pooling.Sharp"]}}},
        {"tuning": ["model.pooling=own_pooling.Sharp"]},
        {"data": {"corpus": {"class_path": "own_pooling.Sharp.Inner", "init_args": {}}}},
        {"variants": [{"class_path": "torch.nn.Linear"}, {"class_path": "own_pooling.Sharp"}]},
    ],
    ids=["candidates", "space", "tuning", "corpus", "variants"],
)
def test_own_parts_are_found_wherever_a_configuration_names_them(settings: dict) -> None:
    expected = ["own_package/__init__.py", "own_package/inner.py", "own_pooling.py"]
    assert sorted(own_sources(settings)) == expected


def test_an_own_upstream_has_another_store_when_its_code_changes(home: Path) -> None:
    def identity(factor: float) -> str:
        write_parts(home, factor)
        return source_identity(__import__("own_pooling").Sharp)

    assert identity(1.0) == identity(1.0) != identity(2.0)
    assert source_identity(np.ndarray) == source_identity(type(load_recipe("mini.yaml"))) == ""


UPSTREAM = '''"""An upstream whose frames have a factor."""
from ser_toolkit.upstreams.spectral import Spectral

FACTOR = {factor}


class Loud(Spectral):
    """Spectra, times a factor."""

    def extract(self, wav, lengths):
        frames, counts = super().extract(wav, lengths)
        return FACTOR * frames, counts
'''


def test_features_of_a_changed_upstream_are_made_anew(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_CACHE", str(home / "features_of_loud"))

    def first_frame(factor: float) -> np.ndarray:
        (home / "own_upstream.py").write_text(UPSTREAM.format(factor=factor), encoding="utf-8")
        sys.modules.pop("own_upstream", None)
        experiment = Experiment(load_recipe("mini.yaml", "model.upstream=own_upstream.Loud", "fold=1"))
        return next(iter((experiment.features() or {}).values()))[0, 0].numpy()

    one, two = first_frame(1.0), first_frame(2.0)
    np.testing.assert_allclose(two, 2 * one)
    np.testing.assert_array_equal(first_frame(1.0), one)
    assert len(list((home / "features_of_loud" / "features").iterdir())) == 2, "the first are found again"


VARIANT = """from ser_toolkit.features.variants import Transductive


class Mine(Transductive):
    short = "mine"  # {note}
"""


def test_the_code_of_an_own_variant_makes_the_run(home: Path, tmp_path: Path) -> None:
    def made(note: str, *variants: str) -> Recipe:
        (home / "own_variant.py").write_text(VARIANT.format(note=note), encoding="utf-8")
        sys.modules.pop("own_variant", None)
        return load_recipe("mini.yaml", f"variants=[{','.join(variants)}]")

    first = made("one", "Plain", "own_variant.Mine")
    known = first.hash("", "")
    assert list(first.own_sources) == ["own_variant.py"]
    assert known != made("two", "Plain", "own_variant.Mine").hash("", "")
    mine = made("one", "Plain", "own_variant.Mine")
    assert mine.hash("", "") == known
    _check_same(tmp_path, mine, made("one", "Plain"))  # what is left out changes no result
    with pytest.raises(RecipeError, match=r"own_variant\.py"):
        _check_same(tmp_path, load_recipe("mini.yaml"), mine)


def test_a_start_from_weights_of_other_code_is_said(home: Path, run: Path) -> None:
    def said() -> list[str]:
        return changed_code(load_recipe("mini.yaml", "model.pooling=own_pooling.Sharp", f"start_from={run}"))

    assert said() == []
    write_parts(home, factor=2.0)
    (note,) = said()
    assert "trained with other code in own_package/inner.py; used with the code here" in note


def test_a_class_of_the_program_itself_is_refused(home: Path) -> None:
    with pytest.raises(RecipeError, match=r"Move the class into a module beside it and name it my_parts.Sharp"):
        own_sources({"model": {"pooling": {"class_path": "__main__.Sharp"}}})


def test_the_same_command_with_other_code_is_another_run(
    home: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([*ARGUMENTS, "--dry-run"]) == 0
    assert f"run directory: {run.relative_to(home)}" in capsys.readouterr().out
    write_parts(home, factor=2.0)
    assert train.main([*ARGUMENTS, "--dry-run"]) == 0
    assert run.name not in capsys.readouterr().out


def test_a_rerun_says_what_it_reuses(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(ARGUMENTS) == 0
    assert "2 of 2 units are complete and reused" in capsys.readouterr().out


def test_weights_are_used_with_the_code_that_they_were_trained_with(
    home: Path, run: Path, wav: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_model(run).predict(wav)
    write_parts(home, factor=-50.0)
    mine = __import__("own_pooling")
    copy = run / "own_parts"
    assert differences(copy) == f"{home / 'own_package' / 'inner.py'} changed since the run"
    with pytest.warns(RunWarning) as warned:
        recognizer = load_model(run, trust_code=True)
    assert str(warned[0].message) == f"own parts: {differences(copy)}: the run's copy is used ({copy})"
    assert recognizer.predict(wav) == before
    assert sys.modules["own_pooling"] is mine, "a program's own module stays what it is"
    assert predict.main([str(wav), "--model", str(run), "--trust-code"]) == 0
    assert "note: own parts: " in capsys.readouterr().err


def test_code_that_is_gone_comes_from_the_copy(home: Path, run: Path, wav: Path) -> None:
    before = load_model(run).predict(wav)
    for path in (home / "own_pooling.py", home / "own_package"):
        path.unlink() if path.is_file() else shutil.rmtree(path)
    forget()
    with pytest.warns(RunWarning, match=r"own_package/inner.py, own_pooling.py not found here"):
        assert load_model(run, trust_code=True).predict(wav) == before


def test_a_run_without_own_parts_changes_no_import(tmp_path: Path) -> None:
    path = list(sys.path)
    with parts_of(tmp_path / "own_parts", trust_code=True) as notes:
        assert notes == [] and sys.path == path


# --- a run that was moved, or is not whole ----------------------------------------------------------------------------


def test_a_moved_run_goes_on_where_it_lies(
    home: Path, run: Path, moved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = "plain/fold=1/seed=0"
    shutil.rmtree(moved / unit)
    write_parts(home, factor=2.0)
    monkeypatch.chdir(moved.parent)
    assert train.main(["--resume", "mine", "--trust-code"]) == 0
    said = capsys.readouterr().out
    assert f"going on with {moved}" in said and "1 of 2 units are complete and reused" in said
    assert "inner.py changed since the run" in said
    assert not (moved.parent / "runs").exists()
    one, two = (load_file(place / unit / "checkpoints/model.safetensors") for place in (run, moved))
    assert {name: value.tolist() for name, value in one.items()} == {n: v.tolist() for n, v in two.items()}
    assert json.loads((moved / "run.json").read_text(encoding="utf-8"))["hash"] == run.name


REFUSED = [
    (["--resume"], "--resume needs a value: --resume runs/NAME/HASH."),
    (["--resume=nowhere"], "No run directory at"),
    (["--resume=MOVED", "model.optimizer.lr=0.5"], "model.optimizer.lr=0.5 (the run has 0.01)"),
    (["--resume=MOVED", "model.pooling=MeanPooling"], "(the run has own_pooling.Sharp). Leave it out"),
    (["--resume=MOVED", "output=elsewhere"], "leave output= out"),
    (["--resume=MOVED", "recipe=mini.yaml"], "leave recipe= out"),
    (["MOVED"], "is no recipe: ser-train --resume"),
    (["--config", "MOVED/config.yaml"], "belongs to a run: ser-train --resume"),
    (["recipe=MOVED/config.yaml"], "belongs to a run: ser-train --resume"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[" ".join(found) for found, _ in REFUSED])
def test_what_would_be_another_run_is_refused(
    moved: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([argument.replace("MOVED", str(moved)) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_a_run_that_may_only_be_read_is_not_resumed(moved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ResultError, match=r"may only be read, .* Copy the run directory to where you may write"):
        resume(moved)
    with resumed(moved, ["--dry-run"]):
        pass


def test_other_recordings_are_not_those_of_the_run(moved: Path) -> None:
    path = moved / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"manifest_hash": "0"}))
    with pytest.raises(ResultError, match=r"that of the run 0. Give the same recordings: data.root=PATH"):
        resume(moved)


def test_a_run_that_has_lost_weights_is_not_averaged(
    moved: Path, wav: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (moved / "plain/fold=1/seed=0/checkpoints/model.safetensors").unlink()
    assert predict.main([str(wav), "--model", str(moved)]) == 2
    said = capsys.readouterr().err
    assert "of 2 models that the run had, 1 have lost their weights (plain/fold=1/seed=0)" in said
    with pytest.raises(ResultError, match="lost their weights"):
        load_model(moved, fold="1")
    assert load_model(moved, fold="2").info.folds == ("2",)
    shutil.rmtree(moved / "plain/fold=1")
    with pytest.raises(ResultError, match="lost their weights"):
        load_model(moved)


def test_folds_that_were_never_made_are_said(moved: Path, wav: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(moved / "plain/fold=1")
    record = json.loads((moved / "run.json").read_text(encoding="utf-8"))
    (moved / "run.json").write_text(json.dumps(record | {"complete": ["plain/fold=2/seed=0"]}), encoding="utf-8")
    assert predict.main([str(wav), "--model", str(moved)]) == 0
    assert "ser-predict: note: 1 of 2 folds of this run: the others are not made yet" in capsys.readouterr().err
    with pytest.warns(RunWarning, match="1 of 2 folds"):
        load_model(moved)
    assert load_model(moved, fold="2").info.notes == ()


def test_weights_of_another_fold_are_not_those_of_this_one(moved: Path) -> None:
    place = "seed=0/checkpoints/model.safetensors"
    shutil.copy(moved / "plain/fold=1" / place, moved / "plain/fold=2" / place)
    assert load_model(moved, fold="1").info.folds == ("1",)
    with pytest.raises(CheckpointError, match="is not what fold 2, seed 0 was tested with"):
        load_model(moved)
