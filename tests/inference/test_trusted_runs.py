"""A run may come from somebody else: what it names is not imported, and what it keeps not executed, unless trusted."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from tiny_run import RECIPE, make_run

from ser_toolkit import load_model
from ser_toolkit.cli import evaluate, predict, train
from ser_toolkit.config.recipe import parse_run
from ser_toolkit.errors import RecipeError
from ser_toolkit.experiment.workers import worker_environment
from ser_toolkit.parts.own_sources import own_sources
from ser_toolkit.parts.trust import check_trusted

#: A part that says so when it is imported, by a file beside it.
MARKING = """from pathlib import Path
from ser_toolkit.downstream.pooling import MeanStdMaxPooling

Path(__file__).with_suffix(".executed").touch()


class Mine(MeanStdMaxPooling):
    '''A pooling of somebody.'''
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory in which a module ``foreign_parts`` lies, not imported yet."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))
    (place / "foreign_parts.py").write_text(MARKING)
    yield place
    sys.modules.pop("foreign_parts", None)


@pytest.fixture
def run(here: Path) -> Path:
    """A run with the part and its source, from which the source is gone here; nothing of it was executed yet."""
    found = make_run(here, "model.pooling=foreign_parts.Mine").path
    for config in found.glob("plain/*/*/config.yaml"):
        shutil.copy(config, found / "config.yaml")
    sys.modules.pop("foreign_parts")
    for place in ("foreign_parts.py", "foreign_parts.executed"):
        (here / place).unlink()
    return found


@pytest.fixture
def wav(tmp_path: Path, voice: np.ndarray) -> Path:
    """A recording."""
    soundfile.write(tmp_path / "voice.wav", voice, 16000)
    return tmp_path / "voice.wav"


def executed(run: Path) -> bool:
    """Whether the run's copy was imported."""
    return (run / "own_parts" / "foreign_parts.executed").exists()


