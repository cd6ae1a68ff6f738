"""Searches inside a fold: ranges, what is proposed, and a search that goes through an experiment and is resumed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.torch import load_file

from ser_toolkit.cli.train import main
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.config.selection import Range, Selection, number_of_trials, parse_range
from ser_toolkit.errors import RecipeError
from ser_toolkit.evaluation.comparison.trials import Choice, Search
from ser_toolkit.experiment.dry_run import describe
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.experiment.stages.search import proposal
from ser_toolkit.experiment.stages.sequence import Fit

SPACE = {
    "model.optimizer.lr": "log(1e-5, 1e-2)",
    "model.head.dropout": "uniform(0, 0.5)",
    "model.head.hidden_dim": "int(2, 9)",
    "model.pooling": "[MeanPooling, AttentivePooling]",
}


def test_ranges_are_read() -> None:
    assert parse_range(" log(1e-5,1e-2) ", "k") == Range("log", 1e-5, 1e-2)
    assert parse_range("uniform(-1, 0.5)", "k") == Range("uniform", -1.0, 0.5)
    assert parse_range("int( 32 , 512 )", "k") == Range("int", 32.0, 512.0)
    assert parse_range("[MeanPooling,  MaxPooling]", "k") == Range("choice", choices=("MeanPooling", "MaxPooling"))


@pytest.mark.parametrize(
    "text",
    [
        "log(0, 1)",
        "log(-1, 1)",
        "uniform(1, 0)",
        "uniform(1, 1)",
        "int(9, 2)",
        "int(0.5, 2)",
        "log(1e-3)",
        "log(a, b)",
        "log(1e-3, inf)",
        "uniform(nan, 1)",
        "normal(0, 1)",
        "1e-3",
        "",
        "[]",
        "[ ]",
        "[A, ]",
        "[A, A]",
        "[A B]",
    ],
)
def test_what_is_no_range_is_refused_with_the_key(text: str) -> None:
    with pytest.raises(RecipeError, match=r"model\.x=.* is no range: expected log"):
        parse_range(text, "model.x")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"space": SPACE}, "go together: found 4 keys and trials=None"),
        ({"trials": 3}, "go together: found 0 keys and trials=3"),
        ({"space": SPACE, "trials": 0}, "go together"),
        ({"space": SPACE, "trials": 2, "candidates": ["model.optimizer.lr=1"]}, "two ways to search"),
        ({"space": {"data.batch_size": "int(2, 9)"}, "trials": 2}, "cannot be chosen inside a fold"),
        ({"space": {"model.optimizer.lr": "1e-3"}, "trials": 2}, "is no range"),
        ({"space": {"model.upstream.layers": "[[0,1], [1]]"}, "trials": 2}, "is no range"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Selection(**settings)


@pytest.mark.parametrize(
    ("protocol", "advice"),
    [
        (["data.protocol.dev_speakers=0"], "data.protocol.dev_speakers=1"),
        (["data.protocol=RandomKFold", "data.protocol.num_folds=3", "data.protocol.dev_folds=0"], "dev_folds=1"),
        (["data.protocol=LeaveOneSessionOut", "data.protocol.dev=none"], "data.protocol=LeaveOneSpeakerOut"),
    ],
)
@pytest.mark.parametrize(
    ("search", "way_out"),
    [
        (['selection.candidates=["model.head.dropout=0.1"]'], "ser-train selection.candidates=[], or"),
        (
            ['selection.space={"model.head.dropout": "uniform(0, 0.5)"}', "selection.trials=2"],
            "ser-train selection.space={} selection.trials=null, or",
        ),
    ],
)
@pytest.mark.parametrize("ask", [Experiment.run, lambda experiment: list(describe(experiment))], ids=["run", "dry"])
def test_a_search_without_a_dev_part_is_refused_before_anything_is_made(
    mini: Path, ask: Any, search: list[str], way_out: str, protocol: list[str], advice: str
) -> None:
    experiment = Experiment(load_recipe("mini.yaml", *search, *protocol))
    name = type(experiment.data.protocol).__name__
    with pytest.raises(RecipeError) as caught:
        ask(experiment)
    said = str(caught.value)
    assert f"protocol {name} has no dev part in {len(experiment.data.folds)} of" in said
    assert way_out in said and advice in said and "\n" not in said
    assert not (mini / "runs").exists()
    load_recipe("mini.yaml", *protocol, *way_out.replace(",", "").split()[1:-1])  # the advice can be followed


def test_candidates_are_tried_in_their_order() -> None:
    candidates = ["model.a=1", "model.a=2 model.b=3", "model.a=0"]
    selection = Selection(candidates=candidates)
    assert selection.searches
    assert number_of_trials(selection) == 3
    done = [(one, 0.5) for one in candidates]
    assert [proposal(selection, done[:number], seed=0) for number in range(3)] == candidates
    assert not Selection().searches


def test_optuna_missing_is_one_line_that_names_the_extra(
    mini: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    space = 'selection.space={"model.optimizer.lr": "log(1e-4, 1e-1)"}'
    assert main(["recipe=mini.yaml", "fold=2", "baselines=[]", space, "selection.trials=2"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("ser-train: selection.space is searched by Optuna")
    assert 'pip install "ser-toolkit[sweep]"' in error


def test_a_trial_that_diverged_stands_in_the_table() -> None:
    trials = (("a=1", float("-inf")), ("a=2", 0.5))
    choices = [Choice("plain", fold, "0", "a=2", "dev/uar", trials) for fold in ("1", "2")]
    choices[1] = replace(choices[1], trials=(("a=1", 0.1), ("a=2", 0.4)))
    assert "a=2" in Search(tuple(choices)).text()


class TestWithOptuna:
    """What needs Optuna."""

    @pytest.fixture(autouse=True)
    def optuna(self) -> Any:
        return pytest.importorskip("optuna", reason="Optuna is not installed")

    def search(self, trials: int, seed: int, score: Any, mode: Any = "max") -> list[tuple[str, float]]:
        """Trials of a whole search, each from a fresh history as after a kill."""
        monitor = "dev/uar" if mode == "max" else "dev/loss"
        selection = Selection(monitor=monitor, mode=mode, space=SPACE, trials=trials)
        assert number_of_trials(selection) == trials
        done: list[tuple[str, float]] = []
        for _ in range(trials):
            overrides = proposal(selection, list(done), seed)
            done.append((overrides, score(values(overrides))))
        return done

    def test_proposals_are_within_the_ranges_and_cover_them(self) -> None:
        trials = [values(overrides) for overrides, _ in self.search(25, 3, lambda _: 0.5)]
        assert all(list(trial) == list(SPACE) for trial in trials)
        rates = [float(trial["model.optimizer.lr"]) for trial in trials]
        assert min(rates) >= 1e-5
        assert max(rates) <= 1e-2
        assert min(rates) < 1e-4 < 1e-3 < max(rates), "drawn on a logarithmic scale"
        assert all(0 <= float(trial["model.head.dropout"]) <= 0.5 for trial in trials)
        assert {int(trial["model.head.hidden_dim"]) for trial in trials} <= set(range(2, 10))
        assert {trial["model.pooling"] for trial in trials} == {"MeanPooling", "AttentivePooling"}

    def test_the_same_history_and_seed_give_the_same_proposal(self) -> None:
        first, again = (self.search(13, 7, width) for _ in range(2))
        assert first == again
        assert self.search(1, 8, width) != first[:1]
        assert len({overrides for overrides, _ in first}) > 10, "each trial draws anew"

    def test_the_order_of_the_keys_draws_nothing_else(self) -> None:
        turned = dict(reversed(SPACE.items()))
        one, other = (proposal(Selection(space=space, trials=1), [], seed=4) for space in (SPACE, turned))
        assert values(one) == values(other), "their hash is the same, so the run must be"

    def test_draws_learn_from_what_the_trials_before_brought(self) -> None:
        small = [width(values(o)) for o, _ in self.search(30, 0, lambda trial: -width(trial))[15:]]
        large = [width(values(o)) for o, _ in self.search(30, 0, width)[15:]]
        least = [width(values(o)) for o, _ in self.search(30, 0, width, mode="min")[15:]]
        assert sum(large) > sum(small) + 15
        assert sum(large) > sum(least) + 15

    def test_a_search_in_an_experiment_takes_the_best_and_goes_on_when_killed(
        self, mini: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        space = {"model.optimizer.lr": "log(1e-5, 1e-1)", "model.head.hidden_dim": "int(2, 9)"}
        settings = [f"selection.space={json.dumps(space)}", "selection.trials=3", "fold=2", "baselines=[]"]
        whole = Experiment(load_recipe("mini.yaml", *settings, "output=whole")).run() / "plain/fold=spk02/seed=0"
        chosen = json.loads((whole / "chosen.json").read_text())
        scores = [trial["dev/uar"] for trial in chosen["trials"]]
        assert len(scores) == len({trial["overrides"] for trial in chosen["trials"]}) == 3
        assert chosen["chosen"] == chosen["trials"][scores.index(max(scores))]["overrides"]
        width = int(values(chosen["chosen"])["model.head.hidden_dim"])
        weights = load_file(whole / "checkpoints" / "model.safetensors")
        assert weights["head.classes.weight"].shape[1] == width
        assert f"hidden_dim: {width}" in (whole / "config.yaml").read_text()

        run, fitted = Fit.run, []

        def stop_at_the_third(self: Fit, unit: Any) -> None:
            fitted.append(unit.folder.name)
            if len(fitted) == 3:
                raise KeyboardInterrupt
            run(self, unit)

        monkeypatch.setattr(Fit, "run", stop_at_the_third)
        killed = load_recipe("mini.yaml", *settings, "output=killed")
        with pytest.raises(KeyboardInterrupt):
            Experiment(killed).run()
        folder = Experiment(killed).run() / "plain/fold=spk02/seed=0"
        assert fitted == ["0", "1", "2", "2"]
        assert json.loads((folder / "chosen.json").read_text()) == chosen
        table, other = (pd.read_parquet(unit / "predictions.parquet") for unit in (whole, folder))
        pd.testing.assert_frame_equal(table, other)


def values(overrides: str) -> dict[str, str]:
    """Key -> value of overrides."""
    return dict(override.split("=", 1) for override in overrides.split())


def width(trial: dict[str, str]) -> float:
    return float(trial["model.head.hidden_dim"])
