"""Every kind of head from training to report, prediction, comparison and another corpus; corpora with ratings alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from mini_recipe import MINI_RECIPE

from ser_toolkit import load_model
from ser_toolkit.cli.predict import main as predict_main
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.corpora.synthetic import Synthetic
from ser_toolkit.crosscorpus.matrix import matrix
from ser_toolkit.crosscorpus.single import evaluate
from ser_toolkit.crosscorpus.variants import evaluate_variants
from ser_toolkit.errors import RecipeError, ResultError, SerError
from ser_toolkit.evaluation.comparison.compare import compare_runs
from ser_toolkit.evaluation.metrics import concordance_cc
from ser_toolkit.evaluation.predictions import read_predictions
from ser_toolkit.evaluation.reporting.report import write_report
from ser_toolkit.experiment.dry_run import describe
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.system.places import cache_root

pytestmark = pytest.mark.usefixtures("no_pictures")

SPEECH = {"num_speakers": 3, "classes": ["angry", "sad"], "utterances_per_class": 2}
CORPUS = "{num_speakers: 4, classes: [angry, sad], utterances_per_class: 3}"
CCC = {"ccc_valence", "ccc_arousal", "ccc_dominance"}
QUICK = ("trainer.max_epochs=1", "model.pooling=MeanPooling", "baselines=[]")


class Kind(NamedTuple):
    """A head with its objective, and the figures of its report."""

    overrides: tuple[str, ...]
    classes: bool = True
    dimensions: bool = False


DIMENSIONS_ALONE = ("model.head=RegressionHead", "model.objective=ConcordanceLoss", "selection.monitor=dev/ccc")
KINDS = {
    "classes": Kind(("model.head=LinearHead",)),
    "dimensions": Kind(DIMENSIONS_ALONE, classes=False, dimensions=True),
    "both": Kind(("model.head=MultiTaskHead", "model.objective=CrossEntropyConcordance"), dimensions=True),
    "classes of both": Kind(("model.head=MultiTaskHead",)),
    "dimensions of both": Kind(("model.head=MultiTaskHead", *DIMENSIONS_ALONE[1:]), classes=False, dimensions=True),
    "fitted": Kind(("model.head=LinearSVM",)),
    "frames": Kind(("model.head=FrameLevelHead", "model.objective=FrameCrossEntropy")),
    "ordinal": Kind(("model.head=OrdinalHead",)),
    "prototypes": Kind(("model.head=PrototypeHead", "model.objective=AdditiveMargin")),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, mini_cache: Path) -> Iterator[Path]:
    """A working directory with recipes of two corpora, and a table that holds ratings of the second alone."""
    folder = tmp_path_factory.mktemp("heads")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SER_CACHE", str(mini_cache))
        (folder / "mini.yaml").write_text(MINI_RECIPE.replace(CORPUS, json.dumps(SPEECH)), encoding="utf-8")
        other = json.dumps({**SPEECH, "num_speakers": 2, "seed": 5})
        (folder / "other.yaml").write_text(MINI_RECIPE.replace(CORPUS, other), encoding="utf-8")
        root = cache_root() / "synthetic"
        rows = Synthetic(**SPEECH).utterances(root)  # type: ignore[arg-type]
        columns = {"path": "path", "speaker": "speaker", "valence": "valence", "arousal": "arousal"}
        table = pd.DataFrame({name: [getattr(row, key) for row in rows] for name, key in columns.items()})
        table[["valence", "arousal"]] = 1 + 6 * table[["valence", "arousal"]]
        table.to_csv(root / "ratings.csv", index=False)
        corpus = "{class_path: TableCorpus, init_args: {table: ratings.csv, dimension_range: [1, 7]}}"
        recipe = MINI_RECIPE.replace(f"{{class_path: Synthetic, init_args: {CORPUS}}}", corpus)
        (folder / "table.yaml").write_text(recipe.replace("data:\n", f"data:\n  root: {root}\n"), encoding="utf-8")
        yield folder


def trained(*overrides: str, recipe: str = "mini.yaml") -> Path:
    return Experiment(load_recipe(recipe, *QUICK, *overrides)).run().resolve()


def recording(run: Path) -> Path:
    table = pd.read_parquet(run / "manifest.parquet")
    return cache_root() / "synthetic" / str(table["path"].iloc[0])


@pytest.mark.parametrize("name", KINDS)
def test_a_head_goes_from_training_to_another_corpus(place: Path, name: str) -> None:
    kind = KINDS[name]
    run = trained("fold=1", *kind.overrides)
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    figures = set(report["systems"][0]["metrics"])
    assert ("uar" in figures) == kind.classes
    assert figures & CCC == (CCC if kind.dimensions else set())
    table, classes = read_predictions(run / "plain/fold=spk01/seed=0/predictions.parquet")
    assert classes == ("angry", "sad") and table["label"].notna().all(), "the truth stands there whatever is predicted"
    assert table["predicted"].notna().all() == kind.classes
    assert table["arousal_predicted"].notna().all() == kind.dimensions
    assert table["arousal_predicted"].isna().all() != kind.dimensions

    prediction = load_model(run).predict(recording(run))
    assert (prediction.label in classes) == kind.classes
    assert set(prediction.dimensions or ()) == ({"valence", "arousal", "dominance"} if kind.dimensions else set())

    copy = run.with_name("copy")
    shutil.copytree(run, copy, dirs_exist_ok=True)
    compared = compare_runs([run, copy], names=["one", "two"]).data
    assert compared["rows"][1]["difference"]["estimate"] == 0
    assert compared["metric"] == ("uar" if kind.classes else "ccc_valence")

    found = evaluate(run, load_recipe("other.yaml"))
    assert (found.data["scores"] is not None) == kind.classes
    assert set((found.data["dimensions"] or {"metrics": ()})["metrics"]) == (CCC if kind.dimensions else set())
    assert "CCC" in found.text() if kind.dimensions else "UA" in found.text()


def test_dimensions_on_another_corpus_are_those_of_the_recogniser(place: Path) -> None:
    run = trained(*DIMENSIONS_ALONE)
    found = evaluate(run, load_recipe("other.yaml"))
    root, row = cache_root() / "synthetic", found.table.iloc[0]
    paths = load_recipe("other.yaml").data().manifest.table.set_index("id")["path"]
    alone = load_model(run).predict(root / paths[row["id"]]).dimensions or {}
    np.testing.assert_allclose([row[f"{name}_predicted"] for name in alone], list(alone.values()), rtol=1e-4)
    with pytest.raises(ResultError, match=r"one of UA, and mini predicts no classes.*--on recipe=NAME"):
        matrix([run, run])


@pytest.mark.parametrize("name", ["dimensions", "both"])
def test_variants_stand_beside_each_other_on_another_corpus(place: Path, name: str) -> None:
    run = trained("fold=1", "variants=[Plain,Transductive]", *KINDS[name].overrides)
    found = evaluate_variants(run, load_recipe("other.yaml"))
    assert set(found.data["variant_dimensions"]) == {"plain", "transductive"}
    [difference] = found.data["dimension_differences"]
    assert (difference["of"], difference["against"]) == ("transductive", "plain")
    for key, entry in difference["metrics"].items():
        one, two = (found.data["variant_dimensions"][name]["metrics"][key] for name in ("transductive", "plain"))
        assert entry["estimate"] == pytest.approx(one["estimate"] - two["estimate"])
    assert set(difference["metrics"]) == CCC
    text, page = found.text(), found.markdown_path.read_text(encoding="utf-8")
    assert "CCC dominance" in text and "Differences in CCC" in page
    assert ("UA" in text) == ("Confusion" in page) == KINDS[name].classes


def test_a_table_of_ratings_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No classes, no dominance, a scale of its own: nothing is shown that was not trained."""
    run = trained(*DIMENSIONS_ALONE, recipe="table.yaml")
    report = write_report(run)
    assert set(report.data["systems"][0]["metrics"]) == {"ccc_valence", "ccc_arousal"}
    text = report.markdown_path.read_text(encoding="utf-8")
    assert "**Classes:** none" in text and "scale 1 to 7; no ratings of dominance" in text
    assert "dominance, plain" not in text
    found = load_model(run).predict(recording(run))
    assert found.label is None and found.probabilities is None
    assert list(found.dimensions or ()) == ["valence", "arousal"] and found.dimension_range == (1, 7)
    table = read_predictions(run / "plain/fold=spk01/seed=0/predictions.parquet")[0]
    assert table["dominance_predicted"].isna().all()
    assert predict_main([str(recording(run)), "--model", str(run)]) == 0
    said = capsys.readouterr()
    assert "valence, arousal: from 1 to 7, the scale of table" in said.err
    assert "dominance" not in said.out and "label" not in said.out
    other = evaluate(run, load_recipe("other.yaml"))
    assert set(other.data["dimensions"]["metrics"]) == {"ccc_valence", "ccc_arousal"}


