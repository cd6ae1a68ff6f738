"""Relative links of every page lead to a file, and their anchors to a heading."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^(`{3,}).*?^\1\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)


def pages() -> list[Path]:
    places = ("*.md", "docs/**/*.md", "benchmarks/**/*.md", "recipes/**/*.md", "tests/**/*.md")
    return sorted(page for place in places for page in ROOT.glob(place))


def anchors(text: str) -> set[str]:
    """Anchors that GitHub gives the headings: lower case, blanks as hyphens, other signs dropped; -1 where repeated."""
    found: dict[str, int] = {}
    for heading in HEADING.findall(FENCE.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found[anchor] = found.get(anchor, -1) + 1
    return {
        anchor if not number else f"{anchor}-{number}" for anchor, last in found.items() for number in range(last + 1)
    }


def broken(page: Path) -> list[str]:
    wrong = []
    for link in LINK.findall(re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or not target.is_relative_to(ROOT):
            wrong.append(f"{link}: no such file")
        elif anchor and (target.suffix != ".md" or anchor not in anchors(target.read_text(encoding="utf-8"))):
            wrong.append(f"{link}: no such heading")
    return wrong


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert not broken(page)


def test_a_broken_link_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# One & `two`\n# Same\n# Same\n```\n# Code\n```\n")
    page = tmp_path / "page.md"
    good = "[a](other.md#one--two) [b](other.md#same-1) [c](#here) [d](https://x.org) `[e](gone.md)`\n# Here\n"
    page.write_text(good + "[f](gone.md) [g](other.md#code) [h](other.md#same-2) [i](#gone)\n")
    assert [line.split(":")[0] for line in broken(page)] == ["gone.md", "other.md#code", "other.md#same-2", "#gone"]
