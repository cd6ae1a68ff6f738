"""``ser-sweep``: what is tried, what is chosen on dev inside each fold, and what is printed of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ser_toolkit.cli.sweep import main, searching_recipe
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.comparison.trials import read_search
from ser_toolkit.experiment.experiment import train

pytestmark = pytest.mark.usefixtures("no_pictures")

RATES = "model.optimizer.lr=1e-6,0.05"


def run_of(output: str) -> Path:
    return Path(next(line for line in output.splitlines() if line.endswith("search.md"))).parent


def test_a_grid_is_chosen_from_on_dev_in_every_fold(mini: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe=mini.yaml", "baselines=[]", RATES]) == 0
    folder = run_of(capsys.readouterr().out)
    search = read_search(folder)
    assert [choice.fold for choice in search.choices] == ["spk01", "spk02", "spk03", "spk04"]
    for choice in search.choices:
        alone = {}
        for overrides, _ in choice.trials:
            run = train(load_recipe("mini.yaml", "baselines=[]", f"fold={choice.fold}", "name=alone", overrides))
            record = run / "plain" / f"fold={choice.fold}" / "seed=0" / "fit.json"
            alone[overrides] = json.loads(record.read_text())["dev"]["dev/uar"]
        assert dict(choice.trials) == alone, "a trial is the fit that ser-train makes"
        assert choice.value == max(alone.values())
        metrics = folder / "plain" / f"fold={choice.fold}" / "seed=0" / "metrics.json"
        assert metrics.is_file(), "only what was chosen is scored"
    chosen = [choice.chosen for choice in search.choices]
    text = search.text()
    assert f"{chosen.count('model.optimizer.lr=0.05')} of 4" in text
    assert (folder / "search.md").read_text() == search.markdown()
    assert len(json.loads((folder / "search.json").read_text())) == 4


def test_a_sweep_that_is_complete_is_only_printed_again(
    mini: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["recipe=mini.yaml", "baselines=[]", "fold=2", RATES]
    assert main(command) == 0
    first = capsys.readouterr().out
    monkeypatch.setattr("ser_toolkit.experiment.stages.fit.Fit.run", lambda *_: pytest.fail("trained again"))
    assert main(command) == 0
    assert run_of(capsys.readouterr().out) == run_of(first)


def test_optuna_draws_in_every_fold(mini: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna")
    command = ["recipe=mini.yaml", "baselines=[]", "fold=2", "model.optimizer.lr=log(1e-4,1e-1)"]
    assert main([*command, "model.head.dropout=0.1,0.4", "trials=3"]) == 0
    choice = read_search(run_of(capsys.readouterr().out)).choices[0]
    assert len(choice.trials) == 3
    drawn = [dict(pair.split("=") for pair in overrides.split()) for overrides, _ in choice.trials]
    rates = [float(one["model.optimizer.lr"]) for one in drawn]
    assert all(1e-4 <= rate <= 1e-1 for rate in rates)
    assert max(rates) / min(rates) > 3, "draws are spread over the range"
    assert {one["model.head.dropout"] for one in drawn} <= {"0.1", "0.4"}


def test_values_are_combined_and_crossed_with_the_recipes_own(mini: Path) -> None:
    recipe = searching_recipe(["recipe=mini.yaml", "model.optimizer.lr=1,2", "model.head.dropout=0.1,0.2"])
    assert recipe.selection.candidates == [
        f"model.optimizer.lr={rate} model.head.dropout={share}" for rate in (1, 2) for share in (0.1, 0.2)
    ]
    own = 'selection.candidates=["model.head.hidden_dim=4","model.head.hidden_dim=9"]'
    crossed = searching_recipe(["recipe=mini.yaml", own, "model.optimizer.lr=1,2"]).selection.candidates
    assert crossed == [f"model.head.hidden_dim={size} model.optimizer.lr={rate}" for rate in (1, 2) for size in (4, 9)]
    listed = searching_recipe(["recipe=mini.yaml", "model.pooling=MeanPooling,MaxPooling", "trainer.devices=[0,1]"])
    assert listed.selection.candidates == ["model.pooling=MeanPooling", "model.pooling=MaxPooling"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Nothing is swept"),
        (["model.optimizer.lr=log(1e-5,1e-2)"], "trials=20"),
        (["model.optimizer.lr=log(1e-2,1e-5)", "trials=2"], "lower limit first"),
        (["model.optimizer.lr=log(0,1)", "trials=2"], "limits above 0"),
        (["model.optimizer.lr=int(1,x)", "trials=2"], "is no range"),
        (["data.batch_size=2,4"], "cannot be chosen inside a fold"),
        (["model.pooling=MeanPooling,MaxPoling"], "MaxPooling"),
        ([RATES, "data.protocol.dev_speakers=0"], "compared on dev"),
    ],
)
def test_mistakes_are_one_line(mini: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main(["recipe=mini.yaml", "baselines=[]", "fold=2", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_run_without_a_search_is_said_so(mini: Path) -> None:
    run = train(load_recipe("mini.yaml", "baselines=[]", "fold=2"))
    with pytest.raises(ResultError, match="holds no choice"):
        read_search(run)
