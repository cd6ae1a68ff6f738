"""Several runs in one table: the figures are those of each report, baselines stand once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from simulated_run import CLASSES

from ser_toolkit.cli.report import main
from ser_toolkit.evaluation.predictions import read_predictions, write_predictions
from ser_toolkit.evaluation.reporting import dimensional
from ser_toolkit.evaluation.reporting.joint import joint_markdown, joint_table, joint_text
from ser_toolkit.evaluation.reporting.report import write_report
from ser_toolkit.evaluation.reporting.tables import headline

pytestmark = pytest.mark.usefixtures("no_pictures")

Edit = Callable[[Path, dict], None]


@pytest.fixture
def two_runs(own_run: Path, tmp_path: Path, edit_record: Edit) -> tuple[Path, Path]:
    """A run, and one of another recipe whose model is less often right."""
    other = tmp_path / "other"
    shutil.copytree(own_run, other)
    edit_record(other, {"recipe": "worse"})
    for path in sorted(other.glob("plain/fold=*/seed=*/predictions.parquet")):
        table = read_predictions(path)[0]
        write_predictions(path, table.assign(predicted=CLASSES[0]), CLASSES)
    return own_run, other


def rows(text: str) -> list[str]:
    """The lines of the table, without its head."""
    lines = text.split("\n\n")[1].splitlines()
    assert lines[0].split()[:4] == ["Recipe", "Variant", "Utterances", "UA"]
    return lines[1:]


def test_every_model_stands_with_the_figures_of_its_report(two_runs: tuple[Path, Path]) -> None:
    reports = [write_report(run) for run in two_runs]
    table = joint_table(reports)
    assert table.title == "2 runs on " + reports[0].data["title"].split(" on ")[1]
    for name, report in (("emodb_example", reports[0]), ("worse", reports[1])):
        of_classes, of_dimensions = headline(report.data), dimensional.headline(report.data)
        assert of_classes is not None and of_dimensions is not None
        models = ([row for row in table.rows if row[1].strong] for table in (of_classes, of_dimensions))
        own = [[*one, *two[3:]] for one, two in zip(*models, strict=True)]
        joint = [row for row in table.rows if row[0].text == name]
        assert len(own) == len(joint) > 1
        assert [[str(cell) for cell in row[1:]] for row in joint] == [
            [str(row[0]), *(str(cell) for cell in row[2:])] for row in own
        ]
    assert [row[0].text for row in table.rows[: len(joint) + 1]] == ["emodb_example"] * len(joint) + ["worse"]


def test_baselines_stand_once_where_they_are_alike(two_runs: tuple[Path, Path]) -> None:
    report = write_report(two_runs[0])
    names = [s["name"] for s in report.data["systems"] if s["baseline"] is not None]
    joint = [line for line in rows(joint_text([report, write_report(two_runs[1])])) if line.startswith("baseline: ")]
    assert len(joint) == len(names) > 0
    altered = next(two_runs[1].glob("plain/baseline=egemaps_svm/fold=*/predictions.parquet"))
    table = read_predictions(altered)[0]
    write_predictions(altered, table.assign(predicted=CLASSES[1]), CLASSES)
    fewer = rows(joint_text([report, write_report(two_runs[1])]))
    assert len([line for line in fewer if line.startswith("baseline: ")]) == len(names) - 1


def test_runs_on_two_corpora_name_the_corpus_and_keep_the_baselines_of_each(
    two_runs: tuple[Path, Path], edit_record: Edit
) -> None:
    first, second = two_runs
    edit_record(second, {"corpus": {"name": "Another"}})
    altered = next(second.glob("plain/baseline=egemaps_svm/fold=*/predictions.parquet"))
    table = read_predictions(altered)[0]
    write_predictions(altered, table.assign(predicted=CLASSES[1]), CLASSES)
    reports = [write_report(first), write_report(second)]
    joint = joint_table(reports)
    assert joint.columns[:3] == ["Recipe", "Corpus", "Variant"]
    found = [(row[1].text, row[2].text) for row in joint.rows if row[0].text == "baseline: eGeMAPS SVM"]
    own = [s["variant"] for s in reports[0].data["systems"] if s["name"] == "eGeMAPS SVM"]
    assert found == [*(("Simulated speakers", variant) for variant in own), *(("Another", variant) for variant in own)]
    assert {row[1].text for row in joint.rows if row[0].text == "worse"} == {"Another"}


def test_unfinished_folds_repeated_recipes_and_warnings_are_said(
    two_runs: tuple[Path, Path], edit_record: Edit
) -> None:
    first, second = two_runs
    edit_record(second, {"recipe": "emodb_example", "corpus": {"name": "Another", "deviations": ["one file"]}})
    shutil.rmtree(next(iter(sorted(second.glob("plain/fold=*")))))
    reports = [write_report(first), write_report(second)]
    text, page = joint_text(reports), joint_markdown(reports)
    folds = len(reports[1].data["folds"])
    assert "emodb_example/run " in text and f"emodb_example/other ({folds - 1} of {folds} folds)" in text
    assert "Another" in text.splitlines()[0]
    assert "! Incomplete copy of the corpus was allowed: one file." in text
    assert "> **Warning:** Incomplete copy" in page and "| emodb_example/run | Simulated speakers | plain |" in page
    assert text.count("In brackets: 95 % interval") == page.count("In brackets: 95 % interval") == 1


def test_the_command_prints_reports_and_table_or_the_table_alone(
    two_runs: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = map(str, two_runs)
    assert main([first]) == 0
    one = capfd.readouterr().out
    assert main([first, second]) == 0
    both = capfd.readouterr().out
    assert both.startswith(one) and "\n\n2 runs on " in both
    assert main(["--table", first, second, "--output", str(tmp_path / "made" / "table.md")]) == 0
    table = capfd.readouterr().out
    assert table.startswith("2 runs on ") and table.splitlines()[-1] == str(tmp_path / "made" / "table.md")
    assert (tmp_path / "made" / "table.md").read_text(encoding="utf-8").startswith("# 2 runs on ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tabel"], "--tabel: unknown. Did you mean --table? Known: --output, --table."),
        (["--table"], "which run? Name one."),
        (["--output=t.html"], "--output needs the name of a file that ends in .md; found 't.html'."),
        (["--output"], "ends in .md; found none."),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    said = capfd.readouterr().err
    assert message in said and said.count("\n") == 1
