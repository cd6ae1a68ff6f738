"""The README is followed word for word: its commands and its Python are run, in their order, in one empty folder.

A fenced ``bash``, ``console`` or ``python`` block runs by default, so it must be quick. A comment before it says more:

    <!-- test: corpus -->            needs real corpora, written as ../shared/corpora/NAME; skipped without them
    <!-- test: slow -->              runs in `make test-all` only
    <!-- test: skip why it is -->    not run; its recipes, commands and make targets must exist all the same

``ser-*`` lines are run by a shell, ``make`` targets must exist, lines of SHELL_WORDS are for the reader.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from ser_toolkit.config.files import find_recipe

REPOSITORY = Path(__file__).resolve().parent.parent
README = REPOSITORY / "README.md"
SHELL_WORDS = ("cd", "git", "source", "export", "pip", "python3")
TIMEOUT_SECONDS = 1800
_BLOCK = re.compile(
    r"^(?:<!-- test: (?P<mark>[^>]*?) *-->\n+)?```(?P<language>bash|console|python)\n(?P<body>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Step:
    """One command line, or one block of Python, of the README.

    Args:
        line: where its block starts, from 1.
        language: ``shell`` or ``python``.
        text: what is run.
        marks: the first words of the comment before the block: some of corpus, slow, skip.
    """

    line: int
    language: str
    text: str
    marks: frozenset[str]


def steps(text: str) -> Iterator[Step]:
    """What a reader of this Markdown would type, in order."""
    for block in _BLOCK.finditer(text):
        words = (block["mark"] or "").split()
        marks = frozenset(words[:1] if words[:1] == ["skip"] else words)
        line = text.count("\n", 0, block.start("body")) + 1
        if block["language"] == "python":
            yield Step(line, "python", block["body"], marks)
            continue
        body = block["body"].replace("\\\n", " ")
        for command in body.splitlines():
            if block["language"] == "console":
                if not command.startswith("$ "):
                    continue  # what the command printed
                command = command[2:]
            command = re.sub(r"\s+#\s.*$|^#.*$", "", command).strip().replace(".venv/bin/", "")
            if command:
                yield Step(line, "shell", re.sub(r" {2,}", " ", command), marks)


STEPS = list(steps(README.read_text(encoding="utf-8")))


def _parameters() -> Iterator[object]:
    for step in STEPS:
        unknown = step.marks - {"corpus", "slow", "skip"}
        assert not unknown, f"README.md:{step.line}: unknown test mark {unknown}"
        if "skip" not in step.marks and (step.language == "python" or step.text.startswith("ser-")):
            marks = [getattr(pytest.mark, mark) for mark in sorted(step.marks)]
            yield pytest.param(step, marks=marks, id=f"{step.line}-{' '.join(step.text.split())[:60]}")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder in the place of the clone; ``../shared`` is linked where this machine has it."""
    place = tmp_path_factory.mktemp("readme")
    (place / "shared").mkdir()
    for variable, name in (("SER_CORPORA", "corpora"), ("SER_WEIGHTS", "weights")):
        source = Path(os.environ.get(variable, REPOSITORY.parent / "shared" / name))
        if source.is_dir():
            (place / "shared" / name).symlink_to(source)
    (place / "clone").mkdir()
    return place / "clone"


@pytest.mark.parametrize("step", list(_parameters()))
def test_a_step_of_the_readme_works(step: Step, reader: Path, request: pytest.FixtureRequest) -> None:
    if "corpus" in step.marks:
        request.getfixturevalue("corpora_root")
    command = ["bash", "-c", step.text] if step.language == "shell" else [sys.executable, "-c", step.text]
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SER_CACHE": str(reader.parent / "cache"),
    }
    done = subprocess.run(
        command, cwd=reader, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert done.returncode == 0, f"README.md:{step.line}: {step.text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.parametrize("step", [step for step in STEPS if step.language == "shell"], ids=lambda step: step.text[:60])
def test_what_a_command_names_exists(step: Step) -> None:
    program, *arguments = step.text.split()
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.M))
    scripts = {entry.name for entry in metadata.distribution("ser-toolkit").entry_points}
    if program == "make":
        assert {word for word in arguments if "=" not in word} <= targets
    elif program.startswith("ser-"):
        assert program in scripts
    else:
        assert program in SHELL_WORDS, f"README.md:{step.line}: neither run nor known: {step.text}"
    named = {word.removeprefix("recipe=") for word in arguments if word.startswith("recipe=")}
    assert all(find_recipe(name) for name in named if "." not in name), "an unknown name raises RecipeError"


def test_the_two_first_commands_are_in_the_readme() -> None:
    assert {"make setup", "make demo"} <= {step.text for step in STEPS}


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", README.read_text(encoding="utf-8"))
    assert not [link for link in links if not (REPOSITORY / link).exists()]


def test_blocks_are_read_as_a_reader_would() -> None:
    text = (
        "```bash\nmake setup   # once\n# a remark\n.venv/bin/ser-train recipe=demo \\\n  fold=1\n```\n\n"
        "<!-- test: corpus slow -->\n```console\n$ ser-corpus list\nEmoDB\n```\n"
        "<!-- test: skip needs a GPU -->\n\n```python\nx = 1  # one\n```\n```\nser-nothing\n```\n"
    )
    found = list(steps(text))
    assert [step.text for step in found] == [
        "make setup",
        "ser-train recipe=demo fold=1",
        "ser-corpus list",
        "x = 1  # one\n",
    ]
    assert [step.marks for step in found] == [set(), set(), {"corpus", "slow"}, {"skip"}]
    assert [step.line for step in found] == [2, 2, 10, 16]
