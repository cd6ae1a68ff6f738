"""Predictions of the dev part: stored beside those of test, from weights that were not trained on dev."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_toolkit.config.recipe import Recipe, load_recipe
from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.dev_predictions import load_dev_predictions
from ser_toolkit.evaluation.predictions import read_predictions
from ser_toolkit.evaluation.results import load_results
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.experiment.stages.sequence import Score, ScoreDev

pytestmark = pytest.mark.usefixtures("no_pictures")


def run(*overrides: str) -> tuple[Path, Recipe]:
    recipe = load_recipe("mini.yaml", "fold=2", "baselines=[]", *overrides)
    return Experiment(recipe).run(), recipe


def unit_of(folder: Path, variant: str = "plain") -> Path:
    return folder / variant / "fold=spk02" / "seed=0"


def noted(unit: Path) -> dict[str, Any]:
    return json.loads((unit / "metrics.json").read_text())["fit"]["dev_predictions"]


def uar(table: pd.DataFrame) -> float:
    return float((table["label"] == table["predicted"]).groupby(table["label"]).mean().mean())


@pytest.mark.parametrize("parts", [[], ["model.pooling=MeanPooling", "model.head=LinearSVM"]])
def test_they_are_what_the_selected_weights_give_on_the_dev_part(mini: Path, parts: list[str]) -> None:
    folder, recipe = run(*parts)
    table, classes = load_dev_predictions(folder)
    fold = recipe.data().fold_named(2)
    assert classes == ("angry", "sad")
    assert sorted(table["id"]) == sorted(fold.dev)
    assert set(table["fold"]) == {"spk02"}
    # one epoch is kept, so the weights are those whose dev figure was written down in training
    fit = json.loads((unit_of(folder) / "fit.json").read_text())
    assert fit["dev"]["dev/uar"] == pytest.approx(uar(table)) == noted(unit_of(folder))["metrics"]["uar"]
    assert noted(unit_of(folder))["weights"] == "selected on dev"
    # the same columns, and nothing that reads the test part takes these rows for it
    test, _ = read_predictions(unit_of(folder) / "predictions.parquet")
    assert list(test.columns) == list(table.columns)
    assert sorted(load_results(folder).systems[0].table["id"]) == sorted(fold.test)


def test_a_refit_does_not_reach_them(mini: Path) -> None:
    folder, _ = run("selection.average=2")
    refitted, _ = run("selection.average=2", "selection.refit=true")
    (one, _), (two, _) = load_dev_predictions(folder), load_dev_predictions(refitted)
    pd.testing.assert_frame_equal(one, two)
    test = [read_predictions(unit_of(place) / "predictions.parquet")[0] for place in (folder, refitted)]
    assert not np.allclose(test[0]["probability/sad"], test[1]["probability/sad"]), "those of test are of the refit"
    assert noted(unit_of(refitted))["weights"] == "selected on dev, before the refit"


def test_they_are_those_of_the_chosen_candidate(mini: Path) -> None:
    folder, _ = run('selection.candidates=["model.head.hidden_dim=4","model.head.hidden_dim=6"]')
    chosen = json.loads((unit_of(folder) / "chosen.json").read_text())
    table, _ = load_dev_predictions(folder)
    assert uar(table) == pytest.approx(max(trial["dev/uar"] for trial in chosen["trials"]))


def test_every_draw_leaves_out_what_enrols_a_speaker(mini: Path) -> None:
    enrolment = "{class_path: Enrolment, init_args: {utterances: 2, draws: 2}}"
    folder, recipe = run(f"variants=[{enrolment}]")
    table, _ = load_dev_predictions(folder, "enrolment-2-draws-2")
    data = recipe.data()
    for draw, rows in table.groupby("draw"):
        excluded = recipe.variants[0].excluded(data.manifest.table, int(draw))
        assert set(rows["id"]) == set(data.fold_named(2).dev) - excluded
    assert sorted(set(table["draw"])) == [0, 1]


def test_without_a_dev_part_there_is_no_file_and_the_record_says_so(mini: Path) -> None:
    folder, _ = run("data.protocol.dev_speakers=0")
    assert noted(unit_of(folder)) == {"stored": False, "reason": "the fold has no dev part"}
    with pytest.raises(ResultError, match=r"no dev_predictions\.parquet of variant plain"):
        load_dev_predictions(folder)


def test_a_kill_between_the_stages(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Score, "run", killed)
        run("selection.refit=true")
    unit = next(mini.glob("runs/mini/*/plain/fold=spk02/seed=0"))
    assert (unit / "dev_predictions.parquet").is_file()
    with monkeypatch.context() as patch:
        patch.setattr(ScoreDev, "run", killed)
        run("selection.refit=true")  # what is done is not made again
