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

#: Rooms (sub-packages and single modules) from the bottom up. A room imports only from rooms on lower lines.
RANKS: list[tuple[str, ...]] = [
    ("errors", "repairs"),  # what went wrong, in words: everything may raise it; imports that would fail
    ("system",),  # the processes of this machine
    ("interrupts", "audio_files"),  # when Ctrl-C may be answered; which files are recordings
    ("parts", "places", "memory", "compat", "recipe_files", "runs", "loggers"),  # names, folders, text: no speech
    ("own_parts",),  # the source of a user's classes, beside the run that they were trained in
    ("provenance", "limits"),  # commit and machine; numbers that a setting may have
    ("arguments", "signatures"),  # what a user typed; what a part's constructor takes
    ("diagnosis",),  # what is wrong with a command line, in one line
    ("corpora",),  # rows of utterances: no audio is decoded, no tensor made
    ("data",),  # rows -> manifest, folds, batches
    ("upstreams",),  # waves -> frames
    ("features",),  # runs an upstream over data and keeps what comes out
    ("downstream",),  # frames -> outputs; never asks where frames come from
    ("objectives",),  # outputs -> loss
    ("adaptation", "pretraining"),  # how an upstream is tuned: needs upstreams and objectives
    ("contracts",),  # what every part of the kinds above must keep to
    ("evaluation",),  # from stored predictions alone, see ISOLATED
    ("torchmetrics",),  # the report's figures, added up batch by batch
    ("scoring", "training_figures", "optimisation"),  # what the model asks of metrics and of torch.optim as it trains
    ("identity",),  # what stored weights belong to
    ("training",),  # how any model is trained, scored and kept
    ("network",),  # the wiring: upstream to outputs
    ("model",),  # the network, trained with an objective
    ("weights",),  # a model's own weights in files
    ("feature_plan",),  # whether features can be kept, and how little of them is enough
    ("selection",),  # how weights are chosen on dev
    ("overridden",),  # settings that what is chosen on dev would overwrite
    ("run_identity",),  # which settings a result depends on
    ("recipe",),  # the configuration of data, model and trainer
    ("stages", "baselines", "progress", "inference"),  # one unit of work, one comparison, one screen, one prediction
    ("record", "jobs", "plan", "at_work"),  # what a run says of itself; its units: side by side, which, made by whom
    ("experiment",),  # variants x folds x seeds -> run directory -> report
    ("dry_run", "listing", "extraction", "resume"),  # what an experiment would do, or goes on with; its stores ahead
    ("crosscorpus",),  # finished runs on other corpora: predictions (inference), corpora (recipe), figures (evaluation)
    ("cli",),  # sees everything
]
#: Rooms that import nothing of the package but these and themselves.
ISOLATED = {"evaluation": {"errors"}, "corpora": {"errors", "parts", "places", "audio_files"}}
#: The whole model side is seen by these alone: the wiring, and what lists or configures all parts.
MODEL_SIDE, SEE_MODEL_SIDE = (
    {"upstreams", "features", "downstream", "objectives"},
    {"network", "model", "recipe", "listing", "contracts"},
)
#: Models and evaluation meet in these alone.
SEE_BOTH_SIDES = {"stages", "experiment", "cli"}
#: Imports against the order, inside functions, with the reason.
DOORS = {("recipe", "experiment"): "Recipe.run() lets a notebook start what ser-train starts"}
#: How a distribution is called where it is imported.
IMPORT_NAMES = {"scikit-learn": "sklearn", "pyyaml": "yaml"}


def _room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported(file: Path) -> set[str]:
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
    return names


@functools.cache
def _rooms_seen() -> dict[str, set[str]]:
    """Which rooms each room imports from. ``ser_toolkit/__init__.py`` is the front door, imported for its version."""
    seen: dict[str, set[str]] = defaultdict(set)
    for file in FILES:
        inside = {name.split(".")[1] for name in _imported(file) if name.startswith("ser_toolkit.")}
        seen[_room(file)] |= inside - {_room(file), "__version__"}
    del seen["__init__"]
    return seen


def test_every_room_has_its_place() -> None:
    known = {room for rank in RANKS for room in rank}
    missing = {_room(file) for file in FILES} - known - {"__init__"}
    assert not missing, f"give {missing} a place in RANKS, with the reason"


@pytest.mark.parametrize("room", sorted(_rooms_seen()))
def test_imports_run_one_way(room: str) -> None:
    height = {name: number for number, rank in enumerate(RANKS) for name in rank}
    upward = {other for other in _rooms_seen()[room] if height[other] >= height[room] and (room, other) not in DOORS}
    assert not upward, f"{room} may not import {upward}: they stand beside or above it"
    if room in ISOLATED:
        assert _rooms_seen()[room] <= ISOLATED[room]


def test_few_rooms_see_much() -> None:
    seen = _rooms_seen()
    assert {room for room, others in seen.items() if others >= MODEL_SIDE - {"features"}} <= SEE_MODEL_SIDE
    sides = {room for room, others in seen.items() if "evaluation" in others and others & {"model", *MODEL_SIDE}}
    assert sides <= SEE_BOTH_SIDES


def test_doors_are_inside_functions_and_in_use() -> None:
    for room, other in DOORS:
        tree = ast.parse((PACKAGE / f"{room}.py").read_text(encoding="utf-8"))
        at_top = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert f"ser_toolkit.{other}" not in at_top
        assert other in _rooms_seen()[room], f"the door from {room} to {other} is not used any more"


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
