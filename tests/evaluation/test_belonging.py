"""Predictions that are not those of the run that they lie in are refused, or said in a warning above the figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from simulated_run import CLASSES, SPEAKERS

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.predictions import probability_columns, read_predictions, write_predictions
from ser_toolkit.evaluation.reporting.wording import banners
from ser_toolkit.evaluation.results import load_results

FOLD = "fold=08/seed=0/predictions.parquet"


def edit(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    table, classes = read_predictions(path)
    write_predictions(path, change(table).drop(columns="corpus"), classes)


@pytest.fixture
def run(own_run: Path) -> Path:
    """A run with its manifest and the sizes of its parts."""
    ids = sorted(set(pd.concat(s.table["id"] for s in load_results(own_run).systems)))
    pd.DataFrame({"id": ids}).to_parquet(own_run / "manifest.parquet")
    record = json.loads((own_run / "run.json").read_text())
    record["protocol"]["parts"] = {speaker: [240, 30, 30] for speaker in SPEAKERS}
    (own_run / "run.json").write_text(json.dumps(record))
    return own_run


def test_a_run_as_it_was_made_is_not_remarked_on(run: Path) -> None:
    """Enrolment scores fewer utterances on purpose."""
    assert load_results(run).remarks == ()


def test_missing_rows_are_counted(run: Path) -> None:
    edit(run / "plain" / FOLD, lambda table: table.iloc[2:])
    (said,) = load_results(run).remarks
    assert said == "Predictions are missing (plain, model): 2 test utterances have none (fold 08 28 of 30)."
    assert said in banners(load_results(run))


def test_unknown_utterances_are_refused(run: Path) -> None:
    edit(run / "plain" / FOLD, lambda table: table.assign(id=[f"x{name}" for name in table["id"]]))
    with pytest.raises(ResultError, match=r"30 predictions \(plain, model\) .* does not list: x08a00"):
        load_results(run)
    (run / "manifest.parquet").write_bytes(b"damaged")
    load_results(run)  # without a manifest nothing is known of them


def test_a_class_that_is_not_the_most_probable_is_said(run: Path) -> None:
    columns = probability_columns(CLASSES)

    def least(table: pd.DataFrame) -> pd.DataFrame:
        worst = table[columns].to_numpy().argmin(axis=1)
        chosen = [CLASSES[k] for k in worst[:3]] + table["predicted"].tolist()[3:]
        return table.assign(predicted=chosen)

    edit(run / "plain" / FOLD, least)
    (said,) = load_results(run).remarks
    assert said.startswith(
        "In 3 of 300 predictions (plain, model) the predicted class is not the most probable one (08"
    )


def test_a_tie_within_rounding_is_no_other_choice(run: Path) -> None:
    even = dict.fromkeys(probability_columns(CLASSES), 0.2) | {"probability/anger": 0.2 + 3e-6}
    edit(run / "plain" / FOLD, lambda table: table.assign(**even, predicted="neutral"))
    assert load_results(run).remarks == ()


@pytest.mark.parametrize("values", [[0.5, 0.2, 0.1, 0.1, 0.3], [float("nan")] * 5], ids=["sum", "nan"])
def test_probabilities_of_a_row_are_a_distribution(run: Path, values: list[float]) -> None:
    def broken(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[0, probability_columns(CLASSES)] = values
        return table

    with pytest.raises(ResultError, match=r"expected values in .* that sum to 1"):
        edit(run / "plain" / FOLD, broken)