def test_the_copy_in_a_foreign_run_is_executed_only_when_trusted(
    run: Path, wav: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict.main([str(wav), "--model", str(run)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(run / "plain/fold=03/seed=0/config.yaml") in said
    assert "names foreign_parts.Mine" in said and "foreign_parts.py not found here" in said
    assert "folder in which you trained it" in said and "--trust-code (Python: trust_code=True)" in said
    with pytest.raises(RecipeError, match=r"foreign_parts\.Mine"):
        load_model(run)
    assert not executed(run) and "foreign_parts" not in sys.modules
    assert predict.main([str(wav), "--model", str(run), "--trust-code"]) == 0
    assert executed(run)


def test_evaluation_and_going_on_are_as_careful(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, arguments in (
        (train, ["--resume", str(run)]),
        (evaluate, [str(run), "--on", "recipe=demo"]),
        (evaluate, ["matrix", str(run), "--on", "recipe=demo"]),
    ):
        assert command.main(arguments) == 2
        assert "names foreign_parts.Mine" in capsys.readouterr().err
    assert not executed(run)


def test_the_same_source_in_the_working_directory_is_ones_own(here: Path, run: Path, wav: Path) -> None:
    (here / "foreign_parts.py").write_text(MARKING)
    assert load_model(run).predict(wav)
    assert (here / "foreign_parts.executed").exists() and not executed(run)


def test_other_source_of_that_name_is_not_what_the_run_means(here: Path, run: Path) -> None:
    (here / "foreign_parts.py").write_text(MARKING + "\n")
    with pytest.raises(RecipeError, match=r"foreign_parts\.py changed since the run"):
        load_model(run)
    (here / "foreign_parts.py").write_text(MARKING)
    (run / "own_parts" / "other.py").write_text("")
    with pytest.raises(RecipeError, match=r"other\.py not found here"):
        load_model(run)
    shutil.rmtree(run / "own_parts")
    with pytest.raises(RecipeError, match="is found here, but the run keeps no source to compare it with"):
        load_model(run)
    assert not (here / "foreign_parts.executed").exists()


def test_what_a_run_says_of_itself_counts_for_nothing(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"trust_code": True, "cwd": str(Path.cwd())}))
    with pytest.raises(RecipeError, match="foreign_parts"):
        load_model(run)


def test_a_working_directory_inside_the_run_lends_it_no_trust(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (run, run / "own_parts"):
        monkeypatch.chdir(place)
        monkeypatch.syspath_prepend(str(place))
        for name in ("foreign_parts.Mine", f"{'own_parts'}.foreign_parts.Mine"):
            content = {"model": {"pooling": {"class_path": name}}}
            with pytest.raises(RecipeError, match=r"foreign_parts\.Mine"):
                check_trusted(run / "config.yaml", [content], run / "own_parts", False)
    assert not executed(run)


def test_no_library_is_taken_from_a_run_that_is_the_working_directory(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (run, run / "plain"):
        monkeypatch.chdir(place)
        monkeypatch.setattr(sys, "path", list(sys.path))
        (place / "scipy.py").write_text("")
        assert train.main(["--resume", str(run), "--dry-run"]) == 2
        assert "names foreign_parts.Mine" in capsys.readouterr().err
        assert str(place) not in sys.path
        assert worker_environment(0, 2)["PYTHONSAFEPATH"] == "1"


DANGEROUS = [
    {"model": {"pooling": {"class_path": "os.system", "init_args": {"command": "touch harmed"}}}},
    {"model": {"pooling": {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "harmed"]}}}},
    {"model": {"pooling": "os.system"}},
    {"model": {"pooling": "{class_path: subprocess.Popen, init_args: {args: [touch, harmed]}}"}},
    {"model": {"pooling": {"class_path": "ser_toolkit.parts.own_sources.os.system"}}},
    {"model": {"pooling": {"class_path": "ser_toolkit.parts.own_sources.shutil.rmtree"}}},
    {"model": {"head": {"class_path": "torch.hub.load"}}},
    {"model": {"layer_mix": {"class_path": "lightning.pytorch.trainer.trainer.os.system"}}},
    {"model": {"upstream": {"class_path": "antigravity.Fly"}}},
    {"model": {"upstream": {"init_args": {"anything": [{"class_path": "this.Zen"}]}}}},
    {"model": {"pooling": "this.Zen "}},
    {"model": {"pooling": "folder.module.Mine"}},
    {"model": {"pooling": "own_file.csv"}},
    {"data": {"channel": {"class_path": "builtins.exec", "init_args": {"source": "open('harmed', 'w')"}}}},
    {"model": "elsewhere.yaml"},
]


@pytest.mark.parametrize("change", DANGEROUS, ids=lambda change: json.dumps(change)[:70])
def test_nothing_that_a_configuration_names_is_imported_or_called(
    here: Path, wav: Path, change: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(here).path
    (here / "elsewhere.yaml").write_text("pooling: {class_path: subprocess.Popen}\n")
    (here / "folder").mkdir()
    for module in ("folder/module.py", "own_file.py"):
        (here / module).write_text("open('harmed', 'w')\n")
    for config in run.glob("plain/*/*/config.yaml"):
        content = yaml.safe_load(config.read_text())
        for group, settings in change.items():
            content[group] = content[group] | settings if isinstance(settings, dict) else settings
        config.write_text(yaml.safe_dump(content))
    for name in ("antigravity", "this"):
        sys.modules.pop(name, None)
    assert predict.main([str(wav), "--model", str(run)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "--trust-code" in said
    assert not (here / "harmed").exists() and not {"antigravity", "this"} & sys.modules.keys()
    with pytest.raises(RecipeError, match="--trust-code"):
        parse_run(config, run, False)


TRAINING = [
    {"selection": {"candidates": ["model.optimizer.lr=1 model.pooling=this.Zen"]}},
    {"tuning": ["model.pooling=this.Zen"]},
    {"selection": {"space": {"model.pooling": "[MeanPooling, this.Zen]"}}},
    {"trainer": {"callbacks": [{"class_path": "this.Zen"}]}},
    {"variants": [{"class_path": "this.Zen"}]},
    {"config": "elsewhere.yaml"},
]


@pytest.mark.parametrize("content", TRAINING, ids=lambda content: next(iter(content)))
def test_what_only_training_reads_is_looked_through_too(tmp_path: Path, content: dict) -> None:
    with pytest.raises(RecipeError, match="--trust-code"):
        check_trusted(tmp_path / "config.yaml", [content], tmp_path / "own_parts", False)
    check_trusted(tmp_path / "config.yaml", [content], tmp_path / "own_parts", True)


def test_a_run_of_shipped_parts_needs_no_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted = [
        "torch.optim.Adam",
        "torch.optim.lr_scheduler.StepLR",
        "torch.nn.GELU",
        "lightning.pytorch.callbacks.LearningRateMonitor",
        "lightning.pytorch.loggers.CSVLogger",
        "ser_toolkit.downstream.pooling.MeanPooling",
    ]
    content = {"anything": [{"class_path": name} for name in trusted]}
    files = {"root": "/data/os.system/x", "file": "test.csv", "name": "microsoft/wavlm-base", "weights": "token.pt"}
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("byols", "emotions", "model"):  # modules of the user that are called like files and settings
        (tmp_path / f"{module}.py").touch()
    files |= {"checkpoint": "byols.pt", "members": [{"root": "emotions.csv"}]}
    overrides = ["model.optimizer.lr=0.1", "--model.upstream.checkpoint=byols.pt"]
    settings = {"data": files, "selection": {"candidates": overrides}}
    check_trusted(tmp_path / "config.yaml", [content, settings], tmp_path / "own_parts", False)
    assert own_sources(content) == {}


def test_files_that_a_run_builds_on_are_looked_through(here: Path) -> None:
    run = make_run(here, recipe=RECIPE).path
    (here / "base.yaml").write_text("model: {pooling: {class_path: subprocess.Popen}}\n")
    (run / "config.yaml").write_text(f"_base: {here / 'base.yaml'}\n")
    with pytest.raises(RecipeError, match=r"subprocess\.Popen"):
        parse_run(run / "config.yaml", run, False)
