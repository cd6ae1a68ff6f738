"""The run directory: names of everything in it, found from whatever part of its path a user gives.

::

    runs/<recipe>/<hash>/run.json
    runs/<recipe>/<hash>/<variant>/fold=<name>/seed=<s>/predictions.parquet
    runs/<recipe>/<hash>/<variant>/baseline=<name>/fold=<name>/predictions.parquet
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.run_record import RunRecord

_RECORD, _PREDICTIONS, _CONFIG = "run.json", "predictions.parquet", "config.yaml"
_FOLD, _SEED, _BASELINE = "fold=", "seed=", "baseline="


class _Inside:
    """Path of a file or folder in the folder that an object stands for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, folder: Any, owner: type | None = None) -> Path:
        path: Path = folder.path
        return path / self._name


@dataclass(frozen=True)
class UnitFolder:
    """Files of one unit: a variant, a fold and a seed; a candidate and a first stage inside it have the same names.

    Args:
        path: of the folder.
    """

    path: Path

    config = _Inside(_CONFIG)
    predictions = _Inside(_PREDICTIONS)
    dev_predictions = _Inside("dev_predictions.parquet")
    #: The last file of a complete unit.
    metrics = _Inside("metrics.json")
    fit = _Inside("fit.json")
    refit = _Inside("refit.json")
    #: Fits of the first of two stages, one for each upstream, and where they are made.
    tuned = _Inside("tuned.json")
    tuning = _Inside("tune")
    #: Trials inside the fold with the chosen one, and the folder where candidates are fitted.
    chosen = _Inside("chosen.json")
    candidates = _Inside("candidates")
    #: Features of a fine-tuned upstream, until the unit is complete.
    features = _Inside("features")
    curves = _Inside("log")
    refit_curves = _Inside("refit_log")
    checkpoints = _Inside("checkpoints")
    refit_checkpoints = _Inside("checkpoints/refit")
    weights = _Inside("checkpoints/model.safetensors")

    @property
    def variant(self) -> str:
        """Name of the variant."""
        return self.path.parent.parent.name

    @property
    def fold(self) -> str:
        """Name of the fold."""
        return self.path.parent.name.removeprefix(_FOLD)

    @property
    def seed(self) -> str:
        """The seed, as its folder spells it."""
        return self.path.name.removeprefix(_SEED)

    @property
    def place(self) -> str:
        """Place in the run directory: ``plain/fold=03/seed=0``."""
        return "/".join(self.path.parts[-3:])

    @property
    def label(self) -> str:
        """Name in loggers, so that no two fits share a curve: the place from the recipe on, of trials inside, too."""
        parts = self.path.parts
        fold = next((number for number, part in enumerate(parts) if part.startswith(_FOLD)), len(parts))
        return "/".join(parts[max(0, fold - 3) :])


@dataclass(frozen=True)
class RunFolder:
    """The files of a run directory.

    Args:
        path: of the directory.
    """

    path: Path

    record_file = _Inside(_RECORD)
    config = _Inside(_CONFIG)
    manifest = _Inside("manifest.parquet")
    #: Sources of parts that are not of the toolkit, as the run was trained with them.
    own_parts = _Inside("own_parts")
    #: Claims of the commands that are at work.
    claims = _Inside("claims")
    #: Reports on other corpora, each with its predictions.
    evaluations = _Inside("evaluations")
    report_json = _Inside("report.json")
    report_markdown = _Inside("report.md")
    report_html = _Inside("report.html")
    search_markdown = _Inside("search.md")
    search_json = _Inside("search.json")

    @property
    def is_run(self) -> bool:
        """Whether there is a run, which its record shows."""
        return self.record_file.is_file()

    def record(self) -> RunRecord:
        """The record as it is now.

        Raises:
            ResultError: see ``RunRecord.read``.
        """
        return RunRecord.read(self.record_file)

    def unit(self, variant: str, fold: str, seed: int | str) -> UnitFolder:
        """The folder of a unit, which need not exist."""
        return UnitFolder(self.path / variant / f"{_FOLD}{fold}" / f"{_SEED}{seed}")

    def at(self, place: str) -> UnitFolder:
        """The folder of a unit by its place in the run directory."""
        return UnitFolder(self.path / place)

    def units(self, variant: str | None = None) -> list[UnitFolder]:
        """Folders of the units that were begun, of one variant or of all, by their paths."""
        folder, above = (self.path, "*/") if variant is None else (self.path / variant, "")
        return [UnitFolder(path) for path in sorted(folder.glob(f"{above}{_FOLD}*/{_SEED}*"))]

    def variants(self) -> list[str]:
        """Names of the variants of which a unit was begun."""
        return sorted({path.parent.name for path in self.path.glob(f"*/{_FOLD}*")})

    def baseline(self, variant: str, name: str, fold: str) -> Path:
        """The predictions of a baseline, which need not exist."""
        return self.path / variant / f"{_BASELINE}{name}" / f"{_FOLD}{fold}" / _PREDICTIONS

    def predictions(self) -> dict[tuple[str, str | None], list[Path]]:
        """Files of predictions by variant and baseline; the baseline is None for the model."""
        found: dict[tuple[str, str | None], list[Path]] = {}
        for unit in self.units():
            if unit.predictions.is_file():
                found.setdefault((unit.variant, None), []).append(unit.predictions)
        for path in self.path.glob(f"*/{_BASELINE}*/{_FOLD}*/{_PREDICTIONS}"):
            variant, baseline = path.relative_to(self.path).parts[:2]
            found.setdefault((variant, baseline.removeprefix(_BASELINE)), []).append(path)
        return found

    def place_of(self, path: Path) -> dict[str, str]:
        """Place of a path in the run directory: ``variant``, ``fold`` and ``seed``, as far down as the path goes."""
        parts = path.relative_to(self.path).parts if path.is_relative_to(self.path) else ()
        place = dict(part.split("=", 1) for part in parts if part.startswith((_FOLD, _SEED)))
        return place | ({"variant": parts[0]} if parts and (self.path / parts[0]).is_dir() else {})


def find_run(path: Path) -> Path:
    """The run directory (it holds ``run.json``) at ``path``, above it, or the only one below it.

    Raises:
        ResultError: there is none, or there are several below.
    """
    path = path.expanduser().resolve()
    if not path.exists():
        raise ResultError(f"No run directory at {path}.")
    for candidate in (path, *path.parents):
        if RunFolder(candidate).is_run:
            return candidate
    below = sorted({file.parent for depth in ("*", "*/*") for file in path.glob(f"{depth}/{_RECORD}")})
    if len(below) == 1:
        return below[0]
    if not below:
        raise ResultError(f"{path} is no run directory: expected {_RECORD} in it, as ser-train leaves it.")
    raise ResultError(f"{path} holds {len(below)} runs; give one: {', '.join(str(run) for run in below[:6])}.")
