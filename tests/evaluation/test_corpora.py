"""Figures by corpus: those of each corpus alone, and a mean that knows no sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.predictions import read_predictions, write_predictions
from ser_toolkit.evaluation.reporting.report import sections, write_report
from ser_toolkit.evaluation.results import load_results
from ser_toolkit.evaluation.scores import Scorer

pytestmark = pytest.mark.usefixtures("no_pictures")

CLASSES = ("angry", "sad")


def _table(corpus: str | None, correct: dict[str, list[int]]) -> pd.DataFrame:
    """Per speaker, how many of 4 angry and 4 sad utterances are recognised."""
    rows = []
    for speaker, counts in correct.items():
        for label, right in zip(CLASSES, counts, strict=True):
            for number in range(4):
                predicted = label if number < right else CLASSES[1 - CLASSES.index(label)]
                name = f"{corpus}/{speaker}-{label}{number}"
                rows.append((name, f"{corpus}/{speaker}", corpus, label, predicted))
    table = pd.DataFrame(rows, columns=["id", "speaker", "corpus", "label", "predicted"])
    for name in CLASSES:
        table[f"probability/{name}"] = (table["predicted"] == name).astype(float)
    return table.assign(fold=corpus or "one", seed=0)


LARGE = {"a": [4, 2], "b": [3, 3], "c": [4, 4], "d": [2, 1]}
SMALL = {"a": [1, 0], "b": [0, 2]}


def _write(run: Path, *tables: pd.DataFrame) -> Path:
    for table in tables:
        place = run / "plain" / f"fold={table['fold'].iloc[0]}" / "seed=0" / "predictions.parquet"
        write_predictions(place, table, CLASSES)
    return run


def test_figures_of_a_corpus_are_those_that_it_has_alone(tmp_path: Path) -> None:
    large, small = _table("Large", LARGE), _table("Small", SMALL)
    both = Scorer(load_results(_write(tmp_path / "both", large, small))).scores()
    (system,) = both["systems"]
    found = {entry["corpus"]: entry for entry in system["by_corpus"]["corpora"]}
    assert list(found) == ["Large", "Small"]
    for name, table in (("Large", large), ("Small", small)):
        alone = Scorer(load_results(_write(tmp_path / name, table))).scores()["systems"][0]
        assert found[name]["metrics"] == alone["metrics"]
        assert found[name]["utterances"] == alone["utterances"]
    assert system["metrics"]["uar"]["estimate"] == pytest.approx((14 + 12) / 48)


def test_the_mean_counts_corpora_alike_and_its_interval_is_a_jackknife_over_all_speakers(tmp_path: Path) -> None:
    run = _write(tmp_path, _table("Large", LARGE), _table("Small", SMALL))
    (system,) = Scorer(load_results(run)).scores()["systems"]
    mean = system["by_corpus"]["mean"]["metrics"]["uar"]

    def uar(counts: list[list[int]]) -> float:
        return float(np.mean(np.sum(counts, axis=0) / (4 * len(counts))))

    assert mean["estimate"] == pytest.approx((uar([*LARGE.values()]) + uar([*SMALL.values()])) / 2)
    assert mean["clusters"] == 6
    without = [(uar([c for k, c in LARGE.items() if k != one]) + uar([*SMALL.values()])) / 2 for one in LARGE] + [
        (uar([*LARGE.values()]) + uar([c for k, c in SMALL.items() if k != one])) / 2 for one in SMALL
    ]
    error = np.sqrt(5 / 6 * np.sum((np.array(without) - mean["estimate"]) ** 2))
    share = mean["estimate"]
    reach = 2.570581835636314 * error / (share * (1 - share))  # t of 5 degrees of freedom, on the logit scale
    low = 1 / (1 + np.exp(-(np.log(share / (1 - share)) - reach)))
    assert mean["low"] == pytest.approx(low)


def test_the_report_shows_them_and_says_nothing_of_a_single_corpus(tmp_path: Path) -> None:
    report = write_report(_write(tmp_path / "both", _table("Large", LARGE), _table("Small", SMALL)))
    table = sections(report.results, report.data)["corpora"]
    assert [row[2].text for row in table.rows] == ["Large", "Small", "mean"]
    assert "## By corpus" in report.markdown_path.read_text(encoding="utf-8")
    assert "By corpus" in report.html_path.read_text(encoding="utf-8")
    single = write_report(_write(tmp_path / "one", _table("Large", LARGE)))
    assert "by_corpus" not in single.data["systems"][0]
    assert "corpora" not in sections(single.results, single.data)


def test_a_file_has_the_column_only_where_there_are_several_corpora(tmp_path: Path) -> None:
    several, none = _table("Large", LARGE), _table(None, LARGE).assign(corpus=None)
    write_predictions(tmp_path / "several.parquet", several, CLASSES)
    write_predictions(tmp_path / "none.parquet", none, CLASSES)
    write_predictions(tmp_path / "before.parquet", none.drop(columns="corpus"), CLASSES)
    assert (tmp_path / "none.parquet").read_bytes() == (tmp_path / "before.parquet").read_bytes()
    assert "corpus" not in pd.read_parquet(tmp_path / "none.parquet").columns
    assert set(read_predictions(tmp_path / "several.parquet")[0]["corpus"]) == {"Large"}
    assert read_predictions(tmp_path / "none.parquet")[0]["corpus"].isna().all()
    with pytest.raises(ResultError, match="korpus"):
        write_predictions(tmp_path / "x.parquet", several.rename(columns={"corpus": "korpus"}), CLASSES)
