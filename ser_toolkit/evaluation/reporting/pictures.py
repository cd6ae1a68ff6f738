"""Which plots a report shows: figures of ``report.json`` in the unit of their axis, handed to ``plots.py``."""

from __future__ import annotations

import math

from ser_toolkit.evaluation.reporting import plots
from ser_toolkit.evaluation.reporting.dimensional import is_dimensional, points
from ser_toolkit.evaluation.reporting.tables import figure_keys, figure_name, is_share
from ser_toolkit.evaluation.results import Results
from ser_toolkit.terms import Json


def pictures(data: Json, results: Results) -> Json:
    """SVG elements of a report.

    Args:
        data: content of ``report.json``.
        results: what it was built from: single predictions stand there alone.

    Returns:
        ``forest`` (list of SVG, of the first figure), ``dimensions`` (likewise, of CCC), ``scatters`` (list of variant,
        SVG), ``speakers`` and ``folds`` (SVG or None), ``confusions`` (list of variant, SVG).
    """
    keys = figure_keys(data)
    return {
        "forest": [_forest(data, key) for key in keys[:1] if not is_dimensional(key)],
        "dimensions": [_forest(data, key) for key in keys if is_dimensional(key) and _is_known(data, key)],
        "scatters": _scatters(results),
        "speakers": _groups(data, keys[0], "speaker"),
        "folds": _groups(data, keys[0], "fold"),
        "confusions": [
            (system["variant"], plots.confusion(found["confusion"], data["classes"], found["runs"]))
            for system in data["systems"]
            if system["baseline"] is None and (found := system["classes"])
        ],
    }


def _scatters(results: Results) -> list[tuple[str, str]]:
    """Predictions over ratings of every model that predicts dimensions."""
    bounds = results.record.corpus.dimension_range or (0.0, 1.0)
    models = [system for system in results.systems if system.baseline is None]
    found = [(model.variant, points(model.table, bounds)) for model in models]
    return [(variant, plots.scatter(panels, bounds)) for variant, panels in found if panels]


def _chance(data: Json, key: str) -> float | None:
    """Chance level in the unit of the axis; None for figures without one such place."""
    if key.startswith("ccc"):
        return 0.0
    if key != "uar":
        return None
    support: list[int] = next((s["classes"]["support"] for s in data["systems"] if s["classes"]), [])
    present = sum(1 for count in support if count)
    return 100 / present if present else None


def _axis(key: str, value: float | None) -> float:
    if value is None:
        return math.nan
    return 100 * value if is_share(key) else value


def _axis_name(key: str) -> str:
    return f"{figure_name(key)} in %" if is_share(key) else figure_name(key)


def _forest(data: Json, key: str) -> str:
    marks = []
    for system in data["systems"]:
        entry = system["metrics"].get(key)
        if entry is None or entry["estimate"] is None:
            continue
        ends = [None if entry[end] is None else _axis(key, entry[end]) for end in ("low", "high")]
        label = f"{system['variant']} · {system['name']}"
        estimate = _axis(key, entry["estimate"])
        marks.append(plots.Mark(label, estimate, ends[0], ends[1], system["baseline"] is None, system["variant"]))
    return plots.forest(marks, _axis_name(key), _chance(data, key))


def _is_known(data: Json, key: str) -> bool:
    """Whether a figure is defined for any system."""
    return any((system["metrics"].get(key) or {}).get("estimate") is not None for system in data["systems"])


def _groups(data: Json, key: str, kind: str) -> str | None:
    """The models by speaker or fold; None where there are fewer than two of them."""
    models = [s for s in data["systems"] if s["baseline"] is None and key in s["metrics"]]
    names = list(dict.fromkeys(entry[kind] for model in models for entry in model[f"by_{kind}"]))
    if len(names) < 2:
        return None
    series = []
    for model in models:
        found = {entry[kind]: entry.get(key) for entry in model[f"by_{kind}"]}
        series.append(plots.Series(model["variant"], [_axis(key, found.get(name)) for name in names]))
    return plots.groups(names, series, _axis_name(key), kind, _chance(data, key))
