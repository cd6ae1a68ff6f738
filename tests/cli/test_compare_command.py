"""``ser-compare``: stored runs side by side, and one recipe with several values of a key."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from corpus_replicas import msp_podcast
from mini_recipe import MINI_RECIPE

from ser_toolkit.cli._grid import GridRow, rows_of, split_top
from ser_toolkit.cli.compare import main
from ser_toolkit.cli.train import main as train
from ser_toolkit.data.labels import Plurality
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.errors import RecipeError
from ser_toolkit.evaluation.results import load_results

pytestmark = pytest.mark.usefixtures("no_pictures")

QUICK = ["recipe=mini.yaml", "fold=2", "trainer.max_epochs=1", "baselines=[]"]
ALL = ["recipe=mini.yaml", "data.protocol=GroupedKFold", "data.protocol.num_folds=2", "data.protocol.dev_folds=0"]
ALL += ["fold=1", "trainer.max_epochs=1", "baselines=[]"]
SWEEP = "model.pooling=MeanPooling,StatisticsPooling model.pooling.unbiased=true"
WHOLE = {"": ("fold", "variants"), "data": ("root",)}


def names(rows: list[GridRow]) -> list[str]:
    return [row.name for row in rows]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, mini_cache: Path) -> Path:
    """A folder with the runs of three poolings on one fold of the smallest corpus. Tests must not change it."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "mini.yaml").write_text(MINI_RECIPE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SER_CACHE", str(mini_cache))
        assert (
            main(
                [
                    *ALL,
                    SWEEP,
                    "--row",
                    "m: model.pooling=MaxPooling",
                    "--output",
                    "out/table.json",
                    "--names=mean,statistics,maximum",
                ]
            )
            == 0
        )
    return folder


def test_help_imports_nothing_heavy(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys; from ser_toolkit.cli.compare import main; code = main(['--help']); "
        "heavy = {'torch', 'lightning', 'numpy', 'pandas', 'scipy'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for word in ("recipe=NAME", "--row", "--variant", "--metric", "--names", "--output"):
        assert word in done.stdout


def test_every_value_is_an_ordinary_run(swept: Path, mini_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = swept
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SER_CACHE", str(mini_cache))
    data = json.loads((folder / "out" / "table.json").read_text())
    assert [row["name"] for row in data["rows"]] == ["mean", "statistics", "maximum"]
    runs = [Path(row["run"]) for row in data["rows"]]
    assert sorted(runs) == sorted((folder / "runs" / "mini").iterdir())
    assert [(run / "report.html").is_file() for run in runs] == [True] * 3
    assert "unbiased: true" in (runs[1] / "config.yaml").read_text()
    for row in data["rows"]:
        own = json.loads((Path(row["run"]) / "report.json").read_text())
        assert row["metrics"] == own["systems"][0]["metrics"]
        assert row["fit_seconds"] > 0
    # the same run as ser-train's: nothing new is trained, nothing new lies there
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("metrics.json")}
    assert train([*ALL, "model.pooling=MaxPooling"]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("metrics.json")} == before


def test_stored_runs_make_the_same_table(
    swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = swept
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "empty"))  # nothing is trained, no audio is read
    first = json.loads((folder / "out" / "table.json").read_text())
    runs = [row["run"] for row in first["rows"]]
    assert main([*runs, "--names", "mean,statistics,maximum", f"--output={tmp_path / 't.json'}"]) == 0
    assert json.loads((tmp_path / "t.json").read_text()) == first
    said = capfd.readouterr().out
    assert said.startswith("3 runs on Synthetic, GroupedKFold, 1 of 2 folds, variant plain\n")
    assert "Nothing was selected: all rows were scored on test." in said
    assert said.endswith(f"{tmp_path / 't.json'}\n")
    assert main([*runs, "--output", str(tmp_path / "t.csv")]) == 0
    assert (tmp_path / "t.csv").read_text().startswith("name,run,uar_estimate,")
    assert main([*runs[1:], "--metric", "accuracy", "--output", str(tmp_path / "t.md")]) == 0
    assert "| Run |" in (tmp_path / "t.md").read_text()
    assert "Δ WA to" in (tmp_path / "t.md").read_text()
    assert main([str(folder / "runs" / "mini"), runs[0]]) == 2
    assert "holds 3 runs; give one" in capfd.readouterr().err


