"""``ser-extract plan``: disk and hours of extraction for a corpus that is not there yet."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ser_toolkit.cli._options import Parser
from ser_toolkit.cli._stores import SHORT
from ser_toolkit.errors import CheckpointError, RecipeError, nearest
from ser_toolkit.evaluation.reporting.tables import Cell, Table
from ser_toolkit.terms import counted


def plan(arguments: Sequence[str]) -> None:
    """Print storage and hours of extraction.

    Raises:
        RecipeError: an option is unknown, missing or no number.
    """
    from ser_toolkit.config.arguments import add_working_directory

    options, overrides = _options(arguments)
    if options.hours is None:
        raise RecipeError("ser-extract plan needs --hours NUMBER.")
    hours, clip = _number("--hours", options.hours), _number("--clip-seconds", options.clip_seconds)
    rate = None if options.rate is None else _number("--rate", options.rate)
    if (options.upstream is None) == (options.recipe is None):
        raise RecipeError("ser-extract plan needs --upstream NAME or --recipe NAME, one of them.")
    add_working_directory()
    import torch

    from ser_toolkit.cli._command import quiet_libraries

    upstream, settings = _upstream(options, overrides)
    quiet_libraries()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for number, part in enumerate(upstream.parts):
        if number:
            sys.stdout.write("\n")
        _describe(part, hours, clip, rate, device, settings)


def _describe(part: Any, hours: float, clip: float, rate: float | None, device: str, settings: Any) -> None:
    from ser_toolkit.features.estimate import readable
    from ser_toolkit.features.forecast import forecast, measured_rate

    rows = forecast(part, hours, clip)
    clips = math.ceil(hours * 3600 / clip)
    shape = f"{part.num_layers} x {part.feature_dim}"
    per_second = f", {part.sampling_rate / part.hop_samples:.0f} frames a second" if part.hop_samples else ""
    sys.stdout.write(
        f"{hours:,g} hours of speech in {clips:,} clips of {clip:g} s; {type(part).__name__}: layers {shape}"
        f"{per_second}\n"
    )
    worker, source = "one process", "as given"
    if rate is None:
        rate = measured_rate(part, clip, device, settings)
        worker = "one GPU" if device == "cuda" else "one such CPU"
        source = f"measured here on synthetic audio: {_machine(device)}, {settings.precision}, reading left out"
    sys.stdout.write(
        f"extraction: {_hours(hours / rate)} of {worker} at {_rate(rate)} s of audio/s ({source}); "
        f"{_hours(hours / rate / 8)} on 8 of them; the same whatever is kept\n\n"
    )
    cells = []
    for row in rows:
        smaller = readable(row.float16) if row.what == "frames" else "-"
        cells.append([Cell(one) for one in (SHORT[row.what], readable(row.float32), smaller, row.enough_for)])
    table = Table(("kept of an utterance", "float32", "float16", "enough for"), cells)
    sys.stdout.write(table.text() + "\n")
    if len(rows) > 1:
        sys.stdout.write(
            "Moments are always float32. What a recipe needs is found from its parts: --dry-run says it.\n"
        )


def _options(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Options of the command, and those of the upstream as a recipe takes them."""
    parser = Parser("ser-extract plan")
    for option in ("--hours", "--rate"):
        parser.add_argument(option, metavar="NUMBER")
    parser.add_argument("--clip-seconds", metavar="NUMBER", default="4")
    for option in ("--upstream", "--recipe"):
        parser.add_argument(option, metavar="NAME")
    options, others = parser.split(arguments)
    for other in others:
        key, equals, _ = other.removeprefix("--").partition("=")
        if not (equals and key.startswith(("model.upstream.", "features."))):
            hint = "Further options of the upstream: model.upstream.KEY=VALUE, features.KEY=VALUE."
            raise parser.unknown(other, hint)
    return options, [f"--{other.removeprefix('--')}" for other in others]


def _number(option: str, text: str) -> float:
    try:
        value = float(text.replace(",", "").replace("_", ""))
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise RecipeError(f"{option} {text}: expected a number above 0.")
    return value


def _upstream(options: argparse.Namespace, overrides: list[str]) -> tuple[Any, Any]:
    """The upstream, and how its features are computed, by the parser that reads recipes."""
    import ser_toolkit.upstreams  # noqa: F401  (finds every upstream)
    from ser_toolkit.config.arguments import Command
    from ser_toolkit.config.parser import RecipeParser
    from ser_toolkit.features.settings import FeatureSettings
    from ser_toolkit.parts.finding import subclasses
    from ser_toolkit.upstreams.base import Upstream

    parser = RecipeParser(prog="ser-extract plan", allow_abbrev=False)
    parser.add_argument("--model.upstream", type=Upstream)
    parser.add_class_arguments(FeatureSettings, "features", instantiate=False)
    if options.recipe is not None:
        arguments = _of_recipe(options.recipe, overrides)
    else:
        arguments = [*_chosen(options.upstream, list(subclasses(Upstream))), *overrides]  # type: ignore[type-abstract]
    config = parser.parse_or_explain(Command.read(arguments))
    settings = FeatureSettings(**config.features.as_dict())
    try:
        return parser.instantiate(config).model.upstream, settings
    except CheckpointError:
        if "HuggingFaceUpstream" not in str(config.model.upstream.class_path):
            raise
        sys.stdout.write("note: no weights that can be loaded; random ones cost the same\n")
        config = parser.parse_args([*arguments, "--model.upstream.random_init=true"])
        return parser.instantiate(config).model.upstream, settings


def _chosen(name: str, parts: list[str]) -> list[str]:
    """The upstream of this name, as arguments: a part, a part of the user's own, or a Hugging Face name or folder."""
    shipped = {part.lower(): part for part in parts}
    if name.lower() in shipped:
        return [f"--model.upstream={shipped[name.lower()]}"]
    if "/" in name or Path(name).expanduser().is_dir():
        return ["--model.upstream=HuggingFaceUpstream", f"--model.upstream.name={name}"]
    if "." in name:
        return [f"--model.upstream={name}"]  # my_module.MyUpstream
    raise RecipeError(
        f"--upstream {name}: no part, no folder and no Hugging Face name, which has an owner (microsoft/wavlm-base). "
        f"{nearest(name, parts)}"
    )


def _of_recipe(name: str, overrides: list[str]) -> list[str]:
    """Upstream and features of a recipe, as arguments."""
    import json

    from ser_toolkit.config.recipe import load_recipe

    plain = load_recipe(name, *overrides).plain_config()
    return [f"--model.upstream={json.dumps(plain['model']['upstream'])}", f"--features={json.dumps(plain['features'])}"]


def _machine(device: str) -> str:
    import torch

    if device == "cuda":
        return str(torch.cuda.get_device_name())
    return f"CPU with {counted(torch.get_num_threads(), 'thread')}"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _hours(hours: float) -> str:
    if hours < 0.1:
        return f"{3600 * hours:.0f} seconds"
    return f"{60 * hours:.0f} minutes" if hours < 2 else f"{hours:,.{1 if hours < 10 else 0}f} hours"
