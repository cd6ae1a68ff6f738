"""What counts how often: seeds that only one side has, and utterances without a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_toolkit.evaluation.comparison.compare import compare_runs
from ser_toolkit.evaluation.metrics import concordance_cc
from ser_toolkit.evaluation.predictions import write_predictions
from ser_toolkit.evaluation.reporting.tables import headline
from ser_toolkit.evaluation.results import Results, System, load_results
from ser_toolkit.evaluation.run_record import RunRecord
from ser_toolkit.evaluation.scores import Scorer

pytestmark = pytest.mark.usefixtures("no_pictures")

CLASSES = ("angry", "sad")


def _table(right: int, seed: int = 0, votes: str | None = None, unlabelled: int = 0) -> pd.DataFrame:
    """Four speakers with four utterances each; so many of each speaker's are recognised."""
    rows = [
        (f"{speaker}{number}", speaker, "angry", "angry" if number < right else "sad", votes)
        for speaker in "abcd"
        for number in range(4)
    ]
    table = pd.DataFrame(rows, columns=["id", "speaker", "label", "predicted", "votes"])
    table.loc[: unlabelled - 1, "label"] = None
    for name in CLASSES:
        table[f"probability/{name}"] = (table["predicted"] == name) * 0.8 + 0.1
    return table.assign(fold="one", seed=seed)


def _write(run: Path, variant: str, *tables: pd.DataFrame) -> Path:
    for table in tables:
        place = run / variant / "fold=one" / f"seed={table['seed'].iloc[0]}" / "predictions.parquet"
        write_predictions(place, table, CLASSES)
    return run


def test_a_seed_that_the_other_side_lacks_is_not_paired_with_all_of_its_seeds(tmp_path: Path) -> None:
    _write(tmp_path, "plain", _table(1, 0), _table(1, 1))
    _write(tmp_path, "transductive", _table(2, 0), _table(2, 1), _table(4, 2))  # plain has no seed 2 yet
    (difference,) = Scorer(load_results(tmp_path)).scores()["differences"]
    assert difference["metrics"]["accuracy"]["estimate"] == pytest.approx(0.25)


def test_a_single_seed_stands_beside_all(tmp_path: Path) -> None:
    _write(tmp_path, "plain", _table(1, 0))
    _write(tmp_path, "transductive", _table(2, 0), _table(4, 1))
    (difference,) = Scorer(load_results(tmp_path)).scores()["differences"]
    assert difference["metrics"]["accuracy"]["estimate"] == pytest.approx(0.5)


def test_utterances_without_a_class_are_not_counted_as_scored(tmp_path: Path) -> None:
    scores = Scorer(load_results(_write(tmp_path, "plain", _table(2, unlabelled=3)))).scores() | {"folds": ["one"]}
    assert [cell.text for cell in headline(scores).rows[0]][2] == "13 of 16"


def test_a_terminal_shows_the_figures_of_votes_where_they_are_compared(tmp_path: Path) -> None:
    votes = '{"angry": 3, "sad": 1}'
    runs = [_write(tmp_path / name, "plain", _table(right, votes=votes)) for name, right in (("x", 2), ("y", 3))]
    plain, by_votes = compare_runs(runs), compare_runs(runs, metric="kl_votes")
    assert "KL" not in plain.text() and "UA" in plain.text()
    assert "KL (nats)" in by_votes.text() and "macro-F1" not in by_votes.text().replace("multi-label macro-F1", "")
    assert "KL (nats)" in plain.markdown() and "UA" in plain.markdown()


def test_a_fold_that_one_side_does_not_predict_counts_on_neither_side() -> None:
    """A difference in CCC is paired: what only the baseline predicts is left out of both figures."""
    generator = np.random.default_rng(3)
    truth = generator.random(40)
    common = {
        "id": [f"u{row:02d}" for row in range(40)],
        "fold": ["a"] * 20 + ["b"] * 20,
        "seed": 0,
        "draw": 0,
        "speaker": [f"s{row // 5}" for row in range(40)],
        "label": None,
        "predicted": None,
        "votes": None,
        **dict.fromkeys(("arousal", "dominance", "arousal_predicted", "dominance_predicted"), np.nan),
    }
    every = truth + 0.1 * generator.normal(size=40)
    some = np.where(np.arange(40) < 20, np.nan, truth + 0.2 * generator.normal(size=40))
    systems = [
        System("plain", name, pd.DataFrame({**common, "valence": truth, "valence_predicted": predicted}))
        for name, predicted in ((None, some), ("ridge", every))
    ]
    results = Results(Path("run"), RunRecord(), (), tuple(systems), ("a", "b"), ())
    difference = Scorer(results).difference(*systems)
    assert difference is not None
    entry = difference["metrics"]["ccc_valence"]
    one, two = (concordance_cc(truth[20:], side[20:]) for side in (some, every))
    assert [entry["of"], entry["against"], entry["estimate"]] == pytest.approx([one, two, one - two])
