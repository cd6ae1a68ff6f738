"""The file for the blind Test3: every recording once, letters and 1..7, the mean of the models, one-line errors."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
import soundfile
import tiny_run
from corpus_replicas import msp_podcast
from tiny_run import RECIPE, make_run, voices

from ser_toolkit.cli.predict import main
from ser_toolkit.errors import AudioError, ResultError
from ser_toolkit.inference.prediction import Prediction
from ser_toolkit.inference.recognizer import load_model
from ser_toolkit.inference.submission import COLUMNS, LETTERS, read_submission, write_submission

TEST3 = [f"MSP-PODCAST_test3_{number:04d}.wav" for number in (1, 2, 10)]
DIMENSIONS = ("valence", "arousal", "dominance")
EIGHT = ("sad", "angry", "happy", "surprised", "fearful", "disgusted", "contemptuous", "neutral")
REGRESSION = RECIPE.replace("MultiTaskHead", "RegressionHead").replace("CrossEntropyConcordance", "ConcordanceLoss")
CLASSIFICATION = RECIPE.replace("MultiTaskHead", "MLPHead").replace("CrossEntropyConcordance", "CrossEntropy")


@pytest.fixture(scope="module")
def podcast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The replica with three recordings of Test3; of the labelled turns there are labels but no audio."""
    root = tmp_path_factory.mktemp("podcast")
    msp_podcast().write(root)
    for file in (root / "Audios").iterdir():
        file.unlink()
    for name, wav in zip(TEST3, voices(3), strict=True):
        soundfile.write(root / "Audios" / name, wav, 16000, subtype="FLOAT")
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds of a model for eight classes and dimensions."""
    return run_of(tmp_path_factory.mktemp("both"), EIGHT)


def run_of(folder: Path, classes: tuple[str, ...], recipe: str = RECIPE) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_run, "CLASSES", classes)
        path = make_run(folder, recipe=recipe, variants=("plain", "transductive")).path
    record = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**record, "corpus": {"name": "MSP-Podcast"}}))
    return path


def submit(
    capsys: pytest.CaptureFixture[str], run: Path, podcast: Path, output: Path, *more: str
) -> tuple[int, list[str], str]:
    on = ["--on", "recipe=msp_podcast_wavlm", f"data.root={podcast}"]
    code = main(["--model", str(run), "--submission", str(output), *on, *more])
    out, err = capsys.readouterr()
    return code, [line for line in err.splitlines() if "A warning." not in line], out


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as text:
        return list(csv.reader(text))


def test_letters_of_the_mean_of_all_models(
    run: Path, podcast: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "test3.csv"
    code, notes, out = submit(capsys, run, podcast, output, "--task", "categories")
    assert (code, out) == (0, f"categories: 3 recordings of Test3: {output}\n")
    assert notes == [
        "ser-predict: note: Test3 has 3 recordings in this copy; published are 2347 (Odyssey 2024), 3200 (Interspeech "
        "2025)"
    ]
    letters = {"sad": "S", "angry": "A", "happy": "H", "surprised": "U", "fearful": "F", "disgusted": "D"}
    letters |= {"contemptuous": "C", "neutral": "N"}
    found = load_model(run).predict_many(podcast / "Audios" / name for name in TEST3)
    expected = [[path.name, letters[prediction.label or ""]] for path, prediction in found]
    assert rows(output) == [["FileName", "EmoClass"], *expected]
    assert output.read_bytes().count(b"\r") == 0 and list(tmp_path.iterdir()) == [output]
    assert read_submission(output, TEST3) == ("categories", {name: (letter,) for name, letter in expected})


def test_dimensions_from_one_to_seven(
    run: Path, podcast: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "test3.csv"
    assert submit(capsys, run, podcast, output, "--task=attributes", "--fold", "2")[0] == 0
    heading, *lines = rows(output)
    assert heading == ["FileName", "EmoAct", "EmoVal", "EmoDom"]
    found = dict(load_model(run, fold="08").predict_many(podcast / "Audios" / name for name in TEST3))
    for name, *cells in lines:
        dimensions = found[podcast / "Audios" / name].dimensions or {}
        values = [1 + 6 * dimensions[key] for key in ("arousal", "valence", "dominance")]
        assert [float(cell) for cell in cells] == pytest.approx([min(max(v, 1.0), 7.0) for v in values], abs=1e-6)


def test_lines_are_sorted_scaled_and_cut_off(tmp_path: Path) -> None:
    dimensions = {"b.wav": (0.5, 0.25, 1.0), "a.wav": (-0.1, 1.2, 0.0)}
    made = [
        (Path("x") / name, Prediction(None, None, dict(zip(DIMENSIONS, values, strict=True)), 1.0))
        for name, values in dimensions.items()
    ]
    write_submission(tmp_path / "test3.csv", "attributes", made)
    text = "a.wav,7.000000,1.000000,1.000000\nb.wav,2.500000,4.000000,7.000000\n"
    assert (tmp_path / "test3.csv").read_text() == "FileName,EmoAct,EmoVal,EmoDom\n" + text
    shares = [
        ("d.wav", {"other": 0.5, "happy": 0.2, "contemptuous": 0.3}),
        ("c.wav", {"other": 0.1, "happy": 0.5, "contemptuous": 0.4}),
    ]
    answers = [(Path("y") / name, Prediction("other", share, None, 1.0)) for name, share in shares]
    write_submission(tmp_path / "test3.csv", "categories", answers)
    assert (tmp_path / "test3.csv").read_text() == "FileName,EmoClass\nc.wav,H\nd.wav,C\n"
    broken = Prediction(None, None, {"valence": math.nan, "arousal": 0.5, "dominance": 0.5}, 1.0)
    with pytest.raises(AudioError, match=r"x.wav: the models give no finite number"):
        write_submission(tmp_path / "test3.csv", "attributes", [(Path("x.wav"), broken)])


def test_the_task_is_that_of_the_models(
    run: Path, podcast: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "test3.csv"
    only = run_of(tmp_path / "regression", EIGHT, REGRESSION)
    assert submit(capsys, only, podcast, output)[0] == 0
    assert rows(output)[0] == list(COLUMNS["attributes"])
    code, said, _ = submit(capsys, only, podcast, output, "--task", "categories")
    assert code == 2 and "needs classes, which the models of tiny/0123456789 were not trained on" in said[-1]
    classes = run_of(tmp_path / "classes", EIGHT, CLASSIFICATION)
    code, said, _ = submit(capsys, classes, podcast, output, "--task", "attributes")
    assert code == 2 and "Train a run with model.head=RegressionHead" in said[-1]
    code, said, _ = submit(capsys, run, podcast, output)
    assert code == 2 and "each of which is a file of its own. Give --task" in said[-1]
    code, said, _ = submit(capsys, run, podcast, output, "--task", "atributes")
    assert code == 2 and "Did you mean attributes" in said[-1]


def test_other_is_never_answered(podcast: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "test3.csv"
    classes = ("other", "sad", "neutral")
    run = run_of(tmp_path / "run", classes, CLASSIFICATION)
    code, notes, _ = submit(capsys, run, podcast, output)
    assert code == 0 and notes[0].endswith(
        "other (O) is not scored: the most probable of the other classes is answered"
    )
    assert notes[1].endswith("do not know them: angry, contemptuous, disgusted, fearful, happy, surprised")
    for path, prediction in load_model(run).predict_many(podcast / "Audios" / name for name in TEST3):
        shares = prediction.probabilities or {}
        assert dict(rows(output))[path.name] == ("S" if shares["sad"] >= shares["neutral"] else "N")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "corpus": {"name": "EmoDB"}}))
    assert "trained on EmoDB; the challenges allow MSP-Podcast alone" in " ".join(
        submit(capsys, run, podcast, output)[1]
    )
    strange = run_of(tmp_path / "strange", ("sad", "excited"), CLASSIFICATION)
    code, said, _ = submit(capsys, strange, podcast, output)
    assert code == 2 and "The models predict sad, excited; the challenge scores angry, contemptuous" in said[-1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--output", "x.csv"], "--submission writes the file"),
        (["--keep-going"], "A submission needs every recording"),
        (["--enrol", "x.wav"], "The speakers of Test3 are withheld"),
        (["--variant", "transductive"], "the speakers of Test3 are withheld. Use the plain variant"),
        (["recipe=emodb_wavlm"], "made for Test3 of MSP-Podcast, found the corpus EmoDB"),
        (["data.root=/nowhere"], "MSP-Podcast: no folder at /nowhere"),
    ],
)
def test_what_has_no_meaning_is_one_line(
    run: Path, podcast: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    code, said, _ = submit(capsys, run, podcast, tmp_path / "test3.csv", "--task=categories", *more)
    assert code == 2 and message in said[-1]
    assert not list(tmp_path.iterdir())


def test_half_a_command_is_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for given, message in (
        (["--submission", "test3.csv"], "Where is Test3? Name a recipe"),
        (["--submission", "test3.txt", "--on", "recipe=msp_podcast_wavlm"], "A submission is a CSV file"),
        (["--on", "recipe=msp_podcast_wavlm"], "--on and --task go with --submission"),
        ([], "the following arguments are required: INPUT"),
    ):
        assert main(["--model", str(run), *given]) == 2
        assert message in capsys.readouterr().err


def test_a_recording_that_cannot_be_used_leaves_no_file(
    run: Path, podcast: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = podcast / "Audios" / "MSP-PODCAST_test3_0003.wav"
    broken.write_bytes(b"no audio")
    code, said, _ = submit(capsys, run, podcast, tmp_path / "test3.csv", "--task=categories")
    broken.unlink()
    assert code == 2 and "MSP-PODCAST_test3_0003.wav" in said[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FileName,EmoClass\na.wav,A\n", "1 files are missing, first b.wav"),
        ("FileName,EmoClass\na.wav,A\nb.wav,N\nb.wav,N\n", "1 files are listed twice, first b.wav"),
        ("FileName,EmoClass\na.wav,A\nb.wav,N\nc.wav,N\n", "1 files are no recordings of Test3, first c.wav"),
        ("FileName,EmoClass\na.wav,A\nb.wav,O\n", "1 lines do not hold one of A S H U F D C N, first 'b.wav,O'"),
        ("FileName,EmoClass\na.wav,A\nb.wav,X\n", "first 'b.wav,X'"),
        ("FileName,EmoClass\na.wav,A\nb.wav,neutral\n", "first 'b.wav,neutral'"),
        ("FileName,EmoAct,EmoVal,EmoDom\na.wav,1,2,7\nb.wav,1,2,7.1\n", "numbers from 1 to 7, first 'b.wav,1,2,7.1'"),
        ("FileName,EmoAct,EmoVal,EmoDom\na.wav,1,2,7\nb.wav,1,2,nan\n", "first 'b.wav,1,2,nan'"),
        ("FileName,EmoAct,EmoVal,EmoDom\na.wav,1,2,7\nb.wav,1,2\n", "first 'b.wav,1,2'"),
        ("FileName,EmoVal,EmoAct,EmoDom\na.wav,1,2,7\n", "begins with 'FileName,EmoVal,EmoAct,EmoDom', expected"),
        ("", "begins with ''"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "test3.csv"
    path.write_text(text)
    with pytest.raises(ResultError, match=message):
        read_submission(path, ["a.wav", "b.wav"])


def test_the_letters_are_those_that_are_scored() -> None:
    assert sorted(LETTERS.values()) == sorted("ASHUFDCN")
