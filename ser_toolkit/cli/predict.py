"""``ser-predict``: emotions of recordings, from a trained run."""

from __future__ import annotations

import argparse
import gc
import math
import os
import shlex
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ser_toolkit.cli._command import quiet_libraries, run_command
from ser_toolkit.cli._options import Parser, pair
from ser_toolkit.errors import AudioError, RecipeError, ResultError, RunWarning, SerError
from ser_toolkit.system.audio_files import AUDIO_SUFFIXES, absent, files_below, left_out, shown
from ser_toolkit.terms import counted

if TYPE_CHECKING:
    from ser_toolkit.inference.recognizer import Recognizer

USAGE = """\
usage: ser-predict INPUT [INPUT ...] --model RUN [options]
       ser-predict --model RUN --submission FILE.csv --on recipe=NAME data.root=PATH [options]

Recognise the emotion of recordings with what ser-train has trained. INPUT is an audio file, or a folder whose audio
files are taken with those of its sub-folders (WAV, FLAC, Ogg, Opus, MP3, AIFF, AU, CAF ..., with the extra "video" also
M4A and MP4); files of other kinds are counted and named. The probabilities of all folds of the run are averaged unless
one is chosen; folds that an unfinished run lacks are said, and a run that has lost some is refused. Parts of your own
are those that the run was trained with.

  --model RUN        the models: a run directory (runs/<recipe>/<hash>), or a folder in it such as plain/fold=03/seed=0
  --output FILE      write a table, by suffix .csv, .json, .jsonl or .parquet: path, label, duration (s), windows,
                     probability/<class> in class order, valence, arousal, dominance on the scale of the training
                     corpus (those that it has ratings of); without it a table is printed
  --fold K           use the model of one fold, by name or number
  --seed S           use the models of one seed
  --variant NAME     a speaker-normalised variant of the run (default: plain); needs --enrol
  --enrol FILE ...   recordings of the same speaker as all inputs, for such a variant
  --condition KEY=VALUE ...  what is known of all inputs, for a conditioned model: sex=female, language=de
  --window SECONDS   average windows of this length in longer recordings (default: whole up to 60 s, then 30 s,
                     less where the model takes less)
  --device cpu|cuda  where to run (default: cpu)
  --upstream PATH    where the upstream's folder or file of weights lies now, if it was moved since the training
  --trust-code       let the run execute code that is not yours: its copy of own parts, and classes of other packages
  --keep-going       an unusable recording becomes a row with an error; the exit code is 2 all the same
  --submission FILE.csv  write the MSP-Podcast challenges' file for the blind Test3, and check it: every recording once
  --on recipe=NAME   a recipe of MSP-Podcast, with data.root=PATH, which says where Test3 is
  --task TASK        categories (FileName,EmoClass) or attributes (FileName,EmoAct,EmoVal,EmoDom from 1 to 7), where
                     the models predict both
  --version

An unusable recording ends the command with exit code 2. What was recognised before it is kept in
<output>.partial.<suffix>, and so it is when the command is interrupted.

examples:
  ser-predict some.wav --model runs/demo/1a2b3c4d5e
  ser-predict recordings/ --model runs/emodb_byols/1a2b3c4d5e --output predictions.csv
  ser-predict anna/ --model runs/emodb_byols/1a2b3c4d5e --variant transductive --enrol anna/*.wav --output anna.csv
  ser-predict --model runs/msp_wavlm/1a2b3c4d5e --submission test3.csv --on recipe=msp_podcast_wavlm data.root=PODCAST
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    # Called by a program, the process may have other plans than this one prediction.
    alone = arguments is None
    return run_command("ser-predict", USAGE, lambda known: _predict(known, alone), arguments)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = Parser("ser-predict")
    parser.add_argument("inputs", metavar="INPUT", nargs="*", type=Path)
    parser.add_argument("--model", metavar="runs/NAME/HASH")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--fold")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--variant")
    parser.add_argument("--enrol", nargs="+", action="extend", type=Path)
    parser.add_argument("--condition", nargs="+", action="extend", default=[])
    parser.add_argument("--window", type=float)
    parser.add_models()
    parser.add_argument("--keep-going", action="store_true")
    parser.add_argument("--submission", type=Path)
    parser.add_argument("--on", nargs="+", action="extend")
    parser.add_argument("--task")
    options = parser.read(arguments)
    if options.model is None:
        raise RecipeError(_without_model(options.inputs, arguments))
    if options.submission is None and (options.on or options.task):
        parser.error("--on and --task go with --submission FILE.csv")
    if options.submission is None and not options.inputs:
        parser.error("the following arguments are required: INPUT")
    if options.window is not None and not 0 < options.window < math.inf:
        parser.error(f"--window {options.window:g}: expected seconds above 0 (without it, whole up to 60 s)")
    return options


def _without_model(inputs: Sequence[Path], arguments: Sequence[str]) -> str:
    """Message about a command without ``--model``; a run that stands first, as before 0.1.0, is put behind it."""
    from ser_toolkit.evaluation.run_folder import find_run

    try:
        find_run(inputs[0])
    except (IndexError, ResultError):
        return "Which model? Give the run directory that ser-train has left: --model runs/NAME/HASH."
    others = list(arguments)
    others.remove(str(inputs[0]))
    shown_first = shlex.join(others[:3]) + (" ..." if len(others) > 3 else "") or "INPUT"
    return f"{shown(inputs[0])} is a run, which stands behind --model: ser-predict {shown_first} --model {inputs[0]}"


def _predict(arguments: list[str], alone: bool) -> None:
    options = _options(arguments)
    if options.submission is not None:
        from ser_toolkit.cli._submission import submit

        submit(options, _load)
        return
    paths = find_audio(options.inputs, options.keep_going)
    if options.output is not None:
        from ser_toolkit.inference.table import check_output

        check_output(options.output)
    if alone:
        from ser_toolkit.system.dependencies import only_predicts

        only_predicts()
    with _no_collection(alone):
        recognizer = _load(options)
    for banner in recognizer.info.banners:
        sys.stderr.write(f"ser-predict: note: {banner}\n")
    if recognizer.dimensions:
        sys.stderr.write(f"ser-predict: note: {_scale(recognizer)}\n")
    deliver = _print if options.output is None else _write
    failed = deliver(recognizer, paths, options)
    if failed:
        raise AudioError(f"{failed} of {counted(len(paths), 'recording')} could not be used; their rows say why.")


def find_audio(inputs: Iterable[Path], keep_going: bool = False) -> list[Path]:
    """Files as they are, folders as the audio files in and below them, sorted; each file once.

    Args:
        inputs: files and folders.
        keep_going: take what does not exist or leads nowhere along, so that it becomes a row with an error.

    Raises:
        AudioError: an input does not exist, a folder holds no audio or cannot be listed, or a link leads nowhere.
    """
    found: list[Path] = []
    for entry in inputs:
        if not os.path.isdir(entry):
            if not keep_going and not os.path.lexists(entry):
                raise AudioError(f"{shown(entry)}: {absent(entry)}.")
            found.append(entry)
            continue
        below = files_below(entry)
        if not keep_going:
            below.require_whole()
        if below.other:
            others = [str(file.relative_to(entry)) for file in below.other]
            sys.stderr.write(f"ser-predict: note: {shown(entry)}: {left_out(others)}\n")
        taken = sorted([*below.audio, *(below.broken if keep_going else ())])
        if not taken:
            kinds = ", ".join(AUDIO_SUFFIXES)
            raise AudioError(f"{shown(entry)}: the folder holds no audio ({kinds}), nor do its sub-folders.")
        found += taken
    return list(dict.fromkeys(found))


@contextmanager
def _no_collection(alone: bool) -> Iterator[None]:
    """Switch garbage collection off while modules are imported: their objects stay, and going through them is slow."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
        if alone:
            gc.freeze()
    finally:
        if collecting:
            gc.enable()


