"""``ser-predict --submission``: the file of the MSP-Podcast challenges."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ser_toolkit.cli._options import names_recipe
from ser_toolkit.errors import RecipeError

if TYPE_CHECKING:
    from ser_toolkit.inference.recognizer import Recognizer


def submit(options: argparse.Namespace, load: Callable[[argparse.Namespace], Recognizer]) -> None:
    """Predict the blind partition, write the file, and read it again.

    Raises:
        RecipeError: no corpus is named, another option has no meaning here, or the models do not fit the task.
        CorpusError: there is no blind partition.
        AudioError: a recording cannot be used; a submission cannot do without it.
    """
    named = [*(options.on or []), *map(str, options.inputs)]
    _check(options, named)
    from ser_toolkit.config.recipe import parse_corpus
    from ser_toolkit.corpora.msp_podcast import MSPPodcast
    from ser_toolkit.inference.submission import (
        SIZES,
        blind_recordings,
        notes_on_classes,
        read_submission,
        task_of,
        write_submission,
    )
    from ser_toolkit.inference.table import check_output

    check_output(options.submission)
    files = blind_recordings(parse_corpus(named).data())
    recognizer = load(options)
    task = task_of(recognizer, options.task)
    notes = list(recognizer.info.banners)
    if task == "categories":
        notes += notes_on_classes(recognizer.classes)
    if recognizer.info.corpus != MSPPodcast.name:
        notes.append(f"trained on {recognizer.info.corpus}; the challenges allow MSP-Podcast alone")
    if len(files) not in SIZES:
        published = ", ".join(f"{count} ({name})" for count, name in SIZES.items())
        notes.append(f"Test3 has {len(files)} recordings in this copy; published are {published}")
    for note in notes:
        sys.stderr.write(f"ser-predict: note: {note}\n")
    write_submission(options.submission, task, recognizer.predict_many(files, window_seconds=options.window))
    read_submission(options.submission, [file.name for file in files])
    sys.stdout.write(f"{task}: {len(files)} recordings of Test3: {options.submission}\n")


def _check(options: argparse.Namespace, named: list[str]) -> None:
    if not any(map(names_recipe, named)):
        raise RecipeError(
            "Where is Test3? Name a recipe of MSP-Podcast: --submission FILE.csv --on recipe=NAME data.root=PATH."
        )
    if options.submission.suffix.lower() != ".csv":
        raise RecipeError(f"A submission is a CSV file; name it so, found {options.submission}.")
    for given, why in (
        (options.output, "--submission writes the file, --output another one"),
        (options.enrol, "the speakers of Test3 are withheld, so that --enrol has no meaning"),
        (options.keep_going, "a submission needs every recording, so that --keep-going has no meaning"),
    ):
        if given:
            raise RecipeError(f"{why[0].upper()}{why[1:]}. Leave it out.")
