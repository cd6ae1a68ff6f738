"""``--dry-run`` says what a command would do, and does nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.experiment.dry_run import _time, describe
from ser_toolkit.experiment.experiment import Experiment


def lines(*overrides: str) -> list[str]:
    return list(describe(Experiment(load_recipe("mini.yaml", *overrides))))


def test_splits_counts_parameters_disk_and_time_are_said(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_CACHE", str(mini / "cache"))
    said = lines()
    assert said[0] == "mini: Synthetic, 24 utterances, classes angry, sad"
    folds = [line for line in said if line.startswith("fold ")]
    assert folds == [f"fold spk0{n}: train 12, dev 6, test 6; train has angry 6, sad 6" for n in (1, 2, 3, 4)]
    # attention 8 * 128 + 128 + 128 * 1 (+ 1), hidden layer 8 * 8 + 8, output 8 * 2 + 2: counted by the model itself
    model = load_recipe("mini.yaml").model(["angry", "sad"])
    count = sum(parameter.numel() for parameter in model.parameters())
    assert f"trained parameters: {count:,} of {count:,}" in said
    text = "\n".join(said)
    assert re.search(
        r"features of Spectral: the frames of each layer, \d+ kB for 24 utterances; AttentivePooling", text
    )
    assert re.search(
        r"\n  ([\d.]+) of \1 minutes to extract, \d+ kB more in .*; about \d+ s at \d+ s of audio/s\n", text
    )
    assert re.search(r"training: 24 steps; about \d+ s", text), "4 folds x 2 epochs x 3 batches"
    assert any("speakers: none shared" in line for line in said)
    assert said[-1].startswith("run directory: runs/mini/")


def test_the_total_comes_first_and_does_not_follow_the_load(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walls = iter(range(0, 10**9, 10**6))  # every look at the clock on the wall: another program had the machine
    monkeypatch.setattr("time.perf_counter", lambda: float(next(walls)))
    said = lines()
    (total,) = (line for line in said if line.startswith("time: about "))
    assert said.index(total) == 1
    assert re.match(r"time: about (\d+) s in all", total), total


def test_nothing_is_written_and_the_announced_directory_is_the_one_of_the_run(mini: Path) -> None:
    announced = lines("fold=2", "baselines=[]")[-1].removeprefix("run directory: ")
    assert not (mini / "runs").exists()
    assert Path(announced) == Experiment(load_recipe("mini.yaml", "fold=2", "baselines=[]")).run()
    again = "\n".join(lines("fold=2"))
    assert re.search(r"  0\.0 of [\d.]+ minutes to extract, 0 bytes more in", again), (
        "what is extracted is announced again"
    )


def test_one_fold_of_several_seeds_is_counted(mini: Path) -> None:
    said = lines("fold=2", "seeds=3")
    assert len([line for line in said if line.startswith("fold ")]) == 1
    assert "training: 18 steps" in "\n".join(said)


def test_every_candidate_and_every_upstream_is_counted(mini: Path) -> None:
    bands = "{class_path: Spectral, init_args: {num_mels: %d}}"
    said = "\n".join(
        lines(
            "fold=2",
            "model.upstream=FusedUpstreams",
            f"model.upstream.upstreams=[{bands % 8},{bands % 12}]",
            'selection.candidates=["model.optimizer.lr=0.1","model.optimizer.lr=0.2"]',
        )
    )
    assert said.count("features of Spectral: ") == 2
    assert "training: 12 steps" in said


def test_a_head_that_is_fitted_at_once_makes_no_steps(mini: Path) -> None:
    said = "\n".join(lines("model.head=LinearSVM", "model.pooling=MeanPooling"))
    assert "training: 4 times LinearSVM, fitted at once" in said


def test_training_from_waveforms_is_estimated_too(mini: Path) -> None:
    said = "\n".join(lines("data.train_crop_seconds=0.5", "data.eval_window_seconds=0.5"))
    assert re.search(r"waveforms in every step: 24 steps; about \d+ s at \d+ s of audio/s forward", said)


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.4, "3 s"), (89.4, "89 s"), (120, "2 min"), (5399, "90 min"), (7200, "2.0 h")]
)
def test_times_are_said_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert _time(seconds) == text


@pytest.mark.parametrize(
    ("overrides", "kept"),
    [
        (["model.pooling=MeanPooling"], "the mean of each layer"),
        (
            ["model.pooling=StatisticsPooling", "model.layer_mix.layer_norm=true"],
            "mean and variance of each layer, layer",
        ),
        (["model.pooling=MeanPooling", "variants=[Plain,Transductive]"], "mean and variance of each layer"),
    ],
)
def test_moments_are_announced_and_timed(mini: Path, overrides: list[str], kept: str) -> None:
    said = "\n".join(lines("fold=2", *overrides))
    assert re.search(
        rf"features of Spectral: {kept}.*, [\d.]+ kB instead of \d+ kB of frames for 24 utterances; Single", said
    )
    assert re.search(r"training: \d+ steps; about \d+ s", said)
