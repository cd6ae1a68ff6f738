"""Runs on other corpora: the same numbers as the recogniser's, nothing predicted twice, and errors of one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mini_recipe import MINI_RECIPE
from seen_progress import SeenProgress

from ser_toolkit.cli.evaluate import main
from ser_toolkit.config.recipe import Recipe, load_recipe
from ser_toolkit.crosscorpus import single
from ser_toolkit.crosscorpus.matrix import matrix
from ser_toolkit.crosscorpus.single import TransferOptions, evaluate
from ser_toolkit.crosscorpus.variants import evaluate_variants
from ser_toolkit.errors import SerError
from ser_toolkit.evaluation.predictions import read_predictions
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.inference.recognizer import load_model
from ser_toolkit.upstreams.spectral import Spectral

pytestmark = pytest.mark.usefixtures("no_pictures")

MINI = "{num_speakers: 4, classes: [angry, sad], utterances_per_class: 3}"
FIRST = "{num_speakers: 3, classes: [angry, sad], utterances_per_class: 2}"
#: Other speech, another order of classes, and one more.
OTHER = "{num_speakers: 3, classes: [happy, sad, angry], utterances_per_class: 2, seed: 7}"
CALM = "{num_speakers: 2, classes: [bored, neutral], utterances_per_class: 2, seed: 3}"
#: Every speaker has one emotion.
SINGLE = "{num_speakers: 3, classes: [sad, angry], utterances_per_class: 2, seed: 9, speaker_emotion_confounding: 1.0}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, mini_cache: Path) -> Iterator[tuple[Path, Path]]:
    """A finished run on each of two corpora."""
    home = tmp_path_factory.mktemp("cross")
    for name, corpus in (("mini", FIRST), ("other", OTHER), ("calm", CALM), ("single", SINGLE)):
        (home / f"{name}.yaml").write_text(MINI_RECIPE.replace(MINI, corpus), encoding="utf-8")
    settings = ("baselines=[]", "trainer.max_epochs=1")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("SER_CACHE", str(mini_cache))
        first = Experiment(load_recipe("mini.yaml", "variants=[Plain,Transductive]", *settings)).run()
        utterances = "{class_path: Transductive, init_args: {level: utterance}}"
        fixed = ("model.pooling=MeanPooling", f"variants=[Plain,{utterances}]")
        second = Experiment(load_recipe("other.yaml", *fixed, *settings)).run()
        yield home / first, home / second


@pytest.fixture
def other(runs: tuple[Path, Path]) -> Recipe:
    return load_recipe("other.yaml")


def probabilities(table: pd.DataFrame) -> np.ndarray:
    return table.set_index("id").sort_index()[["probability/angry", "probability/sad"]].to_numpy()


def recognised(run: Path, recipe: Recipe, *, enrol: bool = False, **chosen: str) -> np.ndarray:
    """What ``ser-predict`` says about the files."""
    manifest = recipe.data().manifest
    recognizer, found = load_model(run, **chosen), []
    rows = manifest.table.sort_values("id")
    for row in rows.itertuples():
        own = rows.loc[rows["speaker"] == row.speaker, "path"]
        enrolment = [manifest.root / path for path in own] if enrol else None
        prediction = recognizer.predict(manifest.root / row.path, enrolment=enrolment)
        assert prediction.probabilities is not None
        found.append([prediction.probabilities[name] for name in ("angry", "sad")])
    return np.array(found)


def test_predictions_are_those_of_the_recogniser(runs: tuple[Path, Path], other: Recipe) -> None:
    whole = evaluate(runs[0], other)
    np.testing.assert_allclose(probabilities(whole.table), recognised(runs[0], other), atol=1e-5)
    assert whole.table["probability/happy"].eq(0).all() and len(whole.table) == 18
    one = evaluate(runs[0], other, TransferOptions(fold="spk02"))
    assert one.folder != whole.folder and set(one.table["fold"]) == {"spk02"}
    np.testing.assert_allclose(probabilities(one.table), recognised(runs[0], other, fold="spk02"), atol=1e-5)


@pytest.mark.parametrize(("number", "variant"), [(0, "transductive"), (1, "transductive-utterance")])
def test_speaker_normalised_variants_use_the_test_speakers_own_audio(
    runs: tuple[Path, Path], number: int, variant: str
) -> None:
    recipe = load_recipe("mini.yaml" if number else "other.yaml")
    found = evaluate(runs[number], recipe, TransferOptions(variant=variant))
    expected = recognised(runs[number], recipe, variant=variant, enrol=True)
    np.testing.assert_allclose(probabilities(found.table), expected, atol=1e-4)
    assert np.abs(expected - recognised(runs[number], recipe)).max() > 0.01


def test_without_stored_features_the_numbers_are_the_same(
    runs: tuple[Path, Path], other: Recipe, tmp_path: Path
) -> None:
    copied = tmp_path / "mini" / runs[0].name
    shutil.copytree(runs[0], copied, ignore=shutil.ignore_patterns("evaluations"))
    for path in copied.rglob("config.yaml"):
        text = path.read_text(encoding="utf-8")
        assert "keep: auto" in text
        path.write_text(text.replace("keep: auto", "keep: none"), encoding="utf-8")
    said = SeenProgress()
    found = evaluate(copied, other, progress=said)
    assert said.notes == []
    np.testing.assert_allclose(probabilities(found.table), probabilities(evaluate(runs[0], other).table), atol=1e-5)


def test_recordings_that_the_upstream_does_not_take_are_tested_in_windows(
    runs: tuple[Path, Path], other: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "mini" / runs[0].name
    shutil.copytree(runs[0], copied, ignore=shutil.ignore_patterns("evaluations"))
    monkeypatch.setattr(Spectral, "longest_samples", 8000)
    said = SeenProgress()
    found = evaluate(copied, other, progress=said)
    assert len(said.notes) == 1 and "tested in windows of 0.5 s, the most that the upstream takes" in said.notes[0]
    np.testing.assert_allclose(probabilities(found.table), recognised(copied, other), atol=1e-5)
    assert np.abs(probabilities(found.table) - probabilities(evaluate(runs[0], other).table)).max() > 1e-3
    with pytest.raises(SerError, match="Use variant=plain"):
        evaluate(copied, other, TransferOptions(variant="transductive"))


def test_the_report_says_what_is_scored(runs: tuple[Path, Path], other: Recipe) -> None:
    found = evaluate(runs[0], other)
    scores = found.data["scores"]
    assert scores["classes"] == ["angry", "sad"] and scores["unknown_class"] == {"happy": 6}
    assert (scores["utterances"], scores["scored"], scores["speakers"]) == (18, 12, 3)
    table, classes = read_predictions(found.folder / "predictions.parquet")
    assert classes == ("angry", "sad", "happy")
    known = table[table["label"] != "happy"]
    hits = (known["predicted"] == known["label"]).groupby(known["label"]).mean()
    assert scores["metrics"]["uar"]["estimate"] == pytest.approx(hits.mean())
    assert found.folder.parent == runs[0] / "evaluations" and found.folder.name.startswith("synthetic-")
    page = found.markdown_path.read_text(encoding="utf-8")
    assert "3 models averaged" in page and "(happy 6)" in page and "**Warning:** Synthetic speech" in page
    assert json.loads(found.json_path.read_text(encoding="utf-8")) == found.data


def test_what_is_there_is_used_again(runs: tuple[Path, Path], other: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    before = evaluate(runs[0], other)
    with monkeypatch.context() as patch:
        patch.setattr(single, "predict_corpus", lambda *_: pytest.fail("predicted again"))
        assert evaluate(runs[0], other).data == before.data
        merged = evaluate(runs[0], other, TransferOptions(merges={"happy": "angry"}))
        adapted = evaluate(runs[0], other, TransferOptions(adapt_prior=True))
    assert merged.folder == before.folder and merged.data["scores"]["support"] == [12, 6]
    assert adapted.data["scores"]["adapted_prior"] and before.data["scores"]["adapted_prior"] is None
    assert len({one.json_path for one in (before, merged, adapted)}) == 3
    said = SeenProgress()
    (before.folder / "predictions.parquet").write_bytes(b"broken")
    again = evaluate(runs[0], other, progress=said)
    assert again.data == before.data and "is damaged" in said.notes[0]


def test_another_channel_of_the_corpus_is_predicted_anew(runs: tuple[Path, Path], other: Recipe) -> None:
    """Else the figures of the average would stand under the name of a channel."""
    left, first, average = (
        single.TargetCorpus.of(load_recipe("other.yaml", f"data.channel={channel}")).identity
        for channel in ("left", 0, "mix")
    )
    assert left == first != average == single.TargetCorpus.of(other).identity


def test_shared_audio_is_said(runs: tuple[Path, Path]) -> None:
    found = evaluate(runs[0], load_recipe("mini.yaml"))
    names, audio = found.data["audit"]
    assert names.startswith("warning: 3 of 3 speaker names of Synthetic are also in the run's corpus")
    assert audio.startswith("warning: 12 of 12 recordings of Synthetic") and "may have heard it" in audio


def test_other_audio_is_not(runs: tuple[Path, Path], other: Recipe) -> None:
    assert evaluate(runs[0], other).data["audit"][1] == "shared recordings: none"


def test_matrix_of_two_runs(runs: tuple[Path, Path], other: Recipe, tmp_path: Path) -> None:
    found = matrix(runs, tmp_path / "m")
    assert {path.name for path in found.folder.iterdir()} == {"matrix.json", "matrix.md", "matrix.png"}
    data = found.data
    assert data["runs"] == ["mini", "other"] and data["corpora"] == ["Synthetic", "Synthetic (2)"]
    assert data["classes"] == ["angry", "sad"]
    assert [[cell["in_corpus"] for cell in row] for row in data["cells"]] == [[True, False], [False, True]]
    own = json.loads((runs[0] / "report.json").read_text(encoding="utf-8"))["systems"][0]["metrics"]["uar"]
    assert data["cells"][0][0]["scores"]["metrics"]["uar"]["estimate"] == pytest.approx(own["estimate"], abs=1e-6)
    assert data["cells"][0][1]["scores"] == evaluate(runs[0], other).data["scores"]
    inside = data["cells"][1][1]["scores"]
    assert inside["classes"] == ["sad", "angry"] and inside["unknown_class"] == {"happy": 6}


def test_an_unfinished_run_is_said_or_refused(runs: tuple[Path, Path], other: Recipe, tmp_path: Path) -> None:
    copied = tmp_path / "mini" / runs[0].name
    shutil.copytree(runs[0], copied, ignore=shutil.ignore_patterns("evaluations"))
    (copied / "plain" / "fold=spk02" / "seed=0" / "metrics.json").unlink()
    with pytest.raises(SerError, match="of 3 models that the run had, 1 have lost their weights"):
        evaluate(copied, other)
    record = json.loads((copied / "run.json").read_text(encoding="utf-8"))
    (copied / "run.json").write_text(json.dumps(record | {"complete": []}), encoding="utf-8")
    assert "Unfinished run: 2 of 3 folds." in evaluate(copied, other).data["banners"]
    for path in copied.glob("plain/*/*/metrics.json"):
        path.unlink()
    with pytest.raises(SerError, match="holds no complete model"):
        evaluate(copied, other)


MISTAKES = [
    (["nowhere", "--on", "recipe=other.yaml"], "No run directory at"),
    ([".", "--on", "recipe=other.yaml"], "expected run.json in it"),
    (["RUN"], "On which corpus? Name a recipe"),
    (["RUN", "--on", "recipe=othr.yaml"], "No recipe file at"),
    (["RUN", "--on", "recipe=other.yaml", "fold=9"], "Fold '9' is unknown to this run"),
    (["RUN", "--on", "recipe=other.yaml", "seed=x"], "expected a whole number"),
    (["RUN", "--on", "recipe=other.yaml", "seed=4"], "no complete model of seed=4"),
    (["RUN", "--on", "recipe=other.yaml", "variant=neutral"], "Variant 'neutral' is unknown to this run"),
    (["RUN", "--on", "recipe=other.yaml", "--device", "abacus"], "Device 'abacus' cannot be used here"),
    (["RUN", "--on", "recipe=other.yaml", "--map", "hapy=angry"], "'hapy' is no class here. Did you mean happy?"),
    (["RUN", "--on", "recipe=other.yaml", "--map", "happy"], "--map expects excited=happy"),
    (
        ["RUN", "--on", "recipe=calm.yaml"],
        "No class is common to the model (angry, sad) and the corpus (bored, neutral)",
    ),
    (["RUN", "OTHER", "--on", "recipe=other.yaml"], "Several: ser-evaluate matrix RUN RUN"),
    (["RUN", "--on", "recipe=other.yaml", "--foldd=1"], "--foldd: unknown. Did you mean --fold?"),
    (["matrix", "RUN", "OTHER", "--rooot", "a=b"], "ser-evaluate matrix --rooot: unknown. Did you mean --root?"),
    (["matrix", "RUN"], "A matrix needs two runs or more, found 1"),
    (["matrix", "RUN", "RUN", "--classes", "all"], "--classes all is unknown"),
    (["matrix", "RUN", "OTHER", "--root", "EmoDB=/data"], "--root EmoDB: no run has this corpus"),
    (["matrix", "RUN", "OTHER", "--map", "hapy=sad"], "'hapy' is no class here"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(found)[:40] for found, _ in MISTAKES])
def test_mistakes_are_one_line(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    places = {"RUN": str(runs[0]), "OTHER": str(runs[1])}
    code = main([places.get(argument, argument) for argument in arguments])
    lines = capsys.readouterr().err.splitlines()
    assert code == 2 and len(lines) == 1 and message in lines[0]


def test_commands_print_the_result(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([str(runs[0]), "--on", "recipe=other.yaml", "fold=1", "--map", "happy=sad"]) == 0
    out = capsys.readouterr().out
    assert "mini (Synthetic) on Synthetic" in out and "one model (fold spk01, seed 0)" in out
    assert Path(out.splitlines()[-1]).is_file()
    assert (
        main(["matrix", *map(str, runs), "--classes", "pairwise", "--adapt-prior", "--output", str(tmp_path / "m")])
        == 0
    )
    out = capsys.readouterr().out
    assert "† in-corpus: cross-validated" in out and "common to each pair" in out
    cells = json.loads((tmp_path / "m" / "matrix.json").read_text(encoding="utf-8"))["cells"]
    assert cells[1][1]["scores"]["classes"] == ["happy", "sad", "angry"]
    assert cells[1][0]["scores"]["classes"] == ["sad", "angry"]
    adapted = [[cell["scores"]["adapted_prior"] is not None for cell in row] for row in cells]
    assert adapted == [[False, True], [True, False]]


def test_all_variants_stand_in_one_report_with_paired_differences(runs: tuple[Path, Path], other: Recipe) -> None:
    found = evaluate_variants(runs[0], other)
    alone = {name: evaluate(runs[0], other, TransferOptions(variant=name)) for name in ("plain", "transductive")}
    assert found.data["variants"] == {name: one.data["scores"] for name, one in alone.items()}
    assert found.data["scores"] == alone["plain"].data["scores"] and found.folder == alone["plain"].folder
    (difference,) = found.data["differences"]
    uar = [one.data["scores"]["metrics"]["uar"]["estimate"] for one in alone.values()]
    assert (difference["of"], difference["against"], difference["utterances"]) == ("transductive", "plain", 12)
    assert difference["metrics"]["uar"]["estimate"] == pytest.approx(uar[1] - uar[0])
    page, text = found.markdown_path.read_text(encoding="utf-8"), found.text()
    for shown in (page, text):
        assert "transductive − plain" in shown and "variants plain, transductive:" in shown
        assert "chance is 50.0" in shown
    assert "chance is 50.0" in alone["plain"].text(), "the terminal names chance for a single variant, too"
    assert json.loads(found.json_path.read_text(encoding="utf-8")) == found.data
    inside = evaluate_variants(runs[0] / "transductive" / "fold=spk01" / "seed=0", other)
    assert "variants" not in inside.data and inside.data["variant"] == "transductive"


def test_a_variant_that_cannot_be_had_is_left_out_with_its_reason(
    runs: tuple[Path, Path], other: Recipe, tmp_path: Path
) -> None:
    copied = tmp_path / "mini" / runs[0].name
    shutil.copytree(runs[0], copied, ignore=shutil.ignore_patterns("evaluations"))
    for path in copied.glob("transductive/*/*/metrics.json"):
        path.unlink()
    found = evaluate_variants(copied, other)
    assert "variants" not in found.data
    assert "Variant transductive is left out: " in found.data["banners"][-1]
    assert found.data["banners"][-1] in found.markdown_path.read_text(encoding="utf-8")


def test_a_corpus_alone_is_enough_and_what_is_not_whole_is_said(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A recipe of data alone, some of its speakers, each with one emotion: all of it above the figures."""
    data = (Path.cwd() / "single.yaml").read_text(encoding="utf-8").split("model:")[0]
    Path("alone.yaml").write_text(data, encoding="utf-8")
    chosen = ["recipe=alone.yaml", "data.leave_out_speakers=[spk03]"]
    assert main([str(runs[0]), "--on", *chosen]) == 0
    lines = capsys.readouterr().out.splitlines()
    part = "! Synthetic: Part of the corpus: 2 of 3 speakers (8 of 12 utterances), chosen by data.leave_out_speakers"
    one = "! Synthetic: 2 of 2 speakers (100.0 % of the utterances) are heard in one emotion alone"
    assert any(line.startswith(part) for line in lines) and any(line.startswith(one) for line in lines)
    assert any(line.startswith("Tested on 8 utterances of Synthetic (chosen speakers)") for line in lines)
    for variant, beside in (("plain", False), ("transductive", True)):
        options = [f"variant={variant}", "--output", str(tmp_path / variant)]
        assert main(["matrix", str(runs[0]), *options, "--on", *chosen, "--on", "recipe=other.yaml"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert "Synthetic (3)" in "\n".join(lines) and "chance is 50.0" in "\n".join(lines)
        assert any(line.startswith(part) for line in lines)
        assert any(line.startswith(one) for line in lines) is beside
    assert main(["matrix", str(runs[0]), "--on", "data.root=x"]) == 2
    assert "--on names a corpus" in capsys.readouterr().err
