"""Cost of a run: trained parameters and seconds of fitting, from the records that its units left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.results import Results
from ser_toolkit.evaluation.run_folder import RunFolder
from ser_toolkit.terms import Json


@dataclass(frozen=True)
class Cost:
    """Parameters and seconds of a run; None where they are not recorded.

    Args:
        trained: parameters that are trained in one unit (the most of any).
        seconds: of fitting in all stages, over all folds and seeds; candidates that were not chosen are not in it.
    """

    trained: int | None
    seconds: float | None


def cost(results: Results, variant: str) -> Cost:
    """The cost of one variant of a run.

    Raises:
        ResultError: a record is damaged.
    """
    units = RunFolder(results.run_dir).units(variant)
    scored = [_read(unit.metrics) for unit in units]
    trained = [record["parameters"]["trained"] for record in scored if "parameters" in record]
    fits = [_read(path) for unit in units for path in (unit.fit, unit.refit)]
    # a first stage holds one record for each upstream
    fits += [one for unit in units for one in _read(unit.tuned).values()]
    seconds = [float(record["seconds"]) for record in fits if record.get("seconds") is not None]
    return Cost(
        max(trained) if trained else results.record.parameters.trained,
        sum(seconds) if seconds else None,
    )


def fit_records(results: Results) -> list[Json]:
    """``fit.json`` of every unit of a run: what its weights were chosen from."""
    return [_read(unit.fit) for unit in RunFolder(results.run_dir).units() if unit.fit.is_file()]


def _read(path: Path) -> Json:
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultError(f"{path} is damaged ({error}). Delete its folder and run the same command again.") from None
    return record if isinstance(record, dict) else {}
