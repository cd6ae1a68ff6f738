"""A docstring begins with the thing or the verb and names its object: no riddles."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ser_toolkit

PACKAGE = Path(ser_toolkit.__file__).parent
LEAST_WORDS = 4
BARE = re.compile(r"(What|That|Those|The one|The ones)\b")
#: Things neither hear nor say; people do, and are named.
HEARING = re.compile(r"\b(hears?|heard|says|said)\b")
PEOPLE = re.compile(
    r"\b(raters?|listeners?|people|person|speakers?|voices?|users?|actors?|most|somebody|nobody)\b", re.I
)


def _docstrings(file: Path) -> Iterator[tuple[int, str, bool]]:
    """Line, docstring, and whether it may be as short as ``Number of classes.``: that of a property for a count."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        text = ast.get_docstring(node)
        if text:
            function = isinstance(node, ast.FunctionDef)
            is_property = function and any("property" in ast.unparse(one) for one in node.decorator_list)
            counts = is_property and node.returns is not None and ast.unparse(node.returns) == "int"
            yield getattr(node, "lineno", 1), text, counts


def riddle(text: str, counts: bool = False) -> str | None:
    """Reason why a docstring is a riddle; None where it is none."""
    first = text.split("\n\n")[0]
    if BARE.match(text):
        return "begins with a bare What, That, Those or The one"
    if len(first.split()) < LEAST_WORDS and not counts:
        return f"has fewer than {LEAST_WORDS} words"
    if HEARING.search(first) and not PEOPLE.search(first):
        return "lets a thing hear or say"
    return None


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_docstrings_are_no_riddles(file: Path) -> None:
    found = {
        line: (why, text.split("\n")[0]) for line, text, counts in _docstrings(file) if (why := riddle(text, counts))
    }
    assert not found


@pytest.mark.parametrize(
    "text", ["The one.", "What is kept.", "Do it.", "Whether a model hears the one before it.", "Those of all."]
)
def test_riddles_are_found(text: str) -> None:
    assert riddle(text)


def test_plain_docstrings_are_none() -> None:
    assert not riddle("Number of classes.", counts=True)
    assert not riddle("Share of the listeners who heard an emotion.")
