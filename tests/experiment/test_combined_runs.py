"""Whole runs over several corpora, on replicas of their layouts: trained on all, tested on what was left out."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from corpus_replicas import REPLICAS, Replica

from ser_toolkit.cli.train import main
from ser_toolkit.config.files import recipe_folder
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.corpora.combined import Combined
from ser_toolkit.crosscorpus.matrix import matrix
from ser_toolkit.crosscorpus.overlap import audit_corpora
from ser_toolkit.errors import RecipeError, ResultError
from ser_toolkit.inference.recognizer import load_model

pytestmark = pytest.mark.usefixtures("no_pictures")

RECIPE = """\
# Four corpora in three languages, a linear head on a few mel bands.
data:
  corpus: {class_path: Combined, init_args: {members: [SAVEE, TESS, EMOVO, CaFE]}}
  labels: {class_path: Mapped, init_args: {ontology: big_four}}
  protocol: LeaveOneLanguageOut
  balance: [corpus, label]
  root: audio
  allow_incomplete: true
  batch_size: 8
model:
  upstream: {class_path: Spectral, init_args: {num_mels: 8, num_mfcc: 8}}
  layer_mix: SingleLayer
  pooling: StatisticsPooling
  head: LinearHead
  objective: CrossEntropy
  optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.01}}
