"""``ser-corpus``: what is known, what a copy holds, what folds share."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile
from corpus_replicas import msp_improv

from ser_toolkit.cli.corpus import main
from ser_toolkit.config.files import shipped_corpora, shipped_models, shipped_recipes, shipped_tasks
from ser_toolkit.data.manifest import Manifest


def test_every_corpus_is_listed_with_its_licence(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    said = capfd.readouterr().out
    for name in ("CREMAD", "EmoDB", "IEMOCAP", "Synthetic", "TableCorpus", "FolderCorpus"):
        assert f"{name}\n" in said
    for what in ("licence", "checked", "cite", "labels"):
        assert said.count(f"\n  {what} ") >= 6, what


def test_recipes_are_listed_as_corpora_times_models_and_further_ones(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    head, *groups = capfd.readouterr().out.split("\n\n")
    assert "recipe=<corpus>_<model>" in head and "recipe=<corpus>_<model>_<task>" in head
    for group, (title, files) in zip(
        groups,
        {
            "corpora": shipped_corpora(),
            "models": shipped_models(),
            "tasks": shipped_tasks(),
            "further recipes": shipped_recipes(),
        }.items(),
        strict=True,
    ):
        first, *lines = group.strip("\n").splitlines()
        assert first == title
        assert [line.split()[0] for line in lines] == list(files)
        assert all(len(line.split()) > 4 for line in lines), "a recipe without a sentence at its top"


def test_the_files_of_a_composed_recipe_are_shown(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "emodb_hubert"]) == 0
    lines = capfd.readouterr().out.splitlines()
    stems = [Path(line).stem for line in lines[::2]]
    assert stems == ["_network", "_superb_head", "hubert", "_emodb", "_emodb_network"]
    assert lines[5].startswith("  Frozen HuBERT base")
    assert main(["recipes", "emodb_huber"]) == 2
    assert "Did you mean emodb_hubert" in capfd.readouterr().err


def test_protocols_are_listed_with_source_leak_and_metric(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["protocols"]) == 0
    said = capfd.readouterr().out
    first = said[said.index("superb_er\n") :].split("\n")[:7]
    assert first[1].startswith("  is         SUPERB's emotion recognition")
    assert "s3prl 0.4.18" in first[2] and "speakers and dialogues of the training part" in first[3]
    assert "seed 0" in first[4] and first[5] == "  intervals  leave out one session at a time"
    assert first[6].startswith("  selects on dev accuracy")
    official = said[said.index("\nOfficialFolds\n") :].split("\n")[2:5]
    assert official[1].endswith("what its option leak declares, else nothing")
    assert official[2].endswith("leave out one of what its option cluster_by says (speaker) at a time")
    assert said.index("superb_er\n") < said.index("\nGroupedKFold\n")  # published ones come first
    assert "  leaks      nothing: speakers of train, dev and test differ" in said


@pytest.mark.parametrize(
    ("corpus", "there", "absent"),
    [
        ("iemocap", ["superb_er\n", "LeaveOneSessionOut (what recipes take by default)\n"], ["emobox_emodb\n"]),
        ("CREMA-D", ["emo_superb\n", "loso_speaker\n"], ["superb_er\n"]),
        ("CASIA", ["emobox\n", "loso_speaker\n"], ["pepino2021\n", "by default"]),
    ],
)
def test_protocols_of_one_corpus(
    corpus: str, there: list[str], absent: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["protocols", corpus]) == 0
    said = capfd.readouterr().out
    assert all(text in said for text in there) and not any(text in said for text in absent)


def test_inspect_counts_a_copy(mini: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "synthetic", str(mini / "rendered"), "num_speakers=2", "utterances_per_class=1"]) == 0
    said = capfd.readouterr().out
    assert "Synthetic: 8 utterances, 2 speakers" in said
    assert "classes: angry, happy, neutral, sad" in said
    assert "note: This is synthetic speech" in said


@pytest.mark.parametrize("accepted", ["--allow-incomplete", "data.allow_incomplete=true"])
def test_an_incomplete_copy_is_inspected_when_asked_for(
    accepted: str, tmp_path: Path, voice: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wav").mkdir()
    soundfile.write(tmp_path / "wav" / "03a01Fa.wav", voice, 16000)
    assert main(["inspect", "EmoDB", str(tmp_path)]) == 2
    assert "9 speakers have no utterance: 08, 09, 10" in capfd.readouterr().err
    assert main(["inspect", "EmoDB", str(tmp_path), accepted]) == 0
    said = capfd.readouterr().out
    assert "EmoDB: 1 utterance, 1 speaker, " in said
    assert (
        "! Incomplete copy of the corpus was allowed: " in said and "9 speakers have no utterance: 08, 09, 10" in said
    )


def cremad_copy(root: Path, voice: np.ndarray) -> Path:
    """Two clips of two actors, with what ten listeners each heard."""
    (root / "AudioWAV").mkdir(parents=True)
    (root / "processedResults").mkdir()
    for name, samples in (("1001_IEO_NEU_XX", 9000), ("1002_DFA_ANG_HI", 10000)):
        soundfile.write(root / "AudioWAV" / f"{name}.wav", voice[:samples], 16000)
    (root / "VideoDemographics.csv").write_text('"ActorID","Sex"\n1001,"Male"\n1002,"Female"\n')
    votes = """"","A","D","F","H","N","S","fileName"
