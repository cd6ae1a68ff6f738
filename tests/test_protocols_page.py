"""docs/protocols.md says what the protocols, label rules and ontologies say themselves."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def test_the_page_is_that_of_the_code() -> None:
    folder = str(REPOSITORY / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import protocols
    finally:
        sys.path.remove(folder)
    written = (REPOSITORY / "docs" / "protocols.md").read_text(encoding="utf-8")
    assert written == protocols.page(), "run: python benchmarks/protocols.py --output docs/protocols.md"
    for said in ("superb_er", "3556/890/1085", "arousal_valence", "PerRater", "no licence"):
        assert said in written
