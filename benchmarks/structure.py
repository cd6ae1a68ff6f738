"""Structure of the package in figures: files at its root, rooms, import circles, arrows between rooms, longest files.

    python benchmarks/structure.py [CHECKOUT] [--json FILE]

An arrow is one room that imports another; a room is a folder below ``ser_toolkit``, or a file that lies at its root.
Imports inside functions and for types count like others. Only text is read: the checkout is not imported.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent


def modules(checkout: Path) -> dict[str, Path]:
    """Files of the package by their dotted names."""
    package = checkout / "ser_toolkit"
    names = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(checkout).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return names


def imports(checkout: Path) -> dict[str, set[str]]:
    """Files that each file imports, wherever in it; a package stands for its ``__init__``."""
    known = modules(checkout)
    seen: dict[str, set[str]] = {}
    for name, file in known.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {full if full in known else node.module for full in inside}
        seen[name] = {other for other in found if other in known and other != name}
    return seen


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of files that import each other, directly or through others (Tarjan 1972), largest first."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = []
            while not group or group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    sys.setrecursionlimit(10_000)
    for name in graph:
        if name not in index:
            visit(name)
    return sorted(found, key=len, reverse=True)


def room(name: str, known: dict[str, Path]) -> str:
    """The folder that a file lies in; a file at the root is a room of its own."""
    if known[name].name == "__init__.py":
        return name
    above = name.rpartition(".")[0]
    return name if above == "ser_toolkit" else above


def measure(checkout: Path) -> dict[str, Any]:
    """Every figure of one checkout."""
    known, graph = modules(checkout), imports(checkout)
    arrows = {(room(one, known), room(other, known)) for one, others in graph.items() for other in others}
    arrows = {(one, other) for one, other in arrows if one != other and "ser_toolkit" not in (one, other)}
    lines = {name: file.read_text(encoding="utf-8").count("\n") for name, file in known.items()}
    rooms: dict[str, int] = defaultdict(int)
    for name in known:
        rooms[room(name, known)] += 1
    found = circles(graph)
    return {
        "files": len(known),
        "lines": sum(lines.values()),
        "files at the root": sum(file.parent == checkout / "ser_toolkit" for file in known.values()),
        "rooms": len(rooms),
        "arrows between rooms": len(arrows),
        "import circles": len(found),
        "files in circles": sum(map(len, found)),
        "circles": found,
        "longest files": dict(sorted(lines.items(), key=lambda item: -item[1])[:10]),
    }


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, nargs="?", default=HERE)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.checkout.resolve())
    text = json.dumps(figures, indent=1)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
