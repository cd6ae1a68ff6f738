"""Imports run one way, and the house rules that a linter does not know."""

from __future__ import annotations

import ast
import functools
import sys
from collections import defaultdict
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "ser_toolkit"
FILES = sorted(PACKAGE.rglob("*.py"))

#: The rooms from the ground up, with reasons: a file imports from its own room and from those below, whichever line the
#: import stands in. Folders inside a room belong to it; between any two files there is no circle.
RANKS: list[tuple[str, str]] = [
    ("terms", "terms of the field and phrases that every room shares"),
    ("errors", "what can go wrong, in words: everything may raise it"),
    ("system", "the machine: files, processes, memory, folders, what is installed"),
    ("parts", "how a part is found, what its constructor takes, where its source lies"),
    ("evaluation", "from stored predictions alone, see ISOLATED"),
    ("torchmetrics", "the report's figures, added up batch by batch"),
    ("corpora", "rows of utterances: no audio is decoded, no tensor made"),
    ("protocols", "rows -> folds"),
    ("data", "rows -> manifest, batches"),
    ("upstreams", "waves -> frames"),
    ("downstream", "frames -> outputs; never asks where frames come from"),
    ("objectives", "outputs -> loss"),
    ("contracts", "what every part of the kinds above must keep to"),
    ("features", "runs an upstream over data and stores what comes out"),
    ("model", "the wiring, trained with an objective"),
    ("config", "what a user typed -> data, model and trainer"),
    ("inference", "a trained model at work"),
    ("experiment", "variants x folds x seeds -> run directory -> report"),
    ("crosscorpus", "finished runs on other corpora"),
    ("cli", "sees everything"),
]
#: Rooms that import nothing of the package but these and themselves.
ISOLATED = {"evaluation": {"terms", "errors", "system"}, "corpora": {"terms", "errors", "parts", "system"}}
#: The whole model side is seen by these alone: the wiring, and what lists or configures all parts.
MODEL_SIDE, SEE_MODEL_SIDE = {"upstreams", "downstream", "objectives"}, {"model", "config", "contracts"}
#: Models and evaluation meet in these alone.
SEE_BOTH_SIDES = {"model", "config", "inference", "experiment", "crosscorpus", "cli"}
#: How a distribution is called where it is imported.
IMPORT_NAMES = {"scikit-learn": "sklearn", "pyyaml": "yaml"}


def _module(file: Path) -> str:
    parts = file.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(file): file for file in FILES}


def _room(module: str) -> str:
    return f"{module}.".split(".")[1]


@functools.cache
def _imported(file: Path) -> frozenset[str]:
    """Absolute names of all modules that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively: write the whole name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == "import_module":  # heavy packages that are imported when a part is made
                names.add(str(node.args[0].value))
    return frozenset(names)


def _modules_seen(file: Path) -> set[str]:
    """Files of the package that a file imports, by their names; a package stands for its ``__init__``."""
    names = {name if name in MODULES else name.rpartition(".")[0] for name in _imported(file)}
    return (names & MODULES.keys()) - {_module(file)}


@functools.cache
def _rooms_seen() -> dict[str, set[str]]:
    """Which rooms each room imports from; the front door ``ser_toolkit/__init__.py`` is none."""
    seen: dict[str, set[str]] = defaultdict(set)
    for module, file in MODULES.items():
        seen[_room(module)] |= {_room(name) for name in _modules_seen(file)} - {_room(module)}
    del seen[""]
    return seen


def test_the_order_names_every_room_and_none_that_is_not_there() -> None:
    ranked, there = [room for room, _ in RANKS], set(_rooms_seen())
    assert len(ranked) == len(set(ranked))
    assert not there - set(ranked), f"give {there - set(ranked)} a place in RANKS, with the reason"
    assert not set(ranked) - there, f"RANKS names {set(ranked) - there}, which are no rooms"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_run_one_way(file: Path) -> None:
    height = {name: number for number, (name, _) in enumerate(RANKS)}
    room = _room(_module(file))
    if not room:
        return  # the front door imports the names that it offers
    seen = {_room(name) for name in _modules_seen(file)}
    assert "" not in seen, "the front door is for users: import from the room"
    upward = {other for other in seen if height[other] > height[room]}
    assert not upward, f"{file} may not import {upward}: they stand above it"


def test_no_two_files_import_each_other() -> None:
    graph = {module: _modules_seen(file) for module, file in MODULES.items()}
    while leaves := {module for module, others in graph.items() if not others & graph.keys()}:
        graph = {module: others for module, others in graph.items() if module not in leaves}
    while tops := graph.keys() - {other for others in graph.values() for other in others}:
        graph = {module: others for module, others in graph.items() if module not in tops}
    assert not graph, f"files that import each other, and what lies between circles: {sorted(graph)}"


@pytest.mark.parametrize("room", sorted(ISOLATED))
def test_isolated_rooms(room: str) -> None:
    assert _rooms_seen()[room] <= ISOLATED[room]


def test_few_rooms_see_much() -> None:
    seen = _rooms_seen()
    assert {room for room, others in seen.items() if others >= MODEL_SIDE} <= SEE_MODEL_SIDE
    sides = {room for room, others in seen.items() if "evaluation" in others and others & {"model", *MODEL_SIDE}}
    assert sides <= SEE_BOTH_SIDES


def test_reports_need_no_torch() -> None:
    heavy = {"torch", "lightning", "transformers"}
    for file in (PACKAGE / "evaluation").rglob("*.py"):
        assert not {name.split(".")[0] for name in _imported(file)} & heavy, file


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_is_short_and_says_errors_with_classes(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    lines = text.count("\n")
    assert lines <= 400, "longer than 400 lines: does it hold one concept?"
    for node in ast.walk(ast.parse(text)):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: asserts vanish under -O; raise a SerError"
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"line {node.lineno}: bare except"
        printed = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        assert not printed, "prints: write to sys.stdout in cli/, log elsewhere"


def test_dependencies_are_what_is_imported() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {_import_name(line) for line in project["dependencies"]}
    optional = {_import_name(line) for lines in project["optional-dependencies"].values() for line in lines}
    imported = {name.split(".")[0] for file in FILES for name in _imported(file)}
    imported -= {"ser_toolkit", *sys.stdlib_module_names}
    assert required <= imported, f"required but never imported: {required - imported}"
    assert imported <= required | optional, f"imported but not declared: {imported - required - optional}"


def _import_name(requirement: str) -> str:
    name = requirement
    for mark in "[<>=!~; ":
        name = name.split(mark)[0]
    return IMPORT_NAMES.get(name, name.replace("-", "_"))