def test_figures_are_on_the_scale_of_the_corpus(place: Path) -> None:
    run = trained(*DIMENSIONS_ALONE, recipe="table.yaml")
    own = load_model(run).predict(recording(run)).dimensions or {}
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record["corpus"]["dimension_range"] = None
    copy = run.with_name("without scale")
    shutil.copytree(run, copy, dirs_exist_ok=True)
    (copy / "run.json").write_text(json.dumps(record), encoding="utf-8")
    scaled = load_model(copy).predict(recording(run)).dimensions or {}
    assert own == pytest.approx({name: 1 + 6 * value for name, value in scaled.items()})


@pytest.mark.parametrize(
    ("recipe", "overrides", "said"),
    [
        (
            "table.yaml",
            ("data.corpus.dimension_range=null", *DIMENSIONS_ALONE),
            r"scale.*data\.corpus\.dimension_range=\[",
        ),
        ("table.yaml", (), r"CrossEntropy needs classes; table has none"),
        ("table.yaml", (*DIMENSIONS_ALONE[:2], "selection.monitor=dev/ccc_dominance"), "needs ratings of dominance"),
        ("mini.yaml", ("model.head=MultiTaskHead", "selection.monitor=dev/ccc"), "CrossEntropy trains logits of Multi"),
    ],
)
def test_missing_targets_are_refused_before_training(
    place: Path, recipe: str, overrides: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SerError, match=said):
        trained("output=refused", *overrides, recipe=recipe)
    assert not (place / "refused").exists()


