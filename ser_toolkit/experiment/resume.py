"""Go on with a run wherever its directory lies now: its own configuration, its own parts, its complete units."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ser_toolkit.config.recipe import Recipe, parse_run
from ser_toolkit.config.unit_configuration import UPSTREAM_PLACES
from ser_toolkit.errors import RecipeError, ResultError
from ser_toolkit.evaluation.run_folder import RunFolder, find_run
from ser_toolkit.experiment.console import Console
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.parts.own_sources import copied_sources, parts_of


@contextmanager
def resumed(
    run: str | Path, overrides: Sequence[str] = (), console: Console | None = None, trust_code: bool = False
) -> Iterator[Experiment]:
    """The experiment of a run directory, which goes on in that directory.

    In this context the run's own parts are those of the copy that it keeps, where their code has changed since and the
    run is trusted.

    Args:
        run: a run directory, moved or not.
        overrides: what changes no result: ``data.root=PATH``, ``fold=all``, ``seeds=5``, ``jobs=2``.
        console: where progress goes; silent when None.
        trust_code: whether the run may execute code that is not the user's own, see ``parts.trust``.

    Yields:
        The experiment; its ``run`` trains the missing units.

    Raises:
        ResultError: there is no run, it does not record how it was made, or it may only be read.
        RecipeError: an override would make another run; it is named.
    """
    folder = find_run(Path(run))
    files = RunFolder(folder)
    name = _recipe_name(files)
    _check_overrides(folder, overrides)
    _check_writable(folder, overrides)
    console = console or Console(quiet=True)
    with parts_of(files.own_parts, trust_code) as changed:
        own = f"name={name}"
        recipe = parse_run(files.config, folder, trust_code, own, *overrides)
        _check_same(folder, parse_run(files.config, folder, trust_code, own), recipe)
        console.line(f"going on with {folder}")
        for note in changed:
            console.line(f"  note: {note}")
        if recipe.own_sources and not copied_sources(files.own_parts):
            console.line("  note: this run keeps no copy of its own parts: their code is taken as it is here")
        yield Experiment(recipe, console, folder)


def resume(run: str | Path, *overrides: str, trust_code: bool = False) -> Path:
    """Train the missing units of a run, as ``ser-train --resume`` does; returns the run directory.

    Args:
        run: a run directory, moved or not.
        overrides: see ``resumed``.
        trust_code: see ``resumed``.

    Raises:
        SerError: see ``resumed``, and what training itself refuses.
    """
    with resumed(run, overrides, trust_code=trust_code) as experiment:
        return experiment.run()


def refuse_run_directories(arguments: Sequence[str]) -> None:
    """Refuse a run directory or its ``config.yaml`` as a recipe, with the command that goes on with the run.

    Raises:
        RecipeError: an argument is a run directory, or the configuration that lies in one.
    """
    for argument in arguments:
        key, equals, value = argument.removeprefix("--").partition("=")
        path = Path(value if equals and key in ("recipe", "config") else argument).expanduser()
        if RunFolder(path.parent).is_run and path == RunFolder(path.parent).config:
            raise RecipeError(
                f"{path} belongs to a run: ser-train --resume {path.parent} goes on with it. To begin another run from "
                "its settings, copy the file under another name and give that one."
            )
        if not equals and path.is_dir():
            try:
                run = find_run(path)
            except ResultError:
                continue
            raise RecipeError(f"{path} is no recipe: ser-train --resume {run} goes on with the run in it.")


def _recipe_name(run: RunFolder) -> str:
    """Name of the recipe of a run that can be gone on with."""
    name = run.record().recipe
    if name is None:
        raise ResultError(f"{run.record_file} does not name the run's recipe. Copy the run directory again.")
    if not run.config.is_file():
        raise ResultError(f"{run.path} has no config.yaml, which says how to go on. Copy the run directory as a whole.")
    return name


def _check_overrides(folder: Path, overrides: Sequence[str]) -> None:
    for override in overrides:
        key = override.removeprefix("--").partition("=")[0]
        if key in ("recipe", "config", "output", "name"):
            raise RecipeError(
                f"--resume takes recipe, name and place from {folder}: leave {key}= out. Another recipe is another "
                "run: ser-train recipe=NAME."
            )


def _check_writable(folder: Path, overrides: Sequence[str]) -> None:
    """Refuse a run that cannot be written, with advice that fits: its place is no setting, as that of a new run is."""
    looks_only = any(override.removeprefix("--").replace("-", "_").startswith("dry_run") for override in overrides)
    if not looks_only and not os.access(folder, os.W_OK):
        raise ResultError(
            f"{folder} may only be read, so nothing can be added to it. Copy the run directory to where you may write "
            "and resume the copy; ser-report and ser-predict use it where it is."
        )


def _check_same(folder: Path, run: Recipe, asked: Recipe) -> None:
    """Refuse overrides that results depend on; where the upstream lies is none, its fingerprint is compared later."""
    one, two = (_flat("", recipe.identity()) for recipe in (run, asked))
    differing = sorted(key for key in one.keys() | two.keys() if one.get(key) != two.get(key))
    wrong = [
        key for key in differing if not (key.startswith("model.upstream.") and key.split(".")[-1] in UPSTREAM_PLACES)
    ]
    settings = [key for key in wrong if not key.startswith("own_parts.")]
    # of parts whose settings are the same only a variant of one's own can be gone: it is not made now
    wrong = settings or [key for key in wrong if key in two]
    if wrong:
        changes = ", ".join(f"{key}={two.get(key)} (the run has {one.get(key)})" for key in wrong[:4])
        raise RecipeError(
            f"--resume goes on with the run as it is, but this makes another one: {changes}. Leave it out, or train "
            f"another run: ser-train recipe={asked.name} ..."
        )


def _flat(prefix: str, content: Any) -> dict[str, Any]:
    """Settings by their keys as a user writes them: ``model.optimizer.lr``, and ``model.optimizer`` for the class."""
    if not isinstance(content, Mapping):
        return {prefix: content}
    found: dict[str, Any] = {}
    for name, value in content.items():
        key = prefix if name in ("class_path", "init_args") else f"{prefix}.{name}".lstrip(".")
        found |= {key: value} if name == "class_path" else _flat(key, value)
    return found
