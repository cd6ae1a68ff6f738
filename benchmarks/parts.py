"""docs/parts.md: every part with its size and what it costs beside a reference, measured in one run.

    OMP_NUM_THREADS=1 python benchmarks/parts.py --output docs/parts.md

After a change of corpora, label rules, protocols, variants or optimisers alone, nothing has to be measured again:

    python benchmarks/parts.py --lists docs/parts.md --output docs/parts.md

Parts are found by the same walk as on the command line, so none can be forgotten: what cannot be built or run here is
shown with its reason. tests/test_parts_table.py compares names, descriptions and sizes with the code.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from inspect import getdoc
from pathlib import Path
from typing import Any

import torch
from part_tables import BATCH, CLASSES, DIM, FRAMES, LAYERS, POOLINGS, SECONDS, TABLES, Case, Run, Table, upstream_cases

from ser_toolkit.config.listing import KINDS
from ser_toolkit.config.schema import make_parser
from ser_toolkit.errors import CheckpointError, SerError
from ser_toolkit.parts.finding import subclasses, summary

#: Shortest time of one measurement, in seconds: quicker parts are repeated until they take as long.
TARGET = 0.05
NOWHERE = "-"
ESCAPED = r"\|"
#: The part with which the references of all kinds are compared.
UNIT = "MeanPooling"
#: Ratio to the reference and the distance of its quartiles, relative, by the row's place.
Costs = dict[int, tuple[float, float]]


@dataclass
class Row:
    """One line of a table; ``reason`` says why it could not be built here."""

    part: type
    built_as: str = ""
    cells: dict[str, str] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    reason: str = ""


#: Kinds that have neither parameters nor a cost worth a table.
LISTED = ("model.context", "data.corpus", "data.labels", "data.protocol", "variants", "model.optimizer")


def shipped(kind: str) -> dict[str, type]:
    """The parts of a kind that the package brings, by name."""
    make_parser()  # imports every sibling module
    known: dict[str, type] = subclasses(KINDS[kind])
    return {name: part for name, part in known.items() if part.__module__.startswith("ser_toolkit.")}


def rows(table: Table, folder: Path, weightless: bool = False) -> list[Row]:
    """The lines of a table, with sizes, not yet with times.

    Args:
        table: of which kind.
        folder: for files with random weights.
        weightless: build large encoders without weights, for their sizes only.
    """
    parts = {name: part for name, part in shipped(table.kind).items() if table.wanted(part)}
    cases: list[Case] = [(name, "", lambda part: part) for name in parts]
    if table.kind == "model.upstream":
        cases = [case for case in upstream_cases(folder, weightless) if case[0] in parts]
        without = sorted(parts.keys() - {name for name, *_ in cases})
        cases += [(name, "defaults", lambda part: part()) for name in without]
    return [described(table, Row(parts[name], built_as), build) for name, built_as, build in cases]


def described(table: Table, row: Row, build: Callable[[type], Any]) -> Row:
    """The row with its sizes, or with the reason why there are none."""
    try:
        torch.manual_seed(0)
        row.cells, row.runs = table.describe(build(row.part))
    except (SerError, ImportError, TypeError) as error:
        row.reason = f"not measured here ({reason(error)})"
    return row


def reason(error: Exception) -> str:
    """What an error comes down to, without the paths of the machine."""
    package = re.search(r"needs (?:the packages? )?(\w+)|No module named '(\w+)", str(error))
    if isinstance(error, CheckpointError):
        return "needs weights"
    if package:
        return f"needs {package[1] or package[2]}"
    return " ".join(str(error).split()).partition(". ")[0].rstrip(".")


def source(part: type) -> str:
    """Authors and year of each work that a docstring names as its source."""
    said = re.search(r"^Source:\s*(.*?)(?:\n\s*\n|\Z)", getdoc(part) or "", re.DOTALL | re.MULTILINE)
    if said is None:
        return NOWHERE
    text = re.sub(r'"[^"]*"', "", " ".join(said[1].split()))
    name = r"[A-Z][\w-]+"
    pattern = (
        rf"({name}(?:(?:, {name})* (?:&|and) {name}| et al\.)?)(?:(?!\b(?:18|19|20)\d\d\b).)*\b((?:18|19|20)\d\d)\b"
    )
    works = [found for piece in text.split(";") for found in [re.search(pattern, piece)] if found]
    cited = dict.fromkeys(f"{work[1].replace(' and ', ' & ')} {work[2]}" for work in works)
    return "; ".join(cited) or re.split(r"[,;.] ?", text.replace("``", ""))[0]


def measure(runs: dict[int, Run], reference: int, rounds: int) -> Costs:
    """Ratio to the reference (median over interleaved rounds) and the distance of its quartiles, relative, by place."""
    loops = {}
    for place, run in runs.items():
        run()
        loops[place] = max(1, round(TARGET / max(clock(run, 1), 1e-6)))
    times = [{place: clock(run, loops[place]) for place, run in runs.items()} for _ in range(rounds)]
    found = {}
    for place in runs:
        ratios = [one[place] / one[reference] for one in times]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        found[place] = (middle, (high - low) / middle)
    return found


def clock(run: Run, loops: int) -> float:
    """Seconds of CPU time of one run: other processes make it wait, which is not its cost."""
    start = time.process_time()
    for _ in range(loops):
        run()
    return (time.process_time() - start) / loops


def two_digits(ratio: float) -> str:
    """A ratio with two significant digits: 0.031, 0.42, 1.0, 12, 340."""
    rounded = float(f"{ratio:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:.1f}" if rounded >= 1 else f"{rounded:g}"


def table_lines(table: Table, found: list[Row], costs: dict[str, Costs], unit: str) -> list[str]:
    """A table as Markdown; ``costs`` by heading and by the row's place."""
    sizes = list(dict.fromkeys(heading for row in found for heading in row.cells))
    built_as = ["Built as"] if any(row.built_as for row in found) else []
    headings = ["Part", *built_as, "What it is", *sizes, *costs, "Source"]
    right = ("Parameters", *costs)
    lines = [f"## {table.heading}", "", f"{table.note} {unit}", "", as_line(headings)]
    lines.append(as_line(["---:" if heading in right else "---" for heading in headings]))
    for place, row in enumerate(found):
        ratios = [two_digits(cost[place][0]) if place in cost else row.reason or NOWHERE for cost in costs.values()]
        cells = [row.cells.get(heading, NOWHERE) for heading in sizes]
        names = [row.part.__name__, row.built_as] if built_as else [row.part.__name__]
        lines.append(as_line([*names, summary(row.part), *cells, *ratios, source(row.part)]))
    return [*lines, ""]


