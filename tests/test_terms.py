"""Terms of the field have one owner; phrases are worded once."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from ser_toolkit import terms
from ser_toolkit.terms import DIMENSIONS, listed, natural_key

PACKAGE = Path(terms.__file__).parent
OTHERS = [file for file in sorted(PACKAGE.rglob("*.py")) if file.name != "terms.py"]
VALUES = {name: getattr(terms, name) for name in ("DIMENSIONS", "MISSING_LABEL", "TIE", "PLAIN")}


@pytest.mark.parametrize("file", OTHERS, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_other_file_declares_a_term_or_counts_names_by_hand(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign):
            names = {getattr(target, "id", "").strip("_") for target in node.targets}
            assert not names & {*VALUES, "Precision"}, f"line {node.lineno}: import it from terms"
            if isinstance(node.value, ast.Tuple):
                values = tuple(getattr(item, "value", None) for item in node.value.elts)
                assert values != DIMENSIONS, f"line {node.lineno}: DIMENSIONS of terms"
        if isinstance(node, ast.JoinedStr):
            texts = [part.value for part in node.values if isinstance(part, ast.Constant)]
            assert texts not in ([" and ", " more"], ["; and ", " more"]), f"line {node.lineno}: use terms.listed"


def test_names_are_listed_with_the_number_of_those_left_out() -> None:
    names = [f"speaker{number}" for number in range(12)]
    assert listed(names, 2) == "speaker0, speaker1 and 10 more"
    assert listed(names, 2, "; ") == "speaker0; speaker1; and 10 more"
    assert listed(names, 2, more=", ... ({} of 12)") == "speaker0, speaker1, ... (10 of 12)"
    assert listed(iter(["{}", "b"]), 2) == "{}, b"
    assert listed([], 2) == ""


def test_natural_order_tells_every_two_names_apart() -> None:
    ordered = ["9", "9a", "10", "Ses02", "Ses2", "Ses10", "a", "x²"]
    for names in (ordered[::-1], ordered[4:] + ordered[:4]):
        assert sorted(names, key=natural_key) == ordered
