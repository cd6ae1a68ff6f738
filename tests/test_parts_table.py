"""docs/parts.md names every shipped part with its description and size as they are now; costs are not measured here."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ser_toolkit.config.listing import KINDS
from ser_toolkit.config.schema import make_parser
from ser_toolkit.parts.finding import subclasses, summary

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "parts.md"
AGAIN = "run: OMP_NUM_THREADS=1 python benchmarks/parts.py --output docs/parts.md"
#: Columns that are measured, and so may differ from run to run.
MEASURED = {"Cost", "Fit", "Judge"}
#: What stands for a measurement where a part cannot be built, and the reason behind it.
ABSENT = "not measured here ("


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """benchmarks/parts.py, which made the page."""
    folder = str(REPOSITORY / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import parts
    finally:
        sys.path.remove(folder)
    return parts


def sections() -> dict[str, list[str]]:
    """Lines of the page by heading."""
    pieces = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {piece.splitlines()[0]: piece.splitlines()[1:] for piece in pieces}


def table(heading: str) -> dict[tuple[str, str], dict[str, str]]:
    """Cells by heading of the column, of each row by its part and what it was built as."""
    split = r"(?<!\\)\|"
    lines = [[cell.strip() for cell in re.split(split, line)[1:-1]] for line in sections()[heading] if line[:1] == "|"]
    rows = [dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]]
    return {(row["Part"], row.get("Built as", "")): row for row in rows}


def shipped(kind: str) -> dict[str, type]:
    make_parser()  # imports every sibling module
    known: dict[str, type] = subclasses(KINDS[kind])
    return {name: part for name, part in known.items() if part.__module__.startswith("ser_toolkit.")}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_shipped_part_is_named_with_its_description(kind: str) -> None:
    lines = [line for heading, found in sections().items() if heading.partition(",")[0] == kind for line in found]
    for name, part in shipped(kind).items():
        own = [line for line in lines if re.match(rf"(\| {name} \||- {name}: )", line)]
        assert own, f"{kind}={name} is not in {PAGE.name}; {AGAIN}"
        assert all(summary(part).replace("|", r"\|") in line for line in own), f"{name} is described otherwise; {AGAIN}"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_part_is_named_that_is_gone(kind: str) -> None:
    lines = [line for heading, found in sections().items() if heading.partition(",")[0] == kind for line in found]
    named = [re.match(r"(?:\| (\w+) \||- (\w+): )", line) for line in lines]
    assert {found[1] or found[2] for found in named if found} - {"Part"} <= set(shipped(kind)), AGAIN


@pytest.mark.parametrize("place", range(9))
def test_sizes_and_sources_are_those_of_the_code(benchmark: ModuleType, place: int, tmp_path: Path) -> None:
    wanted = benchmark.TABLES[place]
    printed = table(wanted.heading)
    rows = benchmark.rows(wanted, tmp_path, weightless=True)
    assert {(row.part.__name__, row.built_as) for row in rows} == set(printed), AGAIN
    for row in rows:
        cells = printed[row.part.__name__, row.built_as]
        assert cells["Source"] == benchmark.source(row.part), f"{row.part.__name__}: {AGAIN}"
        if row.reason:  # without its weights or its package there is no size to compare; any other reason is shown
            assert row.reason.startswith(f"{ABSENT}needs ") or row.reason in cells.values(), f"{row.reason}; {AGAIN}"
        elif not any(cell.startswith(ABSENT) for cell in cells.values()):
            assert {name: cells[name] for name in row.cells} == row.cells, f"{row.part.__name__}: {AGAIN}"


def test_every_table_is_under_test_and_every_part_has_a_cost_or_a_reason(benchmark: ModuleType) -> None:
    assert len(benchmark.TABLES) == 9
    for wanted in benchmark.TABLES:
        for (name, built_as), cells in table(wanted.heading).items():
            for heading in MEASURED & set(cells):
                said = cells[heading]
                assert said.startswith(ABSENT) or float(said.replace(",", "")) > 0, f"{name} {built_as}: {said}"
        references = {(name, heading) for heading, name in wanted.references.items()}
        ones = {
            (row["Part"], heading)
            for row in table(wanted.heading).values()
            for heading in MEASURED & set(row)
            if row[heading] == "1.0"
        }
        assert references <= ones


def test_the_page_says_how_it_was_made_and_names_no_place() -> None:
    head = PAGE.read_text(encoding="utf-8").partition("\n## ")[0]
    for said in ("benchmarks/parts.py --output docs/parts.md", r"\d CPU cores", r"torch \d", "Absolute times"):
        assert re.search(said, head), AGAIN
    assert not re.search(r"(?<![\w.])/(work|home|tmp|root)/", PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('Source: Yang et al., "SUPERB: 1999 and on", Interspeech 2021, section 3.2.', "Yang et al. 2021"),
        ("Source: Hyndman & Fan 1996, quantiles.", "Hyndman & Fan 1996"),
        (
            "Source: Eyben, Wöllmer & Schuller, openSMILE, ACM 2010; Pearson 1895.",
            "Eyben, Wöllmer & Schuller 2010; Pearson 1895",
        ),
        (
            "Source: Liu and Nocedal 1989, a method,\nMathematical Programming 45.\n\nNot this: Doe 2000.",
            "Liu & Nocedal 1989",
        ),
        ("Source: s3prl, ``model.py``.", "s3prl"),
        ("Nothing of the kind, by Doe 2000.", "-"),
    ],
)
def test_sources_are_shortened_to_authors_and_year(benchmark: ModuleType, said: str, expected: str) -> None:
    part = type("Part", (), {"__doc__": f"A part.\n\n{said}\n\nArgs:\n    x: 1."})
    assert benchmark.source(part) == expected


def test_ratios_are_medians_of_paired_rounds(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine in one round slows both: the ratio stays."""
    times = {"slow": iter([1, 6, 6, 60, 6, 6]), "quick": iter([1, 2, 2, 20, 2, 2])}
    monkeypatch.setattr(benchmark, "clock", lambda run, loops: next(times[run()]))
    found = benchmark.measure({0: lambda: "slow", 1: lambda: "quick"}, 1, 5)
    assert found == {0: (3.0, 0.0), 1: (1.0, 0.0)}


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(0.0314, "0.031"), (0.42, "0.42"), (0.999, "1.0"), (9.96, "10"), (12.3, "12"), (1234, "1,200")],
)
def test_two_digits(benchmark: ModuleType, ratio: float, expected: str) -> None:
    assert benchmark.two_digits(ratio) == expected


def test_what_is_not_measured_is_as_the_code_says(benchmark: ModuleType) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert benchmark.with_lists(page) == page, AGAIN.replace("--output", "--lists docs/parts.md --output")
