"""``ser-predict``: tables that read back, errors of one line, and nothing computed that is lost."""

from __future__ import annotations

import gc
import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser_toolkit.cli.predict import find_audio, main
from ser_toolkit.errors import AudioError
from ser_toolkit.inference.prediction import Prediction
from ser_toolkit.inference.recognizer import load_model

COLUMNS = ["path", "label", "duration", "windows", "probability/sad", "probability/angry"]
COLUMNS += ["valence", "arousal", "dominance"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run of the inference tests."""
    source = Path(__file__).resolve().parent.parent / "inference" / "tiny_run.py"
    spec = importlib.util.spec_from_file_location("tiny_run_for_commands", source)
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.make_run(tmp_path_factory.mktemp("tiny"), variants=("plain", "transductive")).path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings in two folders, beside what is none."""
    base = tmp_path / "recordings"
    rng = np.random.default_rng(0)
    for number, name in enumerate(("b.wav", "a.flac", "deeper/c.WAV")):
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = 0.1 * rng.standard_normal(6000 + 900 * number)
        soundfile.write(path, samples, 16000, format=path.suffix[1:].upper())
    (base / "notes.txt").write_text("not audio")
    (base / "._b.wav").write_bytes(b"metadata of a file system")
    return base


def predict(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output, standard error without the notes (the run's banner, files that are not read)."""
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, re.sub(r"ser-predict: note: .*\n", "", err)


def read(path: Path) -> pd.DataFrame:
    """A table as a user reads it."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix == ".csv":
        return pd.read_csv(path)
    text = path.read_text(encoding="utf-8")
    return pd.DataFrame(json.loads(text) if path.suffix == ".json" else [json.loads(x) for x in text.splitlines()])


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_tables_hold_exactly_what_the_recognizer_says(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    output = tmp_path / "new" / f"predictions{suffix}"
    code, out, err = predict(capsys, "--model", run, folder, "--output", output)
    assert (code, err) == (0, "") and out == f"3 recordings: {output}\n"
    table = read(output)
    assert list(table.columns) == COLUMNS
    assert table["path"].tolist() == [str(folder / name) for name in ("a.flac", "b.wav", "deeper/c.WAV")]
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    for row, (_, expected) in zip(
        table.to_dict("records"), load_model(run).predict_many(table["path"].tolist()), strict=True
    ):
        assert isinstance(expected, Prediction) and expected.probabilities and expected.dimensions
        assert (row["label"], row["windows"]) == (expected.label, 1)
        assert row["duration"] == expected.duration
        for name, value in expected.probabilities.items():
            assert row[f"probability/{name}"] == value
        assert row["arousal"] == expected.dimensions["arousal"]


def test_without_output_a_table_is_printed(run: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = predict(capsys, "--model", run, folder / "b.wav", folder / "b.wav", folder / "a.flac", "--fold", 1)
    heading, *lines = out.splitlines()
    assert code == 0 and len(lines) == 2
    assert heading.split() == ["path", "label", "length", "sad", "angry", "valence", "arousal", "dominance"]
    prediction = load_model(run, fold="03").predict(folder / "b.wav")
    assert prediction.probabilities is not None
    assert lines[0].split()[:4] == [str(folder / "b.wav"), prediction.label, f"{6000 / 16000:.2f}", "s"]
    assert lines[0].split()[4] == f"{prediction.probabilities['sad']:.3f}"


def test_banners_are_said(run: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--model", str(run), str(folder / "b.wav")])
    assert capsys.readouterr().err.startswith("ser-predict: note: A warning.\n")


def test_variant_with_enrolment(run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "anna.csv"
    enrolled = sorted([folder / "a.flac", folder / "b.wav"])
    code, _, err = predict(
        capsys, folder / "b.wav", f"--model={run}", "--variant=transductive", "--enrol", *enrolled, "--output", output
    )
    assert (code, err) == (0, "")
    expected = load_model(run, variant="transductive").enrol(enrolled).predict(folder / "b.wav")
    assert expected.probabilities is not None
    assert read(output)["probability/sad"].tolist() == [expected.probabilities["sad"]]
    code, _, err = predict(capsys, "--model", run, folder, "--variant", "transductive")
    assert code == 2 and "--enrol" in err and err.count("\n") == 1


def test_what_was_done_before_an_error_is_kept(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "c.wav").write_bytes(b"no sound at all")
    output = tmp_path / "predictions.csv"
    code, _, err = predict(capsys, "--model", run, folder, "--output", output)
    done, message = err.splitlines()
    assert code == 2 and "c.wav" in message and "2 of 4 recordings are done" in done
    assert not output.exists()
    assert len(read(tmp_path / "predictions.partial.csv")) == 2
    (folder / "c.wav").unlink()
    assert predict(capsys, "--model", run, folder, "--output", output)[0] == 0
    assert len(read(output)) == 3 and not (tmp_path / "predictions.partial.csv").exists()


def test_keep_going_makes_a_row_of_an_error(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "c.wav").write_bytes(b"no sound at all")
    for suffix in (".csv", ".json"):
        output = tmp_path / f"predictions{suffix}"
        code, _, err = predict(capsys, "--model", run, folder, "--output", output, "--keep-going")
        assert code == 2 and err.startswith("ser-predict: 1 of 4 recordings") and err.count("\n") == 1
        table = read(output)
        assert list(table.columns) == [*COLUMNS, "error"]
        bad = table.iloc[2]
        assert bad["path"] == str(folder / "c.wav") and "c.wav" in bad["error"] and math.isnan(bad["probability/sad"])
        assert table["error"].isna().tolist() == [True, True, False, True]
    code, out, _ = predict(capsys, "--model", run, folder, "--keep-going")
    assert code == 2 and "error: " in out and len(out.splitlines()) == 5
    code, _, err = predict(capsys, "--model", run, folder / "a.flac", "--output", tmp_path / "good.csv", "--keep-going")
    assert (code, err) == (0, "") and "error" in read(tmp_path / "good.csv").columns


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model={run}"], "INPUT"),
        (["{folder}"], "Which model? Give the run directory that ser-train has left: --model runs/NAME/HASH."),
        (["{run}", "{folder}"], "{run} is a run, which stands behind --model: ser-predict {folder} --model {run}"),
        (["{run}", "a", "--fold=3", "b", "c"], "ser-predict a --fold=3 b ... --model {run}"),
        (["{run}"], "ser-predict INPUT --model {run}"),
        (["{folder}", "--model={run}", "--foldd", "3"], "--foldd: unknown. Did you mean --fold?"),
        (["{folder}", "--model={run}", "--seed", "x"], "invalid int value"),
        (["{folder}", "--model={run}", "--fold", "77"], "Fold '77' is unknown"),
        (["{folder}", "--model={run}", "--output", "table.xls"], r"should end in .csv"),
        (["{folder}", "--model={run}", "--output", "{folder}/b.wav/table.csv"], "cannot be made"),
        (["{folder}", "--model={run}", "--window", "0.001"], "too short"),
        (["--model={run}", "{folder}/nobody.wav"], "not found"),
        (["--model={run}", "{folder}/notes.txt"], "not audio"),
        (["--model={folder}/deeper", "{folder}"], "no run directory"),
        (["{folder}", "--model={run}", "--enrol", "{folder}/b.wav"], "plain variant"),
    ],
)
def test_mistakes_are_one_line(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    code, out, err = predict(capsys, *(argument.format(run=run, folder=folder) for argument in arguments))
    assert (code, out) == (2, "")
    assert words.format(run=run, folder=folder) in err and err.count("\n") == 1 and err.startswith("ser-predict: ")


def test_folders_give_every_recording_and_say_what_is_none(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = 0.1 * np.random.default_rng(0).standard_normal(6000)
    for name, form in (("d.opus", "OGG"), ("e.AIFF", "AIFF"), ("f.au", "AU"), ("g.WAVE", "WAV")):
        soundfile.write(folder / name, samples, 16000, format=form, subtype="OPUS" if form == "OGG" else None)
    (folder.parent / "elsewhere").mkdir()
    (folder / "b.wav").rename(folder.parent / "elsewhere" / "b.wav")
    (folder / "linked").symlink_to("../elsewhere")
    assert main(["--model", str(run), str(folder)]) == 0
    out, err = capsys.readouterr()
    found = [line.split()[0].removeprefix(f"{folder}/") for line in out.splitlines()[1:]]
    assert found == ["a.flac", "d.opus", "deeper/c.WAV", "e.AIFF", "f.au", "g.WAVE", "linked/b.wav"]
    assert f"ser-predict: note: {folder}: 1 other file is not read: notes.txt.\n" in err


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_names_that_lead_nowhere_become_rows(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    (folder / "k.wav").symlink_to("nowhere.wav")
    shutil.copy(folder / "b.wav", os.fsdecode(bytes(folder) + b"/latin_\xff.wav"))
    code, out, err = predict(capsys, "--model", run, folder)
    assert (code, out) == (2, "") and "k.wav: a link that leads nowhere" in err
    output, long = tmp_path / f"out{suffix}", tmp_path / f"{'n' * 300}.wav"
    code, _, err = predict(
        capsys, "--model", run, folder, tmp_path / "none.wav", long, "--keep-going", "--output", output
    )
    assert code == 2 and "4 of 7 recordings could not be used" in err and err.count("\n") == 1
    table = read(output)
    errors = {
        Path(path).name: error for path, error in zip(table["path"], table["error"], strict=True) if error == error
    }
    reasons = {name: error for name, error in errors.items() if error}
    assert list(reasons) == ["k.wav", r"latin_\xff.wav", "none.wav", long.name]
    needles = ("leads nowhere", "no text", "not found", "File name too long")
    assert all(needle in error for needle, error in zip(needles, reasons.values(), strict=True))
    assert predict(capsys, "--model", run, long, long, "--keep-going")[0] == 2  # as text, too
    assert "not found" in predict(capsys, "--model", run, tmp_path / "none.wav")[2]


def test_a_folder_without_audio_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "a.wav").touch()
    with pytest.raises(AudioError, match="holds no audio"):
        find_audio([tmp_path])


def test_options_may_stand_anywhere(run: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        predict(capsys, "--fold", "08", "--model", run, folder / "a.flac", "--device", "cpu", folder / "b.wav")[0] == 0
    )


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_nothing_heavy(option: str) -> None:
    program = (
        f"import sys; from ser_toolkit.cli.predict import main; code = main(['{option}']); "
        "sys.exit(code or any(name in sys.modules for name in ('torch', 'numpy', 'pandas', 'lightning')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "ser-predict" in done.stdout


def test_recognising_imports_no_training(run: Path, folder: Path) -> None:
    heavy = (
        "ser_toolkit.experiment.experiment",
        "ser_toolkit.experiment.stages.sequence",
        "ser_toolkit.evaluation.reporting.report",
        "opensmile",
    )
    arguments = ["--model", str(run), str(folder / "b.wav")]
    program = (
        f"import sys; from ser_toolkit.cli.predict import main; code = main({arguments!r}); "
        f"print([name for name in {heavy!r} if name in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_program_keeps_its_garbage_collection(run: Path, folder: Path) -> None:
    frozen = gc.get_freeze_count()
    assert main(["--model", str(run), str(folder / "b.wav")]) == 0
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen
    gc.disable()
    try:
        assert main(["--model", str(run / "nowhere"), str(folder / "b.wav")]) == 2
        assert not gc.isenabled()
    finally:
        gc.enable()