trainer: {max_epochs: 2}
variants: [Plain, PerCorpus]
baselines: [majority]
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    for name in ("SAVEE", "TESS", "EMOVO", "CaFE"):
        REPLICAS[name.lower()]().write(tmp_path / "audio" / name, sound=True)
    (tmp_path / "several.yaml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


def test_languages_are_left_out_and_corpora_reported(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe=several.yaml"]) == 0
    said = capfd.readouterr().out
    assert "SAVEE+TESS+EMOVO+CaFE" in said
    assert "per-corpus standardises per corpus" in said
    (run,) = (place / "runs" / "several").iterdir()
    report = json.loads((run / "report.json").read_text())
    assert report["folds"] == ["en", "fr", "it"]
    assert report["classes"] == ["angry", "happy", "neutral", "sad"]
    model = report["systems"][0]
    assert [entry["corpus"] for entry in model["by_corpus"]["corpora"]] == ["CaFE", "EMOVO", "SAVEE", "TESS"]
    predictions = pd.read_parquet(run / "plain" / "fold=it" / "seed=0" / "predictions.parquet", partitioning=None)
    assert set(predictions["corpus"]) == {"EMOVO"}
    assert all(name.startswith("EMOVO/") for name in predictions["speaker"])
    # the same command again has nothing to do, wherever the corpora lie
    (place / "audio" / "CaFE").rename(place / "elsewhere")
    assert main(["recipe=several.yaml", f"data.corpus.roots.CaFE={place / 'elsewhere'}"]) == 0
    assert [path.name for path in (place / "runs" / "several").iterdir()] == [run.name]


def test_speakers_of_several_corpora_are_left_out(place: Path) -> None:
    leave = ["recipe=several.yaml", "data.protocol=LeaveOneSpeakerOut", "variants=[Plain]", "trainer.max_epochs=1"]
    assert main([*leave, "fold=SAVEE/DC"]) == 0
    (run,) = (place / "runs" / "several").iterdir()
    report = json.loads((run / "report.json").read_text())
    assert report["systems"][0]["name"] == "model"
    assert report["systems"][0]["folds"] == ["SAVEE-DC"]
    assert load_model(run, fold="SAVEE/DC").info.folds == ("SAVEE-DC",)


def test_a_member_that_moved_is_still_the_same_corpus(place: Path) -> None:
    base = ["recipe=several.yaml", "data.corpus.members=[SAVEE,CaFE]", "data.protocol=LeaveOneCorpusOut"]
    base += ["fold=CaFE", "variants=[Plain]", "baselines=[]", "trainer.max_epochs=1"]
    assert main(base) == 0
    (run,) = (place / "runs" / "several").iterdir()
    alone = load_recipe("several.yaml", "data.corpus=SAVEE", "data.root=audio/SAVEE")
    names, recordings = audit_corpora(run, "SAVEE+CaFE", alone.data())
    assert names.startswith("warning: 4 of 4 speaker names of SAVEE") and "(DC, JE, JK, KL)" in names
    assert recordings.startswith("warning: 28 of 28 recordings of SAVEE")
    (place / "audio" / "CaFE").rename(place / "elsewhere")
    there = f"data.corpus.roots.CaFE={place / 'elsewhere'}"
    assert main([*base, there, "name=later", f"start_from={run}"]) == 0
    (later,) = (place / "runs" / "later").iterdir()
    found = matrix([run, later], roots={"CaFE": "elsewhere"})  # as typed: relative to the working directory
    assert found.data["corpora"] == ["SAVEE+CaFE"]
    with pytest.raises(RecipeError, match="--root CaFA: no run has this corpus"):
        matrix([run, later], roots={"CaFE": "elsewhere", "CaFA": "elsewhere"})


def test_a_run_over_several_corpora_is_scored_on_its_own_predictions_of_a_member(place: Path) -> None:
    small = ["trainer.max_epochs=1", "variants=[Plain]", "baselines=[]"]
    both = ["recipe=several.yaml", "data.corpus.members=[SAVEE,CaFE]", "data.protocol=LeaveOneCorpusOut", *small]
    assert main([*both, "fold=CaFE", "name=both"]) == 0
    alone = ["data.corpus=SAVEE", "data.root=audio/SAVEE", "data.protocol=LeaveOneSpeakerOut", "data.balance=[label]"]
    assert main(["recipe=several.yaml", "fold=1", "name=alone", *alone, *small]) == 0
    (first,), (second,) = (list((place / "runs" / name).iterdir()) for name in ("both", "alone"))
    with pytest.raises(ResultError, match="both has tested nothing of SAVEE yet"):
        matrix([first, second])
    assert main([*both, "fold=SAVEE", "name=both"]) == 0
    found = matrix([first, second]).data
    other = found["cells"][1][0]  # the run of SAVEE on SAVEE+CaFE
    assert not other["in_corpus"]
    assert other["scores"]["utterances"] == len(REPLICAS["cafe"]().audio)
    assert any("of SAVEE+CaFE, CaFE alone is scored: the run was trained on SAVEE" in line for line in found["audit"])
    cell = found["cells"][0][1]
    assert cell["in_corpus"]
    assert cell["scores"]["utterances"] == 16  # four classes of four speakers, by the models that never heard SAVEE


def test_corpora_that_a_protocol_leaves_out_are_named(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Of the four, CaFE alone publishes folds."""
    assert main(["recipe=several.yaml", "data.protocol=OfficialFolds", "--dry-run"]) == 0
    assert "audit: warning: no utterance of EMOVO, SAVEE, TESS takes part" in capfd.readouterr().out


def test_mistakes_are_one_line(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    REPLICAS["urdu"]().write(place / "audio" / "URDU", sound=True)
    for arguments, said in (
        (
            ["data.corpus.members=[SAVEE,URDU]", "data.protocol=LeaveOneCorpusOut", "data.labels=Intended"],
            "nothing is left to learn from",
        ),
        (["data.corpus.members=[SAVEE]"], "at least two different corpora"),
        (["data.corpus.members=[SAVEE,EMOVA]"], "EMOVO"),
        (["data.labels.only=[angry,furious]"], "only names 'furious'"),
        (["data.balance=[speeker]"], "Did you mean speaker"),
        (["data.corpus.roots.TESS=/nowhere"], "TESS is not at /nowhere"),
    ):
        assert main(["recipe=several.yaml", *arguments]) == 2
        error = capfd.readouterr().err
        assert said in error
        assert "Traceback" not in error


#: The two of the eight that have no replica elsewhere: their names of files, in two voices.
EMODB = [f"wav/{speaker}a01{code}a.wav" for speaker in ("03", "08") for code in "WFNT"]
RAVDESS = [
    f"Actor_{actor}/03-01-{emotion}-01-01-01-{actor}.wav"
    for actor in ("01", "02")
    for emotion in ("01", "03", "04", "05")
]


def test_the_recipe_of_eight_languages_splits_replicas_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    Replica(EMODB).write(tmp_path / "EmoDB", sound=True)
    Replica(RAVDESS).write(tmp_path / "RAVDESS", sound=True)
    recipe = load_recipe("languages_egemaps", f"data.root={tmp_path}", "data.allow_incomplete=true")
    data = recipe.data()
    assert isinstance(data.corpus, Combined)
    for member in data.corpus.members:
        replica = REPLICAS.get(type(member).__module__.rpartition(".")[2])
        if replica is not None:
            replica().write(tmp_path / member.name, sound=True)
    assert [fold.name for fold in data.folds] == ["bn", "de", "en", "fa", "fr", "it", "pl", "ur"]
    readme = (recipe_folder() / "languages" / "README.md").read_text(encoding="utf-8")
    assert all(member.name in readme for member in data.corpus.members)