def _load(options: argparse.Namespace) -> Recognizer:
    from ser_toolkit.config.arguments import add_working_directory
    from ser_toolkit.inference.recognizer import load_model

    add_working_directory()
    quiet_libraries()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RunWarning)  # shown below, as notes of the command
        chosen = (options.fold, options.variant, options.seed, options.device, options.upstream)
        recognizer = load_model(options.model, *chosen, trust_code=options.trust_code)
    for note in recognizer.info.notes:
        sys.stderr.write(f"ser-predict: note: {note}\n")
    if options.condition:
        form = "KEY=VALUE such as sex=female"
        recognizer = recognizer.condition(dict(pair("--condition", text, form) for text in options.condition))
    return recognizer if options.enrol is None else recognizer.enrol(find_audio(options.enrol))


def _scale(recognizer: Recognizer) -> str:
    """Note on the scale of valence, arousal and dominance."""
    low, high = recognizer.info.dimension_range or (0.0, 1.0)
    return f"{', '.join(recognizer.dimensions)}: from {low:g} to {high:g}, the scale of {recognizer.info.corpus}"


def _rows(recognizer: Recognizer, paths: Sequence[Path], options: argparse.Namespace) -> Iterable[dict]:
    from ser_toolkit.inference.table import row

    if not options.keep_going:
        for path, prediction in recognizer.predict_many(paths, window_seconds=options.window):
            yield row(path, prediction)
        return
    for path, result in recognizer.predict_many(paths, window_seconds=options.window, on_error="keep"):
        yield {"path": shown(path), "error": str(result)} if isinstance(result, SerError) else row(path, result)


def _print(recognizer: Recognizer, paths: Sequence[Path], options: argparse.Namespace) -> int:
    """Print rows as they come; returns how many recordings failed."""
    from ser_toolkit.inference.table import TextTable

    table = TextTable([shown(path) for path in paths], recognizer.classes, recognizer.dimensions)
    failed, heading = 0, table.heading() + "\n"
    for cells in _rows(recognizer, paths, options):
        sys.stdout.write(f"{heading}{table.row(cells)}\n")
        failed, heading = failed + ("error" in cells), ""
    return failed


def _write(recognizer: Recognizer, paths: Sequence[Path], options: argparse.Namespace) -> int:
    """Write the table, or what there is of it when something stops the command; returns how many recordings failed."""
    from ser_toolkit.inference.table import columns, partial_path, write_rows

    names = columns(recognizer.classes, recognizer.dimensions, errors=options.keep_going)
    rows: list[dict] = []
    try:
        for cells in _rows(recognizer, paths, options):
            rows.append(cells)
    except BaseException:
        if rows:
            partial = partial_path(options.output)
            write_rows(partial, rows, names)
            sys.stderr.write(f"ser-predict: {len(rows)} of {len(paths)} recordings are done: {partial}\n")
        raise
    write_rows(options.output, rows, names)
    partial_path(options.output).unlink(missing_ok=True)
    sys.stdout.write(f"{counted(len(rows), 'recording')}: {options.output}\n")
    return sum("error" in cells for cells in rows)


if __name__ == "__main__":
    sys.exit(main())