def test_ratings_without_a_scale_are_refused_where_they_are_needed_and_told(place: Path) -> None:
    table = pd.read_csv(cache_root() / "synthetic" / "ratings.csv").assign(label="angry")
    table.loc[::2, "label"] = "sad"
    table.to_csv(cache_root() / "synthetic" / "labelled.csv", index=False)
    given = ("data.corpus.table=labelled.csv", "data.corpus.dimension_range=null")
    both = KINDS["both"].overrides
    experiment = Experiment(load_recipe("table.yaml", *QUICK, *given, *both))
    for refused in (experiment.run, lambda: list(describe(experiment)), load_recipe("table.yaml", *given, *both).build):
        with pytest.raises(
            RecipeError, match=r"known scale.*valence of 12 utterances.*data\.corpus\.dimension_range=\["
        ):
            refused()
    lines = "\n".join(describe(Experiment(load_recipe("table.yaml", *QUICK, *given))))
    assert "ratings: valence of 12 utterances" in lines and "scale not stated" in lines


def test_a_regression_on_eGeMAPS_stands_beside_dimensions_alone(place: Path) -> None:
    pytest.importorskip("opensmile")
    asked = ("baselines=[majority,egemaps_svm,egemaps_regression]", "output=beside")
    systems = write_report(trained(*DIMENSIONS_ALONE, *asked)).data["systems"]
    assert [system["name"] for system in systems] == ["model", "eGeMAPS regression"]
    assert set(systems[1]["metrics"]) == CCC
    both = write_report(trained(*KINDS["both"].overrides, *asked))
    assert [system["name"] for system in both.data["systems"]] == [
        "model",
        "eGeMAPS regression",
        "eGeMAPS SVM",
        "majority class",
    ]
    assert [set(system["metrics"]) & {"uar", *CCC} for system in both.data["systems"][1:]] == [CCC, {"uar"}, {"uar"}]
    assert "one rater" in both.text()


