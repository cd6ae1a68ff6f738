"""``ser-corpus``: what is known, what a copy holds, what folds share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_toolkit.arguments import shipped_recipes
from ser_toolkit.cli.corpus import main


def test_every_corpus_is_listed_with_its_licence(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    said = capfd.readouterr().out
    for name in ("CREMAD", "EmoDB", "IEMOCAP", "Synthetic", "TableCorpus", "FolderCorpus"):
        assert f"{name}\n" in said
    for what in ("licence", "checked", "cite", "labels"):
        assert said.count(f"\n  {what} ") >= 6, what


def test_every_recipe_is_listed_with_its_first_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped_recipes())
    assert all(len(line.split()) > 4 for line in lines), "a recipe without a sentence at its top"


def test_protocols_are_listed_with_source_leak_and_metric(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["protocols"]) == 0
    said = capfd.readouterr().out
    first = said[said.index("superb_er\n") :].split("\n")[:6]
    assert first[1].startswith("  is         SUPERB's emotion recognition")
    assert "s3prl 0.4.18" in first[2] and "speakers and dialogues of the training part" in first[3]
    assert "seed 0" in first[4] and first[5].startswith("  selects on dev accuracy")
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
    assert "speaker 08: 0 utterances, expected 58" in capfd.readouterr().err
    assert main(["inspect", "EmoDB", str(tmp_path), accepted]) == 0
    said = capfd.readouterr().out
    assert "EmoDB: 1 utterances, 1 speakers" in said
    assert "note: speaker 08: 0 utterances, expected 58" in said


def test_audit_prints_what_folds_share(mini: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "recipe=mini.yaml"]) == 0
    said = capfd.readouterr().out
    assert said.startswith("Synthetic, LeaveOneSpeakerOut: ")
    assert "speakers: none shared" in said
    assert not (mini / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "ser-corpus lst: unknown. Did you mean list?"),
        (["protocols", "IEMOCAPP"], "Corpus 'IEMOCAPP' is unknown. Did you mean IEMOCAP"),
        (["inspect"], "needs a corpus name and its folder"),
        (["inspect", "EmoD", "."], "Corpus 'EmoD' is unknown. Did you mean EmoDB"),
        (["inspect", "EmoDB", "gone"], "no folder at"),
        (["inspect", "Synthetic", ".", "num_speaker=2"], "Synthetic has no option 'num_speaker'"),
        (["inspect", "Synthetic", ".", "num_speakers=two"], "num_speakers=two does not fit: expected a whole number"),
        (["inspect", "Synthetic", ".", "classes=[angry]"], "at least two different classes"),
        (["audit", "recipe=demoo"], "Did you mean demo?"),
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