def as_line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', ESCAPED) for cell in cells)} |"


def list_lines(kind: str) -> list[str]:
    """The parts of a kind without sizes."""
    lines = [f"- {name}: {summary(part)}" for name, part in shipped(kind).items()]
    return [f"## {kind}", "", *lines, ""]


def head_lines(spreads: list[float], rounds: int) -> list[str]:
    """How the figures were made, and what they are worth."""
    packages = ("torch", "torchaudio", "transformers", "s3prl", "opensmile", "scikit-learn", "xgboost")
    versions = ", ".join(f"{name} {version(name)}" for name in packages if installed(name))
    sizes = f"{SECONDS} s: {LAYERS} layers of {DIM}"
    cores = f"{os.cpu_count()} CPU cores ({platform.machine()}), torch on {torch.get_num_threads()} of them"
    usual, worst = f"{statistics.median(spreads):.0%}", f"{max(spreads):.0%}"
    text = f"""# All parts

Made by `OMP_NUM_THREADS=1 python benchmarks/parts.py --output docs/parts.md`; do not edit by hand. The options of a
part: `ser-train --model.pooling.help StatisticsPooling`.

- **Parameters** are those that training changes, with default options, for utterances of {sizes}
  at 50 Hz ({FRAMES} frames), an utterance vector of {DIM}, {len(CLASSES)} classes.
- **Cost** per utterance is the CPU time of forward and backward of a batch of {BATCH} such utterances in training mode,
  gradients of the input included, divided by that of the part whose cost is 1.0. Each figure is the median of {rounds}
  rounds in which all parts of a table take turns. Its quartiles lie {usual} apart for the median part and {worst} for
  the worst: smaller differences say nothing.
- **Source**: authors and year; title, equations and what differs stand in the docstring.
- Measured in one run on a shared machine with {cores}. Absolute times
  would mean nothing and are left out. On a GPU, with more threads or other lengths the ratios are others.
- Versions: Python {platform.python_version()},
  {versions}.
"""
    return [*text.splitlines(), ""]


def installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def document(rounds: int) -> str:
    """The whole page; takes minutes."""
    body, spreads = [], []
    with tempfile.TemporaryDirectory() as folder:
        unit_row = next(row for row in rows(POOLINGS, Path(folder)) if row.part.__name__ == UNIT)
        for table in TABLES:
            print(f"{table.heading} ...", file=sys.stderr)
            found = rows(table, Path(folder))
            costs, units = {}, []
            for heading, name in table.references.items():
                runs = {place: row.runs[heading] for place, row in enumerate(found) if heading in row.runs}
                reference = next(place for place in runs if found[place].part.__name__ == name)
                costs[heading] = measure(runs, reference, rounds)
                spreads += [spread for place, (_, spread) in costs[heading].items() if place != reference]
                units.append(unit_of(heading, name, runs[reference], unit_row.runs["Cost"], rounds))
            body += table_lines(table, found, costs, " ".join(units))
    listed = [text for kind in LISTED for text in list_lines(kind)]
    return "\n".join([*head_lines(spreads, rounds), *body, *listed]).rstrip() + "\n"


def with_lists(page: str) -> str:
    """The page with its last sections, of parts without a cost, made anew."""
    measured, heading, _ = page.partition(f"## {LISTED[0]}\n")
    if not heading:
        raise SystemExit(f"The page has no section {LISTED[0]}: make all of it, without --lists.")
    return measured + "\n".join(text for kind in LISTED for text in list_lines(kind)).rstrip() + "\n"


def unit_of(heading: str, name: str, run: Run, unit: Run, rounds: int) -> str:
    """What 1.0 stands for, in the cost of the one part with which kinds are compared."""
    if name == UNIT:
        return f"{heading} 1.0: {name}."
    ratio, _ = measure({0: run, 1: unit}, 1, rounds)[0]
    return f"{heading} 1.0: {name}, which takes as long as {two_digits(ratio)} batches of {UNIT}."


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, help="file to write; without it the page is printed")
    parser.add_argument("--rounds", type=int, default=7, help="repetitions of every measurement, at least 3")
    parser.add_argument("--lists", type=Path, help="a page of before: only what is not measured is made anew in it")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(sys.stderr):  # what libraries say is no part of the page
        text = document(chosen.rounds) if chosen.lists is None else with_lists(chosen.lists.read_text("utf-8"))
    if chosen.output is None:
        sys.stdout.write(text)
    else:
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        chosen.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
