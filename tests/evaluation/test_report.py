"""The report says what the predictions say, in three formats, again and again the same."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from simulated_run import CLASSES, RECORD, SPEAKERS

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.predictions import read_predictions, write_predictions
from ser_toolkit.evaluation.reporting.report import write_report


@pytest.fixture(scope="module")
def report(finished_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "run"
    shutil.copytree(finished_run, folder)
    return write_report(folder)


class Page(HTMLParser):
    """Collects what a page loads and whether its tags are balanced."""

    VOID = frozenset({"meta", "br", "link", "img", "hr", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open += [] if tag in self.VOID else [tag]
        self.loaded += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value[:1] != "#"]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_rebuilding_gives_the_same_bytes(report):
    paths = (report.json_path, report.markdown_path, report.html_path)
    before = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    write_report(report.run_dir)
    assert [path.read_bytes() for path in paths] == before
    assert str(report.run_dir).encode() not in b"".join(before), "a moved run must give the same report"


def test_json_holds_every_figure_and_the_record(report):
    data = json.loads(report.json_path.read_text())
    assert data == report.data
    assert data["record"]["protocol"] == RECORD["protocol"] | {"parts": {}}
    assert data["classes"] == list(CLASSES)
    plain = data["systems"][0]
    assert plain["key"] == "plain/model"
    assert set(plain["metrics"]) == {"uar", "accuracy", "macro_f1", "weighted_f1", "ccc_valence", "ccc_arousal"}
    assert len(data["differences"]) == 5


def test_page_is_whole_and_loads_nothing(report):
    page = Page()
    text = report.html_path.read_text(encoding="utf-8")
    page.feed(text)
    assert page.open == []
    images = [link for link in page.loaded if link.startswith("data:")]
    assert page.loaded == images, "the page must not need anything from elsewhere"
    assert "script" not in page.tags
    shown = (
        "forest of UA and two CCC, predictions over ratings and confusion of two models, speakers, who are the folds"
    )
    assert page.tags.count("svg") == 8, shown
    estimate = report.data["systems"][0]["metrics"]["uar"]
    assert f"{100 * estimate['estimate']:.1f}" in text
    assert f"[{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}]" in text


def test_every_format_names_validation_source_clusters_and_definitions(report):
    for text in (report.html_path.read_text(), report.markdown_path.read_text()):
        assert "one other speaker of the training part" in text
        assert "interval over 10 speakers" in text
        assert "mean recall over the classes present in the truth" in text
        assert "No disgust in the test part of fold 08" in text
        assert "Synthetic corpus" in text
        assert RECORD["audit"][0] in text
        assert "Every fold is one speaker." in text


def test_markdown_tables_have_as_many_cells_as_heads(report):
    lines = report.markdown_path.read_text().splitlines()
    blocks = "\n".join(line if line.startswith("|") else "" for line in lines).split("\n\n")
    tables = [block.strip().splitlines() for block in blocks if block.strip()]
    assert len(tables) == 10, "results, differences, by speaker and session twice: of classes and of dimensions"
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1


def test_terminal_summary_is_short_and_says_the_headline(report):
    text = report.text()
    assert len(text.splitlines()) <= 40
    assert max(len(line) for line in text.splitlines() if re.match("plain|enrolment|model", line)) <= 120
    assert re.search(r"plain +model +300 +\d\d\.\d \[\d\d\.\d, \d\d\.\d\]", text)
    assert re.search(r"plain +model +300 +0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]", text), "CCC stands below, in its own table"
    assert "! Synthetic corpus" in text
    assert "enrolment − plain (model)" in text
    assert "10 of 10 folds, 300 utterances, 10 speakers" in text


def test_the_label_rule_of_the_run_stands_in_the_report(own_run, edit_record):
    def told():
        return re.search(r"Label rule\W+(.*)", write_report(own_run).markdown_path.read_text())[1]

    assert told().startswith("the class that the generator drew")
    edit_record(own_run, {"labels": {"rule": "Intended", "explanation": "the label column of the corpus"}})
    assert told().startswith("the class that the generator drew")
    edit_record(own_run, {"labels": {"rule": "Plurality", "explanation": "the class with most votes"}})
    assert told().startswith("Plurality: the class with most votes")


def test_banners(own_run, edit_record):
    shutil.rmtree(own_run / "plain" / "fold=16")
    corpus = {
        **RECORD["corpus"],
        "verified": "real audio",
        "allow_incomplete": True,
        "deviations": ["speaker 03: short"],
    }
    protocol = {**RECORD["protocol"], "declared_leak": "test speakers are in dev."}
    edit_record(own_run, {"corpus": corpus, "protocol": protocol, "banners": ["From the trainer <b>."]})
    found = write_report(own_run)
    leak, incomplete, unfinished, own = found.data["banners"]
    assert leak.startswith("Leak, declared by the protocol: test speakers are in dev. Do not compare")
    assert incomplete == "Incomplete copy of the corpus was allowed: speaker 03: short."
    assert "plain, model: 9 of 10 folds (missing: 16)" in unfinished
    assert own == "From the trainer <b>."
    page = found.html_path.read_text()
    assert page.count('class="banner"') == 4
    assert "From the trainer &lt;b&gt;." in page, "text of a record is escaped"
    assert "(9 of 10 folds)" in page


def test_what_changes_the_meaning_of_a_figure_is_said_and_nothing_where_there_is_none_of_it(own_run, edit_record):
    rare = ("Told besides the sound", "Chosen inside each fold", "First stage")
    assert not any(name in write_report(own_run).markdown_path.read_text() for name in rare)
    edit_record(
        own_run,
        {
            "conditions": ["The speaker's sex is given to the model."],
            "selection": {"metric": "dev UA", "mode": "max", "tried": 12},
            "tuning": ["trainer.max_epochs=5"],
        },
    )
    text = write_report(own_run).markdown_path.read_text()
    assert all(name in text for name in rare)
    assert "The speaker's sex is given to the model." in text
    assert "the best of 12 settings on dev" in text


def test_only_one_fold_gives_a_report_without_intervals(own_run):
    for fold in SPEAKERS[1:]:
        for folder in own_run.glob(f"**/fold={fold}"):
            shutil.rmtree(folder)
    found = write_report(own_run)
    entry = found.data["systems"][0]["metrics"]["uar"]
    assert (entry["low"], entry["clusters"]) == (None, 1)
    assert "No intervals: an interval needs at least two clusters." in found.text()
    assert "1 of 10 folds" in found.text()


def test_no_record_is_said_and_still_reported(own_run):
    (own_run / "run.json").unlink()
    found = write_report(own_run)
    assert found.data["banners"][0].startswith("No record")
    assert "not recorded" in found.markdown_path.read_text()


def test_dimensions_only(own_run, edit_record):
    for path in own_run.glob("**/predictions.parquet"):
        table, _ = read_predictions(path)
        if "baseline=" in str(path):
            path.unlink()
        else:
            keep = [c for c in table.columns if not c.startswith("probability/")]
            write_predictions(path, table[keep].assign(label=None, predicted=None), ())
    edit_record(own_run, {"classes": []})
    found = write_report(own_run)
    assert list(found.data["systems"][0]["metrics"]) == ["ccc_valence", "ccc_arousal"]
    assert "Recall" not in found.markdown_path.read_text()
    assert "chance is" not in found.markdown_path.read_text()
    Page().feed(found.html_path.read_text())


def test_an_empty_run_is_an_error_that_leaves_no_report(tmp_path):
    with pytest.raises(ResultError, match="holds no"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_report_needs_no_model_side(finished_run):
    """Rebuilding a report must work, and start fast, without torch."""
    code = "import sys; from pathlib import Path; "
    code += "from ser_toolkit.evaluation.reporting.report import build, html, load_results; "
    code += "r = load_results(Path(sys.argv[1])); html(r, build(r)); "
    code += "sys.exit(any(name in sys.modules for name in ('torch', 'lightning', 'ser_toolkit.data.batch')))"
    assert subprocess.run([sys.executable, "-c", code, str(finished_run)], check=False).returncode == 0
