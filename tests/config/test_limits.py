"""Numbers that make no sense are refused, by a dry run as by training, in one line that names the setting."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from ser_toolkit.cli.predict import main as predict
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.config.trainer_limits import check_training
from ser_toolkit.data.limits import check_data
from ser_toolkit.errors import RecipeError
from ser_toolkit.experiment.dry_run import describe
from ser_toolkit.experiment.experiment import Experiment

REFUSED = {
    "model.optimizer.lr=-1": "Invalid learning rate: -1.0",
    "trainer.max_epochs=0": "trainer.max_epochs must be at least 1, found 0",
    "selection.monitor=dev/ccc": "selection.monitor=dev/ccc is not measured",
    "selection.candidates=[model.head.nothing=3]": "'model.head.nothing=3'",
    "data.eval_window_seconds=.nan": "data.eval_window_seconds must be above 0, found nan",
    "seed=-1": "seed must be at least 0, found -1",
    "selection.candidates=[trainer.max_epochs=0]": "trainer.max_epochs must be at least 1, found 0",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_a_dry_run_refuses_what_training_refuses(mini: Path, setting: str) -> None:
    with pytest.raises(RecipeError) as refused:
        list(describe(Experiment(load_recipe("mini.yaml", "fold=2", setting))))
    assert REFUSED[setting] in str(refused.value)


def trainer(**settings: float) -> SimpleNamespace:
    usual = {"max_epochs": 3, "max_steps": -1, "accumulate_grad_batches": 1, "gradient_clip_val": None}
    return SimpleNamespace(**(usual | {"limit_train_batches": None, "fast_dev_run": False} | settings))


@pytest.mark.parametrize(
    ("settings", "rate", "said"),
    [
        ({"max_epochs": None}, None, "trainer.max_epochs must be at least 1, found None"),
        ({"max_epochs": 0, "max_steps": 5}, None, "trainer.max_epochs must be at least 1, found 0"),
        ({"fast_dev_run": True}, None, "trainer.fast_dev_run keeps no weights"),
        ({"max_steps": 0}, None, "trainer.max_steps must be at least 1, found 0"),
        ({"accumulate_grad_batches": 0}, None, "trainer.accumulate_grad_batches must be at least 1, found 0"),
        ({"gradient_clip_val": -1}, None, "trainer.gradient_clip_val must be at least 0, found -1"),
        ({"limit_train_batches": 0}, None, "trainer.limit_train_batches must be above 0, found 0"),
        ({}, -1.0, "model.upstream_lr must be at least 0, found -1"),
        ({}, math.nan, "model.upstream_lr must be at least 0, found nan"),
    ],
)
def test_limits_of_training(settings: dict[str, float], rate: float | None, said: str) -> None:
    check_training(trainer(max_epochs=None, max_steps=5), 1e-5)
    with pytest.raises(RecipeError, match=re.escape(said)):
        check_training(trainer(**settings), rate)


def test_limits_of_data() -> None:
    check_data({"batch_size": 1, "steps_per_epoch": None}, {"max_batch": 0.5}, {"num_workers": 0})
    for refused in (({"batch_size": 0}, {}, {}), ({}, {"max_batch": -1.0}, {}), ({}, {}, {"min_seconds": math.inf})):
        with pytest.raises(RecipeError, match=r"^data\.\w+ must be (at least|above)"):
            check_data(*refused)


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "-3"])
def test_a_window_without_length_is_refused(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(["x.wav", "--model=run", f"--window={seconds}"]) == 2
    assert f"--window {seconds}: expected seconds above 0" in capsys.readouterr().err