1001,0,0,0,0,10,0,"1001_IEO_NEU_XX"
1002,6,0,0,0,4,0,"1002_DFA_ANG_HI"
"""
    (root / "processedResults" / "tabulatedVotes.csv").write_text(votes)
    return root


def test_inspect_counts_and_draws_what_raters_heard(
    mini: Path, voice: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    root = str(cremad_copy(mini / "CREMA-D", voice))
    assert main(["inspect", "CREMAD", root, "--allow-incomplete", "--plot", "drawn/it.png"]) == 0
    said = capfd.readouterr().out
    assert " angry 1 50.0 0.0 0.62 0.62 0.62 1 " in " ".join(said.split())
    # 10 who agree; of the others 6 are right and 4 are not: (1 + 0.6) / 2
    assert "the other raters  one rater  80.0" in said
    assert "20 answers on 2 utterances, 10 raters each." in said
    assert said.endswith("\npicture: drawn/it.png\n")
    picture = matplotlib.image.imread(mini / "drawn" / "it.png")
    height, width = picture.shape[:2]
    quarter = picture[height // 2 :, width // 2 :, :3]
    unanimous = np.abs(quarter - np.array([0x1F, 0x4E, 0x9C]) / 255).max(axis=2) < 0.02
    assert unanimous.mean() > 0.005, "the cell in which all raters agree is not drawn"


def test_inspect_says_how_far_ratings_agree(mini: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = str(msp_improv().write(mini / "improv", sound=True))
    assert main(["inspect", "MSPImprov", root, "--allow-incomplete"]) == 0
    said = " ".join(capfd.readouterr().out.split())
    assert "utterances: CCC of one rater with the mean of the others" in said
    assert "raters by name" in said


def test_prepare_writes_the_manifest_of_a_checked_copy(mini: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["num_speakers=2", "utterances_per_class=1"]
    assert main(["prepare", "synthetic", str(mini / "rendered"), *options, "--output=made/one.parquet"]) == 0
    said = capfd.readouterr().out
    written = Manifest.read(mini / "made" / "one.parquet")
    assert len(written) == 8
    assert said.startswith("Synthetic: 8 utterances, 2 speakers, ")
    assert f"manifest: {written.content_hash} in made/one.parquet\n" in said


def test_prepare_refuses_a_copy_that_is_not_what_was_published(
    mini: Path, voice: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    root = str(cremad_copy(mini / "CREMA-D", voice))
    assert main(["prepare", "CREMAD", root]) == 2
    assert "89 speakers have no utterance: 1003, 1004" in capfd.readouterr().err
    assert not list(mini.glob("*.parquet"))
    assert main(["prepare", "CREMAD", root, "--allow-incomplete"]) == 0
    said = capfd.readouterr().out
    assert "deviations from what is published" in said and "; 89 speakers have no utterance: 1003" in said
    assert Manifest.read(mini / "CREMAD.manifest.parquet").votes(1)["angry"] == 6


def test_audit_prints_what_folds_share(mini: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "recipe=mini.yaml"]) == 0
    said = capfd.readouterr().out
    assert said.startswith("Synthetic, LeaveOneSpeakerOut: ")
    assert "speakers: none shared" in said
    table = said.rpartition("utterances in train/dev/test\n")[2].splitlines()
    assert [" ".join(line.split()) for line in table[:2]] == [
        "fold train dev test speakers dialogues sentences audio angry sad",
        "spk01 12 6 6 0/1 0/1 3/3 0/3 3/3 3/3 0/6 0/6 6/3/3 6/3/3",
    ]
    assert max(map(len, table)) < 100, "all that was counted takes hundreds of columns"
    assert not (mini / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "ser-corpus lst: unknown. Did you mean list?"),
        (["protocols", "IEMOCAPP"], "Corpus 'IEMOCAPP' is unknown. Did you mean IEMOCAP"),
        (["inspect"], "needs a corpus name and its folder"),
        (["prepare", "EmoDB"], "ser-corpus prepare EmoDB /data/EmoDB"),
        (["prepare", "EmoDB", ".", "--output=a.csv"], "--output needs the name of a file that ends in .parquet; found"),
        (["inspect", "EmoDB", ".", "--plot"], "ends in .png or .svg or .pdf; found none"),
        (["inspect", "EmoDB", ".", "--plto=a.png"], "ser-corpus inspect --plto: unknown. Did you mean --plot?"),
        (["inspect", "EmoD", "."], "Corpus 'EmoD' is unknown. Did you mean EmoDB"),
        (["inspect", "EmoDB", "gone"], "no folder at"),
        (["inspect", "EmoDB", ".", "more"], "ser-corpus inspect: 'more' is no key=value."),
        (["prepare", "Synthetic", ".", "--num_speakers", "2"], "'--num_speakers' is no key=value."),
        (["inspect", "Synthetic", ".", "num_speaker=2"], "Synthetic has no option 'num_speaker'"),
        (["inspect", "Synthetic", ".", "num_speakers=two"], "num_speakers=two does not fit: expected a whole number"),
        (["inspect", "Synthetic", ".", "classes=[angry]"], "at least two different classes"),
        (["audit", "recipe=demoo"], "Did you mean demo"),
        (["audit"], "data.corpus is not given"),
    ],
)
def test_mistakes_are_one_line(
    mini: Path, arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capfd.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_no_argument_shows_the_usage(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: ser-corpus list" in capfd.readouterr().out
