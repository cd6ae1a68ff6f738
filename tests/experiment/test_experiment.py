"""Experiments: what a run directory holds, what is done again and what is not, and what test labels may not touch."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from pathlib import Path

import lightning.pytorch as pl
import pandas as pd
import pytest
import torch
from mini_recipe import MINI_RECIPE
from safetensors.torch import load_file

from ser_toolkit.cli import train
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.data import prepare
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.errors import RecipeError
from ser_toolkit.evaluation.reporting.report import write_report
from ser_toolkit.evaluation.run_folder import RunFolder
from ser_toolkit.evaluation.run_record import VariantRecord
from ser_toolkit.experiment.console import Console
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.experiment.plan import Plan
from ser_toolkit.features.variants import Enrolment, NeutralReference, PerCorpus, Plain, Transductive
from ser_toolkit.protocols.folds import Fold

PREDICTIONS = {"predictions.parquet", "dev_predictions.parquet"}
UNIT_FILES = {"config.yaml", "checkpoints", "fit.json", "log", "metrics.json", *PREDICTIONS}


def run(*overrides: str, output: str = "runs") -> Path:
    return Experiment(load_recipe("mini.yaml", f"output={output}", *overrides)).run()


def contents(folder: Path) -> dict[str, object]:
    """Weights, predictions and metrics of every unit, without what a clock says."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name == "metrics.json":
            record = json.loads(path.read_text())
            record["fit"].pop("seconds")
            found[name] = record
        elif path.name == "predictions.parquet":
            found[name] = pd.read_parquet(path).to_csv()
        elif path.suffix == ".safetensors":
            found[name] = {key: value.tolist() for key, value in load_file(path).items()}
    return found


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, mini_cache: Path) -> Iterator[Path]:
    """A complete run of all folds and two variants; read only."""
    home = tmp_path_factory.mktemp("done")
    (home / "mini.yaml").write_text(MINI_RECIPE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("SER_CACHE", str(mini_cache))
        yield home / run("variants=[Plain,Transductive]")


def test_the_run_directory_is_laid_out_as_designed(done: Path) -> None:
    assert done.parent.name == "mini"
    assert {path.name for path in done.iterdir()} == {
        *("config.yaml", "manifest.parquet", "run.json", "report.html", "report.json", "report.md"),
        *("plain", "transductive"),
    }
    for variant in ("plain", "transductive"):
        assert {path.name for path in (done / variant).iterdir()} == {
            "baseline=majority", *(f"fold=spk0{number}" for number in (1, 2, 3, 4))
        }  # fmt: skip
        for fold in (done / variant).glob("fold=*"):
            (unit,) = fold.iterdir()
            assert unit.name == "seed=0"
            assert {path.name for path in unit.iterdir()} == UNIT_FILES
            assert [path.name for path in (unit / "checkpoints").iterdir()] == ["model.safetensors"]


def test_the_record_says_what_the_result_depends_on(done: Path) -> None:
    record = json.loads((done / "run.json").read_text())
    assert record["labels"]["mapped"] is False
    assert record["hash"] == done.name
    assert record["classes"] == ["angry", "sad"]
    assert record["folds"] == ["spk01", "spk02", "spk03", "spk04"]
    assert record["seeds"] == [0]
    assert set(record["variants"]) == {"plain", "transductive"}
    assert record["selection"]["metric"] == "dev/uar"
    assert record["upstream"]["name"] == "Spectral"
    assert record["protocol"]["name"] == "LeaveOneSpeakerOut"
    assert record["packages"]["torch"]
    assert record["wall_seconds"] > 0
    assert record["hardware"]["cores"] >= 1
    assert any("speakers: none shared" in sentence for sentence in record["audit"])
    assert len(pd.read_parquet(done / "manifest.parquet")) == 24


def test_the_record_is_read_as_it_was_written(done: Path) -> None:
    record = RunFolder(done).record()
    assert json.loads(json.dumps(record.to_json())) == json.loads((done / "run.json").read_text())
    assert record.variants["plain"] == VariantRecord(Plain().explanation, "nothing", "all")
    assert record.variants["transductive"] == VariantRecord(Transductive().explanation, "speaker", "all")
    assert record.complete == tuple(sorted(unit.place for unit in RunFolder(done).units()))


def test_a_variant_of_ones_own_is_speaker_normalised_where_it_says_so() -> None:
    class Own(Plain):
        name = "enrolment-of-my-own"

    class Says(Own):
        normalises = "speaker"

        def excluded(self, table: pd.DataFrame, draw: int) -> set[str]:
            return set()

    assert (Own().normalises, Own().scores_all) == ("nothing", True)
    assert (Says().normalises, Says().scores_all) == ("speaker", False)
    shipped = [(Enrolment(), "speaker", False), (NeutralReference(), "reference", False), (PerCorpus(), "corpus", True)]
    assert [(variant, variant.normalises, variant.scores_all) for variant, _, _ in shipped] == shipped


def test_a_run_folder_that_may_only_be_read_is_one_line(
    done: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(path: Path, content: bytes) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    before = (done / "run.json").read_bytes()
    monkeypatch.setattr(Path, "write_bytes", refused)
    assert train.main(["recipe=mini.yaml", "output=runs", "variants=[Plain,Transductive]"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.endswith("run.json: Permission denied. Check who may read and write there.") and "partial" not in line
    assert (done / "run.json").read_bytes() == before


def test_folds_that_differ_in_case_alone_are_kept_apart_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds = [Fold(name, (), (), ()) for name in ("Anna", "Bert", "anna")]
    monkeypatch.setattr("ser_toolkit.experiment.plan.ignores_case", lambda folder: False)
    Plan([], folds, []).check_names(tmp_path)
    monkeypatch.setattr("ser_toolkit.experiment.plan.ignores_case", lambda folder: True)
    Plan([], folds[:2], []).check_names(tmp_path)
    with pytest.raises(RecipeError, match="Folds Anna and anna would share one folder"):
        Plan([], folds, []).check_names(tmp_path)


def test_every_report_says_how_the_model_was_trained(done: Path) -> None:
    told = json.loads((done / "report.json").read_text())["training"]
    assert told["Parts"].startswith("Spectral(")
    assert "→ NoFrameStage → AttentivePooling(bottleneck_dim=128) → MLPHead(hidden_dim=8," in told["Parts"]
    assert told["Optimiser"].startswith("Adam(lr=0.01, ")
    assert told["Epochs"].startswith("at most 2; chosen: epoch ")
    assert told["Baseline, majority class"].endswith("Trained on train + dev.")
    for page in ("report.md", "report.html"):
        text = (done / page).read_text(encoding="utf-8")
        assert "How it was trained" in text
        assert told["Selected by"] in html.unescape(text)


def test_every_utterance_is_predicted_once_by_the_model_of_its_fold(done: Path) -> None:
    tables = [pd.read_parquet(path) for path in (done / "plain").glob("fold=*/seed=0/predictions.parquet")]
    table = pd.concat(tables)
    assert len(table) == 24
    assert table["id"].is_unique
    assert (table["speaker"] == table["fold"]).all()
    assert table[["probability/angry", "probability/sad"]].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-6)


def test_running_again_trains_nothing_and_reports_the_same(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    before = {path: path.read_bytes() for path in done.rglob("*") if path.is_file() and path.name != "run.json"}
    monkeypatch.setattr(pl.Trainer, "fit", fail)
    monkeypatch.setattr(pl.Trainer, "test", fail)
    assert done.samefile(run("variants=[Plain,Transductive]"))
    after = {path: path.read_bytes() for path in done.rglob("*") if path.is_file() and path.name != "run.json"}
    changed = [path.name for path in before if before[path] != after[path]]
    assert set(after) == set(before)
    assert set(changed) <= {"report.json", "report.md", "report.html"}  # these print the wall time
    report = json.loads((done / "report.json").read_text())
    earlier = json.loads(before[done / "report.json"])
    for content in (report, earlier):
        content["record"].pop("wall_seconds")
        content["record"].pop("command")
    assert report == earlier


def test_a_report_is_rebuilt_from_the_stored_predictions_alone(done: Path) -> None:
    before = (done / "report.json").read_bytes()
    (done / "report.json").unlink()
    write_report(done)
    assert (done / "report.json").read_bytes() == before


def test_in_a_file_every_unit_has_a_line(mini: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = load_recipe("mini.yaml", "fold=2", "seeds=2", "baselines=[]")
    folder = Experiment(recipe, Console()).run()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("plain fold ")]
    metrics = json.loads((folder / "plain" / "fold=spk02" / "seed=0" / "metrics.json").read_text())
    dev, test = metrics["fit"]["dev"]["dev/uar"], metrics["metrics"]["uar"]
    assert lines[0].startswith(f"plain fold spk02 seed 0: dev UA {100 * dev:.1f}, test UA {100 * test:.1f}; ")
    assert lines[0].endswith(" s (1 of 2)")
    assert len(lines) == 2
    Experiment(recipe, Console()).run()
    assert "plain fold " not in capsys.readouterr().out, "what is kept is not told again"


def test_of_several_processes_the_first_alone_tells_what_it_does(
    mini: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank, told in (("0", "a line\n"), ("1", "")):
        monkeypatch.setenv("LOCAL_RANK", rank)
        Experiment(load_recipe("mini.yaml"), Console()).console.line("a line")
        assert capsys.readouterr().out == told


def test_folds_one_by_one_in_another_folder_are_bitwise_the_same_run(mini: Path, done: Path) -> None:
    for fold in ("spk03", "1", "4", "2"):
        folder = run("variants=[Plain,Transductive]", f"fold={fold}", output="elsewhere")
    assert len(list((mini / "elsewhere" / "mini").iterdir())) == 1, "another fold adds to the same run"
    assert folder.name == done.name
    assert contents(folder) == contents(done)


def test_two_seeds_differ_and_the_second_is_the_run_that_starts_with_it(mini: Path, done: Path) -> None:
    both = run("fold=1", "seeds=2", "baselines=[]")
    weights = [load_file(path) for path in sorted(both.rglob("model.safetensors"))]
    assert not torch.equal(*(torch.cat([value.flatten() for value in state.values()]) for state in weights))
    found, first = contents(both), contents(done)
    key = "plain/fold=spk01/seed=0/metrics.json"
    assert found[key] == first[key], "a further seed leaves the first alone"
    alone = contents(run("fold=1", "seed=1", "baselines=[]", output="alone"))
    assert alone == {name: value for name, value in found.items() if "seed=1" in name}
    assert json.loads((both / "run.json").read_text())["seeds"] == [0, 1]


def test_test_labels_reach_neither_fitting_nor_selection(
    mini: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the labels of the test speaker turned round, its model is the same to the last bit."""
    original = prepare.manifest_of

    def turned(*arguments: object, **options: object) -> Manifest:
        manifest = original(*arguments, **options)  # type: ignore[arg-type]
        rows = manifest.table["speaker"] == "spk01"
        manifest.table.loc[rows, "label"] = manifest.table.loc[rows, "label"].map({"angry": "sad", "sad": "angry"})
        return manifest

    monkeypatch.setattr(prepare, "manifest_of", turned)
    folder = run("fold=spk01", "selection.average=1", "baselines=[]")
    name = "plain/fold=spk01/seed=0"
    expected = load_file(done / name / "checkpoints" / "model.safetensors")
    found = load_file(folder / name / "checkpoints" / "model.safetensors")
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    true, turned_round = (pd.read_parquet(f / name / "predictions.parquet").set_index("id") for f in (done, folder))
    assert (true["label"] != turned_round["label"]).all()
    assert (true["probability/sad"] == turned_round["probability/sad"]).all()


def test_another_corpus_is_another_run(mini: Path, done: Path) -> None:
    assert run("fold=1", "baselines=[]", "data.corpus.label_noise=0.3").name != done.name


def test_a_variant_of_a_tuned_upstream_asks_for_the_plain_one(mini: Path) -> None:
    with pytest.raises(RecipeError, match="Add Plain to variants"):
        tuned = ("model.upstream=tiny_corpus.TinyUpstream", "model.upstream.frozen=false")
        run("fold=1", "variants=[Transductive]", "baselines=[]", *tuned)
