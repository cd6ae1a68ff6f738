"""Whether a change of the code changed a figure: trains the same runs with two checkouts and compares every number.

    python benchmarks/same_figures.py run OUT --emodb FOLDER --cremad FOLDER [--only NAME ...]
    python benchmarks/same_figures.py compare BEFORE AFTER      # OUT, or the figures.json of one

``run`` works with whichever ``ser_toolkit`` is imported (``PYTHONPATH=<checkout>``), with a cache of its own, so that
features are extracted anew too. It then reads everything that the runs left: reports, metrics of every fold,
predictions of every utterance and of ``ser-predict``; times, paths, commits and run hashes are left out. ``compare``
exits with 1 where anything differs in the last digit. Figures are equal on one machine with one thread; another
processor may round otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

#: What a run knows of the time, the place and the code; none of it is a figure.
NO_FIGURES = re.compile(
    r"seconds|time|date|started|finished|commit|version|host|path|folder|directory|run|hash|memory|bytes|platform|python"
    r"|machine|fingerprint|command|config|source|process|provenance|store|recipe|threads|cpu|duration|packages|checksum"
)
HASH = re.compile(r"(^|-)[0-9a-f]{10}$")


def commands(emodb: Path, cremad: Path) -> dict[str, list[str]]:
    """Arguments of ``ser-train`` by the name of a run, without ``output``."""
    return {
        "demo": ["recipe=demo"],
        "emodb_egemaps_svm": ["recipe=emodb_egemaps_svm", f"data.root={emodb}"],
        "emodb_timnet": ["recipe=emodb_timnet", f"data.root={emodb}", "fold=03", "--trainer.max_epochs=8"],
        "cremad_egemaps_svm": ["recipe=cremad_egemaps_svm", f"data.root={cremad}", "data.allow_incomplete=true"],
        "emodb_byols": ["recipe=emodb_byols", f"data.root={emodb}"],
        "emodb_whisper_tiny_linear": ["recipe=emodb_whisper_tiny_linear", f"data.root={emodb}"],
        "cremad_fusion": ["recipe=cremad_fusion", f"data.root={cremad}", "data.allow_incomplete=true", "fold=1"],
    }


def train(arguments: list[str], output: Path, cache: Path) -> None:
    """One ``ser-train`` in a process of its own; its screen is kept in ``screen.txt``."""
    with (output / "screen.txt").open("a") as screen:
        subprocess.run(
            _command("train", *arguments, f"output={output}"), env=_environment(cache), stdout=screen, check=True
        )


def killed(output: Path, cache: Path) -> None:
    """The demo, killed in its third fold and started again by the same command."""
    arguments = ["recipe=demo", "baselines=[]", f"output={output}"]
    first = subprocess.Popen(_command("train", *arguments), env=_environment(cache), stdout=subprocess.DEVNULL)
    while len(list(output.rglob("metrics.json"))) < 2 and first.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL, "it ended before it was killed"
    train(arguments[:-1], output, cache)


def two_processes(output: Path, cache: Path) -> None:
    """One fold of the demo by two processes (gloo), as a scheduler starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    arguments = [
        "recipe=demo",
        "fold=1",
        "baselines=[]",
        "variants=[Plain]",
        "--trainer.devices=2",
        "--trainer.strategy=ddp",
    ]
    running = []
    for rank in ("0", "1"):
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        own = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "same"}
        command = _command("train", *arguments, "--trainer.accelerator=cpu", f"output={output}")
        running.append(subprocess.Popen(command, env=_environment(cache) | shared | own, stdout=subprocess.DEVNULL))
    assert [process.wait() for process in running] == [0, 0]


def run(output: Path, emodb: Path, cremad: Path, only: list[str]) -> dict[str, Any]:
    """Train, predict and compare across corpora; returns the figures of everything."""
    cache = output / "cache"
    recordings = {"emodb": sorted((emodb / "wav").glob("*.wav"))[:12], "cremad": sorted(cremad.rglob("*.wav"))[:12]}
    jobs: dict[str, Any] = {name: _trained(arguments) for name, arguments in commands(emodb, cremad).items()}
    jobs |= {"killed": killed, "two_processes": two_processes}
    for name, job in jobs.items():
        folder = output / name
        if (only and name not in only) or (folder / "done").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        job(folder, cache)
        given = recordings.get(name.partition("_")[0], recordings["emodb"])
        _predict(run_of(folder), given, folder / "predicted.csv", cache)
        (folder / "done").touch()
    both = [output / "emodb_egemaps_svm", output / "cremad_egemaps_svm"]
    if not only and not (output / "matrix").exists():
        arguments = ["matrix", *(str(run_of(folder)) for folder in both), "--output", str(output / "matrix")]
        subprocess.run(_command("evaluate", *arguments), env=_environment(cache), stdout=subprocess.DEVNULL, check=True)
    return {
        folder.name: dict(figures(folder))
        for folder in sorted(output.iterdir())
        if folder.name != "cache" and folder.is_dir()
    }