def partial_table(name: str, **columns: object) -> str:
    """Override for a copy of the table of ratings in which columns are other ones."""
    place = cache_root() / "synthetic"
    table = pd.read_csv(place / "ratings.csv")
    table.assign(**{key: make(table) for key, make in columns.items()}).to_csv(place / name, index=False)  # type: ignore[operator]
    return f"data.corpus.table={name}"


def test_a_dimension_without_ratings_in_the_training_of_a_fold(place: Path) -> None:
    """The fold predicts none of it: the report does not fail over that, nor counts the fold, and says so."""
    table = partial_table("some.csv", arousal=lambda t: t["arousal"].where(t["speaker"].isin(["spk01", "spk02"])))
    run = trained(*DIMENSIONS_ALONE, table, recipe="table.yaml")
    report = write_report(run)
    frames = {
        fold: read_predictions(run / f"plain/fold={fold}/seed=0/predictions.parquet")[0]
        for fold in ("spk01", "spk02", "spk03")
    }
    predicted = {fold: frame["arousal_predicted"].notna().all() for fold, frame in frames.items()}
    lacking = [fold for fold in ("spk01", "spk02") if not predicted[fold]]
    assert len(lacking) == 1
    said = f"Arousal is not predicted in 1 of 3 folds ({lacking[0]})"
    assert any(banner.startswith(said) for banner in report.data["banners"])
    counted = frames[{"spk01": "spk02", "spk02": "spk01"}[lacking[0]]]
    expected = concordance_cc(counted["arousal"].to_numpy(), counted["arousal_predicted"].to_numpy())
    assert report.data["systems"][0]["metrics"]["ccc_arousal"]["estimate"] == pytest.approx(expected)
    assert "4 to 12 of 12" in report.text()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            KINDS["both"].overrides,
            "dev/uar cannot be measured: a dev part of 4 utterances of table has no utterance of",
        ),
        (
            DIMENSIONS_ALONE,
            "dev/ccc cannot be measured: .* has fewer than two ratings of valence, arousal or dominance",
        ),
        ((*DIMENSIONS_ALONE[:2], "selection.monitor=dev/ccc_arousal"), "has fewer than two ratings of arousal"),
    ],
)
def test_a_dev_part_without_what_is_monitored_is_refused(place: Path, overrides: tuple[str, ...], said: str) -> None:
    columns = {"fold": lambda t: t["speaker"].map({"spk01": "train", "spk02": "dev", "spk03": "test"})}
    columns["label"] = lambda t: np.where(t.index % 2, "sad", "angry")
    if "uar" in said:
        columns["label"] = lambda t: np.where(t["speaker"] == "spk02", "", np.where(t.index % 2, "sad", "angry"))
    else:
        columns |= {name: lambda t, n=name: t[n].where(t["speaker"] != "spk02") for name in ("valence", "arousal")}
    half = ("data.protocol=OfficialFolds", partial_table("half.csv", **columns))
    with pytest.raises(RecipeError, match=said):
        trained("output=refused", *half, *overrides, recipe="table.yaml")
    assert not (place / "refused").exists()


def test_another_scale_of_the_tested_corpus_gives_another_figure(place: Path) -> None:
    """Stored predictions hold scaled ratings: those of one scale are not used again for another."""
    run = trained("fold=1", *DIMENSIONS_ALONE)
    found = {
        high: evaluate(run, load_recipe("table.yaml", f"data.corpus.dimension_range=[1,{high}]")).data["dimensions"]
        for high in (7, 9)
    }
    assert found[7]["metrics"]["ccc_arousal"]["estimate"] != found[9]["metrics"]["ccc_arousal"]["estimate"]