def test_stored_runs_are_scored_against_the_labels_of_another_rule(
    swept: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = json.loads((swept / "out" / "table.json").read_text())
    runs = [row["run"] for row in first["rows"][:2]]
    assert main([*runs, "--labels=Plurality", "--metric", "kl_votes", f"--output={tmp_path / 't.json'}"]) == 0
    data = json.loads((tmp_path / "t.json").read_text())
    assert "All rows are scored against the labels of Plurality (the class with most votes" in capfd.readouterr().out
    stored = [Manifest.read(Path(run) / "manifest.parquet") for run in runs]
    labels = dict(zip(stored[0].table["id"], Plurality().targets(stored[0]).label, strict=True))
    for row in data["rows"]:
        tested = load_results(Path(row["run"])).systems[0].table
        right = tested["predicted"] == [("angry", "sad", None)[labels[name]] for name in tested["id"]]
        known = [labels[name] >= 0 for name in tested["id"]]
        assert row["metrics"]["accuracy"]["estimate"] == pytest.approx(right[known].mean(), abs=1e-6)
    assert main([*runs, "--labels", "Plural"]) == 2
    assert "--labels Plural is unknown. Did you mean Plurality?" in capfd.readouterr().err


DEALT = ["data.protocol=GroupedKFold,RandomKFold", "data.protocol.num_folds=2", "data.protocol.dev_folds=0"]


def test_protocols_are_compared_where_they_are_asked_for(mini: Path, capfd: pytest.CaptureFixture[str]) -> None:
    quick = ["recipe=mini.yaml", "trainer.max_epochs=1", "baselines=[]", "model.pooling=MeanPooling"]
    assert main([*quick, *DEALT, "--output=t.json"]) == 0
    said = capfd.readouterr().out
    assert "2 protocols on Synthetic, variant plain" in said
    assert re.search(r"^RandomKFold +2 +12 .* train, dev and test share speakers$", said, re.MULTILINE)
    data = json.loads(Path("t.json").read_text(encoding="utf-8"))
    runs = [row["run"] for row in data["rows"]]
    assert main(runs) == 2
    assert "add --protocols" in capfd.readouterr().err
    assert main([*runs, "--protocols", "--output=again.json"]) == 0
    assert json.loads(Path("again.json").read_text(encoding="utf-8")) == data


def test_rows_of_a_corpus_with_unknown_speakers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Their clusters are made of two columns, which no table has as one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    root = msp_podcast().write(tmp_path / "podcast", sound=True)
    rows = [
        "recipe=msp_podcast_logmel",
        "data.protocol=OfficialFolds,odyssey2024",
        "model.pooling=MeanPooling,MaxPooling",
    ]
    settings = [
        f"data.root={root}",
        "data.allow_incomplete=true",
        "data.allow_silent=true",
        "variants=[Plain]",
        "--dry-run",
    ]
    assert main([*rows, *settings]) == 0
    assert "protocol=odyssey2024, pooling=MaxPooling:" in capfd.readouterr().out
    assert main([*rows[:1], *rows[2:], *settings]) == 0  # clusters of the recipe: speaker or dialogue


def test_named_rows_and_a_dry_run(mini: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = ["--row", "as it is:", "--row=wide: model.head.hidden_dim=9 model.head.dropout=0.1"]
    assert main([*QUICK, *rows, "--dry-run"]) == 0
    said = capfd.readouterr().out
    assert "as it is:\n" in said
    assert "wide:\n" in said
    assert not (mini / "runs").exists()


MISTAKES = [
    (["model.pooling=MeanPooling,MaxPoolin"], "row 'MaxPoolin': model.pooling=MaxPoolin is unknown. Did you mean Max"),
    (["model.pooling=MeanPooling"], "There is only one row to compare."),
    (["model.head.dropout=0.1,0.1"], "Two rows are called '0.1'"),
    (["model.head.dropout=0.1,0.10"], "rows '0.1' and '0.10' are the same experiment"),
    (
        ["model.head.dropout=0.1,0.2", "--variant", "transductive"],
        "the variant 'transductive' is not run. Known: plain",
    ),
    (["data.protocol=LeaveOneSpeakerOut,RandomKFold"], "utterances both, of 6 and 3. The worth of a protocol needs"),
    (["data.corpus.num_speakers=3,4"], "are not tested alike: "),
    (["model.head.dropout=0.1,,0.2"], "has an empty value between its commas"),
    (["model.head.dropout=[0.1,0.2"], "leaves [ open"),
    (["model.head.dropout=0.1,0.2", "--names", "a"], "--names: 1 different names for 2 rows (0.1, 0.2)"),
    (["model.head.dropout=0.1,0.2", "--metric=ua"], "--metric ua is unknown. Did you mean uar"),
    (
        ["model.head.dropout=0.1,0.2", "--output=table"],
        "ends in .md or .json or .csv; found 'table'. Where run directories",
    ),
    (
        ["model.head.dropout=0.1,0.2", "--output"],
        "--output needs the name of a file that ends in .md or .json or .csv; found none",
    ),
    (["model.head.dropout=0.1,0.2", "--metrc", "uar"], "--metrc: unknown. Did you mean --metric?"),
    (["model.head.dropout=0.1,0.2", "--variant"], "--variant needs a value: --variant VALUE."),
    (["gone"], "Give stored runs or a recipe to train, not both: found gone beside recipe=NAME."),
    (["--row", "no colon"], 'should look like "NAME: key=value key=value"'),
    (["--row", "a: dropout"], "'dropout' is not of the form key=value"),
]


@pytest.mark.parametrize(("given", "message"), MISTAKES, ids=[given[-1] for given, _ in MISTAKES])
def test_mistakes_are_one_line_before_anything_is_trained(
    mini: Path, given: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*QUICK, *given]) == 2
    said = capfd.readouterr()
    assert message in said.err
    assert (said.err.count("\n"), said.out) == (1, "")
    assert not (mini / "runs").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["gone", "elsewhere"], "No run directory at"),
        (["model.pooling=A,B"], "'model.pooling=A,B' is no run directory. To train, name the recipe: recipe=NAME."),
        (["--nmaes=a,b"], "--nmaes: unknown. Did you mean --names or --labels? Known: "),
        (["--row", "a: x=1"], "--row needs the recipe that it changes: recipe=NAME"),
    ],
)
def test_mistakes_without_a_recipe(
    mini: Path, given: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(given) == 2
    said = capfd.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_values_are_split_at_top_level_only() -> None:
    assert split_top("a,(b,c),[d,{e: 1, f: 2}],'g,h'", ",") == ["a", "(b,c)", "[d,{e: 1, f: 2}]", "'g,h'"]
    rows = rows_of(["model.a=[1,2],[3,4]", "trainer.devices=[0,1]", "fold=1,2", "data.root=/a,b"], (), WHOLE)
    assert [row.arguments for row in rows] == [
        ("model.a=[1,2]", "trainer.devices=[0,1]", "fold=1,2", "data.root=/a,b"),
        ("model.a=[3,4]", "trainer.devices=[0,1]", "fold=1,2", "data.root=/a,b"),
    ]
    assert rows_of(["model.a='x,y',z"])[0].arguments == ("model.a=x,y",)
    for text in ("[a", "a]", "(a]", "'a"):
        with pytest.raises(RecipeError, match="open"):
            split_top(text, ",")


def test_several_keys_are_all_combinations_in_order() -> None:
    rows = rows_of(["recipe=demo", "model.pooling=A,B", "model.optimizer.lr=1,2", "seeds=2"])
    assert names(rows) == ["pooling=A, lr=1", "pooling=A, lr=2", "pooling=B, lr=1", "pooling=B, lr=2"]
    assert rows[1].arguments == ("recipe=demo", "model.pooling=A", "model.optimizer.lr=2", "seeds=2")
    same_end = rows_of(["model.head.dropout=1,2", "model.frames.dropout=3,4"])
    assert names(same_end)[0] == "model.head.dropout=1, model.frames.dropout=3"


def test_a_value_may_be_a_spec_with_overrides() -> None:
    rows = rows_of(["--model.pooling=A,B model.pooling.x=[1, 2] model.pooling.y=two words", "z=1"])
    assert names(rows) == ["A", "B model.pooling.x=[1, 2] model.pooling.y=two words"]
    assert rows[1].arguments == ("--model.pooling=B", "model.pooling.x=[1, 2]", "model.pooling.y=two words", "z=1")


def test_named_rows_follow_and_leave_out_what_is_swept() -> None:
    rows = rows_of(["recipe=demo", "model.a=1,2", "model.b=5"], ["plain:", "x y: model.a=3 model.c=d"])
    assert names(rows) == ["1", "2", "plain", "x y"]
    assert rows[2].arguments == ("recipe=demo", "model.b=5")
    assert rows[3].arguments == ("recipe=demo", "model.b=5", "model.a=3", "model.c=d")


def test_what_a_finished_row_trained_from_leaves_the_memory(monkeypatch: pytest.MonkeyPatch, mini: Path) -> None:
    import gc
    import weakref

    from ser_toolkit.cli import _rows

    seen: list[weakref.ref] = []
    held: list[int] = []

    def run(row: GridRow, experiment: _rows.Experiment) -> Path:
        gc.collect()
        held.append(sum(one() is not None for one in seen))
        seen.append(weakref.ref(experiment))
        return Path(row.name)

    monkeypatch.setattr(_rows, "_run", run)
    _rows.run_rows([*ALL, "model.pooling=MeanPooling,MaxPooling,AttentivePooling"], [], "plain")
    assert held == [0, 0, 0]