def run_of(folder: Path) -> Path:
    """The run directory below a folder."""
    return next(folder.rglob("run.json")).parent


def figures(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Digest of every file with figures, by the file's name without hashes."""
    for file in sorted(folder.rglob("*")):
        name = "/".join(filter(None, (HASH.sub("", part) for part in file.relative_to(folder).parts)))
        if file.suffix in (".parquet", ".csv") and "manifest" not in file.name:
            table = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
            yield name, {"rows": len(table), "sha256": _digest(_rows(table))}
        elif file.name in ("report.json", "metrics.json", "matrix.json"):
            content = _numbers(json.loads(file.read_text(encoding="utf-8")))
            yield name, {"numbers": len(content), "sha256": _digest(sorted(content.items()))}


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names of what differs, or is on one side alone."""
    different = []
    for run in sorted(before.keys() | after.keys()):
        mine, other = before.get(run, {}), after.get(run, {})
        different += [
            f"{run}/{name}" for name in sorted(mine.keys() | other.keys()) if mine.get(name) != other.get(name)
        ]
    return different


def _trained(arguments: list[str]) -> Any:
    return lambda output, cache: train(arguments, output, cache)


def _predict(run: Path, recordings: list[Path], output: Path, cache: Path) -> None:
    files = [str(file) for file in recordings]
    try:
        arguments = _command("predict", *files, "--model", str(run), "--output", str(output))
        subprocess.run(
            arguments, env=_environment(cache), stdout=subprocess.DEVNULL, check=True, stderr=subprocess.DEVNULL
        )
    except subprocess.CalledProcessError:  # before 0.1.0 the run was the first argument
        arguments = _command("predict", str(run), *files, "--output", str(output))
        subprocess.run(arguments, env=_environment(cache), stdout=subprocess.DEVNULL, check=True)


def _command(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"ser_toolkit.cli.{name}", *arguments]


def _environment(cache: Path) -> dict[str, str]:
    return os.environ | {"SER_CACHE": str(cache), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def _numbers(content: Any, path: str = "") -> dict[str, float]:
    """Every number of a JSON by its path, but those that the time, the place or the code decides."""
    if isinstance(content, dict):
        kept = {key: value for key, value in content.items() if not NO_FIGURES.search(str(key).lower())}
        return {
            name: number for key, value in kept.items() for name, number in _numbers(value, f"{path}/{key}").items()
        }
    if isinstance(content, list):
        return {
            name: number for i, value in enumerate(content) for name, number in _numbers(value, f"{path}/{i}").items()
        }
    return {path: float(content)} if isinstance(content, int | float) else {}


def _rows(table: pd.DataFrame) -> list[str]:
    columns = [name for name in table.columns if name not in ("file", "path")]
    ordered = table[columns].sort_values([name for name in columns if table[name].dtype == object][:2] or columns[:1])
    numbers = ordered.select_dtypes("number")
    return [",".join(float(value).hex() if value == value else "nan" for value in row) for row in numbers.to_numpy()]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _read(place: Path) -> dict[str, Any]:
    file = place / "figures.json" if place.is_dir() else place
    if not file.is_file():
        raise SystemExit(f"There is no {file}: `run` writes it at its end. Run the same command again, which goes on.")
    return dict(json.loads(file.read_text(encoding="utf-8")))


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    running = verbs.add_parser("run")
    running.add_argument("output", type=Path)
    running.add_argument("--emodb", type=Path, required=True)
    running.add_argument("--cremad", type=Path, required=True)
    running.add_argument("--only", nargs="+", default=[])
    comparing = verbs.add_parser("compare")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    options = parser.parse_args()
    if options.verb == "run":
        found = run(options.output.resolve(), options.emodb.resolve(), options.cremad.resolve(), options.only)
        (options.output / "figures.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return 0
    before, after = _read(options.before), _read(options.after)
    different = compare(before, after)
    files = sum(len(names) for names in before.values())
    sys.stdout.write("\n".join([*different, f"{len(different)} of {files} files differ"]) + "\n")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
