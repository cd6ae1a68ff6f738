"""The MSP-Podcast challenges' submission file: a CSV with one line for every recording of the blind Test3.

::

    FileName,EmoClass                        task 1: A S H U F D C N, the letters of the corpus's label file
    FileName,EmoAct,EmoVal,EmoDom            task 2: arousal, valence and dominance from 1 to 7

Sources: for task 2 the baselines' own writers, msplabresearch/MSP-Podcast_Challenge (eval_dim_ser_test3.py, Odyssey
2024) and MSP-Podcast_Challenge_IS2025 (train_eval_files/eval_dim_ser.py, Interspeech 2025), which also bring the
outputs from 0..1 to 1..7 and cut them off there. For task 1 the organisers' code saves logits alone; columns and
letters are those of a participant's public code and of the corpus's label file. The instructions themselves lie behind
the registration: compare a file with them before the first of the few submissions.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from ser_toolkit.corpora.annotations.msp_podcast import CODES
from ser_toolkit.corpora.msp_podcast import MSPPodcast
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.errors import AudioError, RecipeError, ResultError, nearest
from ser_toolkit.inference.prediction import Prediction
from ser_toolkit.inference.recognizer import Recognizer
from ser_toolkit.system.files import write_text
from ser_toolkit.terms import PLAIN

Task = Literal["categories", "attributes"]
#: Header of each task.
COLUMNS: dict[Task, tuple[str, ...]] = {
    "categories": ("FileName", "EmoClass"),
    "attributes": ("FileName", "EmoAct", "EmoVal", "EmoDom"),
}
#: Letters of the classes that the challenges score; O (other) and X (no agreement) are none of them.
LETTERS = {word: letter for letter, word in CODES.items() if word != "other"}
#: Recordings of Test3: Odyssey 2024 (release 1.11), Interspeech 2025.
SIZES = {2347: "Odyssey 2024", 3200: "Interspeech 2025"}
_ATTRIBUTES = ("arousal", "valence", "dominance")
_NOT_SCORED = "other"
#: Outputs that each task needs, and settings that train them, in words.
_NEEDS = {
    "categories": ("classes", "an objective for classes, such as model.objective=CrossEntropy"),
    "attributes": (
        "arousal, valence and dominance",
        "model.head=RegressionHead model.objective=ConcordanceLoss, or MultiTaskHead and CrossEntropyConcordance",
    ),
}


def blind_recordings(data: CorpusData) -> list[Path]:
    """The recordings of Test3, by name.

    Args:
        data: corpus and its folder; nothing of it is read but names.

    Raises:
        RecipeError: the corpus is another one, or its folder is not given.
        CorpusError: there is no blind recording.
    """
    corpus = data.corpus
    if not isinstance(corpus, MSPPodcast):
        raise RecipeError(
            f"A submission is made for Test3 of MSP-Podcast, found the corpus {corpus.name}. Name one of its recipes: "
            "--on recipe=msp_podcast_wavlm data.root=PATH."
        )
    root = data.root or corpus.default_root
    if root is None:
        raise RecipeError(f"{corpus.name}: where is the corpus? Give its folder with data.root=PATH.")
    folder = Path(root).expanduser()
    return [folder / row.path for row in corpus.blind(folder)]


def task_of(recognizer: Recognizer, asked: str | None = None) -> Task:
    """The task that a run's outputs are for.

    Args:
        recognizer: the models.
        asked: the task that is wanted; None takes the one that there is.

    Raises:
        RecipeError: the task is unknown, the models cannot do it, or can do both and none was asked for.
    """
    if asked is not None and asked not in get_args(Task):
        raise RecipeError(f"--task {asked} is unknown. {nearest(asked, get_args(Task))}")
    info = recognizer.info
    if info.variant != PLAIN:
        raise RecipeError(
            f"Variant {info.variant} standardises features per speaker, and the speakers of Test3 are withheld. Use "
            "the plain variant."
        )
    able: list[Task] = ["categories"] if recognizer.classes else []
    able += ["attributes"] if set(recognizer.dimensions) == set(_ATTRIBUTES) else []
    if asked is None and len(able) > 1:
        raise RecipeError(
            f"The models of {info.recipe}/{info.hash} predict classes and dimensions, each of which is a file of its "
            "own. Give --task categories or --task attributes."
        )
    if asked is not None and asked not in able:
        wanted, remedy = _NEEDS[asked]
        raise RecipeError(
            f"The task {asked} needs {wanted}, which the models of {info.recipe}/{info.hash} were not trained on. "
            f"Train a run with {remedy}."
        )
    return next(task for task in able if asked in (None, task))


def notes_on_classes(classes: Sequence[str]) -> list[str]:
    """Sentences on classes that are never answered: those that are not scored, and those that the models do not know.

    Raises:
        RecipeError: a class is none of the corpus, or fewer than two are the challenge's.
    """
    strange = [name for name in classes if name not in LETTERS and name != _NOT_SCORED]
    never = sorted(set(LETTERS) - set(classes))
    if strange or len(LETTERS) - len(never) < 2:
        raise RecipeError(
            f"The models predict {', '.join(classes)}; the challenge scores {', '.join(sorted(LETTERS))}. Train on "
            "MSP-Podcast with data.corpus.class_set=eight."
        )
    sentences = []
    if _NOT_SCORED in classes:
        sentences.append("other (O) is not scored: the most probable of the other classes is answered")
    if never:
        sentences.append(f"never answered, because the models do not know them: {', '.join(never)}")
    return sentences


def write_submission(path: Path, task: Task, predictions: Iterable[tuple[Path, Prediction]]) -> None:
    """Write predictions as the challenge wants them, sorted by file name, whole or not at all.

    Raises:
        ResultError: the file cannot be written.
        AudioError: a prediction holds no finite number.
    """
    line = _category if task == "categories" else _attributes
    rows = sorted((file.name, *line(file, prediction)) for file, prediction in predictions)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS[task], *rows])
    try:
        write_text(path, text.getvalue())
    except OSError as error:
        raise ResultError(f"{path} cannot be written: {error}. Choose another --submission.") from error


def read_submission(path: Path, files: Iterable[str]) -> tuple[Task, dict[str, tuple[str, ...]]]:
    """Read a submission again and hold it against Test3.

    Args:
        path: the file.
        files: names of the recordings of Test3, with their ending.

    Returns:
        The task, and the cells of each file behind its name.

    Raises:
        ResultError: the header is none of the challenge's; a file is missing, strange or listed twice; a class is no
            letter of the eight; a dimension is no number from 1 to 7.
    """
    try:
        with path.open(encoding="utf-8", newline="") as text:
            header, *rows = list(csv.reader(text)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ResultError(f"{path} cannot be read: {error}. Write it again.") from error
    task = next((task for task, columns in COLUMNS.items() if tuple(header) == columns), None)
    if task is None:
        wanted = " or ".join(",".join(columns) for columns in COLUMNS.values())
        raise ResultError(f"{path} begins with {','.join(header)!r}, expected {wanted}.")
    names = [row[0] for row in rows if row]
    _same_files(path, names, set(files))
    wrong = [row for row in rows if not _good(task, row)]
    if wrong:
        right = f"one of {' '.join(LETTERS.values())}" if task == "categories" else "three numbers from 1 to 7"
        raise ResultError(f"{path}: {len(wrong)} lines do not hold {right}, first {','.join(wrong[0])!r}.")
    return task, {row[0]: tuple(row[1:]) for row in rows}


def _same_files(path: Path, names: Sequence[str], files: set[str]) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    for found, what in (
        (twice, "listed twice"),
        (sorted(files - set(names)), "missing"),
        (sorted(set(names) - files), "no recordings of Test3"),
    ):
        if found:
            raise ResultError(
                f"{path}: {len(found)} files are {what}, first {found[0]}. Each of the {len(files)} recordings of "
                "Test3 needs one line: write the file again."
            )


def _good(task: Task, row: Sequence[str]) -> bool:
    if len(row) != len(COLUMNS[task]):
        return False
    if task == "categories":
        return row[1] in LETTERS.values()
    try:
        return all(MSPPodcast.dimension_range[0] <= float(cell) <= MSPPodcast.dimension_range[1] for cell in row[1:])
    except ValueError:
        return False


def _category(file: Path, prediction: Prediction) -> tuple[str, ...]:
    """The letter of the most probable class that is scored."""
    shares: Mapping[str, float] = prediction.probabilities or {}
    best = max((name for name in shares if name in LETTERS), key=lambda name: shares[name])
    return (LETTERS[best],)


def _attributes(file: Path, prediction: Prediction) -> tuple[str, ...]:
    """Arousal, valence and dominance from the scale of the run to the corpus's 1..7, cut off there."""
    low, high = MSPPodcast.dimension_range
    least, most = prediction.dimension_range
    found: Mapping[str, float] = prediction.dimensions or {}
    values = [low + (high - low) * (found[name] - least) / (most - least) for name in _ATTRIBUTES]
    if not all(map(math.isfinite, values)):
        raise AudioError(f"{file}: the models give no finite number for it; leave none out, look at the recording.")
    return tuple(f"{min(max(value, low), high):.6f}" for value in values)
