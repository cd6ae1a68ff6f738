"""A manifest of 100,000 rated utterances: listed, checked, hashed, written, read, labelled, split, audited, scored.

    python benchmarks/manifests.py --json manifests.json
    python benchmarks/manifests.py --tiny                # every part, in seconds; no figure of worth

Utterances of 0.1 s lie in 2,000 recordings of noise; each has votes and single ratings of 5 to 9 people, and they
belong to 100 speakers in 20 sessions. The same is done with a quarter of the rows: four times the time is linear
cost. *Processor seconds* are printed, not wall seconds, so that other processes of the machine move them little. Peak
memory is that of a fresh process (getrusage): one lists and writes, one reads a written manifest and does all the rest.

Naive ways are timed in the same process: ratings copied by ``dataclasses.asdict`` and written by ``json.dumps`` one by
one, votes counted through ``manifest.votes(row)``, the audit by sets of ids, speakers and audio.

The audio index (header and hash of every file) is bound by the disk and measured apart, in wall seconds: for the first
time, again, and after an interruption at half of the files.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from _manifest_rows import CLASSES, SESSIONS, Rated, write_audio
from _measuring import machine, spell, write_result

from ser_toolkit.corpora.base import Utterance
from ser_toolkit.system.progress import Progress

TINY_ROWS = 2000
#: So many times the rows are so many times the cost where it is linear.
_LINEAR = 4


class Stages:
    """Processor seconds of named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, run: Callable[[], Any]) -> Any:
        """What ``run`` returns; its time goes to ``seconds``."""
        started = time.process_time()
        done = run()
        self.seconds[name] = time.process_time() - started
        return done


def list_and_write(rows: int, root: Path, stages: Stages) -> None:
    """From a corpus to a written manifest."""
    from ser_toolkit.data.prepare import manifest_of, table_from_rows

    corpus = Rated(rows)
    made = stages("make the rows (the benchmark's own)", lambda: corpus.read(root))
    corpus.read = lambda root: made  # type: ignore[method-assign]
    manifest = stages("list, check and index audio", lambda: manifest_of(corpus, root))
    stages("validate", manifest.validate)
    stages("content hash", lambda: manifest.content_hash)
    stages("write", lambda: manifest.write(root / "manifest.parquet"))
    stages("rows to a table", lambda: table_from_rows(made.rows))
    stages("rows to a table, ratings naively", lambda: [_naive_text(row) for row in made.rows])


def _naive_text(row: Utterance) -> str:
    return json.dumps([asdict(rating) for rating in row.ratings], sort_keys=True)


def read_and_use(root: Path, stages: Stages) -> None:
    """What is done with a written manifest."""
    from ser_toolkit.data.label_rules.mapped import Mapped
    from ser_toolkit.data.label_rules.per_rater import PerRater
    from ser_toolkit.data.label_rules.recounted import Recounted
    from ser_toolkit.data.labels import AllInclusive, Intended, Majority, Plurality, Soft
    from ser_toolkit.data.manifest import Manifest
    from ser_toolkit.evaluation.agreement.human import human_agreement
    from ser_toolkit.protocols.audit import audit_sentences
    from ser_toolkit.protocols.splits import (
        GroupedKFold,
        LeaveOneSessionOut,
        LeaveOneSpeakerOut,
        OfficialFolds,
        RandomKFold,
    )

    manifest = stages("read", lambda: Manifest.read(root / "manifest.parquet"))
    table = manifest.table
    rules = (Intended(), Plurality(), Majority(), AllInclusive(), Soft(), Mapped(), Recounted(), PerRater())
    for rule in (*rules, PerRater(rater="w0001")):
        which = " of one named" if getattr(rule, "rater", None) else ""
        stages(f"label rule {type(rule).__name__}{which}", lambda rule=rule: rule.targets(manifest))
    stages("votes counted naively", lambda: [manifest.votes(row) for row in range(len(manifest))])
    for protocol in (GroupedKFold(), LeaveOneSpeakerOut(), LeaveOneSessionOut(), OfficialFolds(), RandomKFold()):
        name = type(protocol).__name__
        folds = stages(f"split {name}", lambda protocol=protocol: protocol.folds(table))
        stages(f"audit {name} ({len(folds)} folds)", lambda folds=folds: audit_sentences(table, folds))
        if name == "LeaveOneSessionOut":
            stages("audit LeaveOneSessionOut naively", lambda folds=folds: _naive_audit(table, folds))
    stages("human agreement", lambda: human_agreement(table, manifest.classes))
    _predictions(table, root / "predictions.parquet", stages)


def _naive_audit(table: Any, folds: Any) -> list[int]:
    """Shared speakers, dialogues, prompts and audio by sets, each utterance looked up by its id."""
    rows = table.set_index("id")
    shared = []
    for fold in folds:
        for column in ("speaker", "dialogue", "sentence", "audio_hash"):
            known = rows[column].to_dict()
            train = {known[one] for one in (*fold.train, *fold.dev)}
            shared.append(len(train & {known[one] for one in fold.test}))
    return shared


def _predictions(table: Any, path: Path, stages: Stages) -> None:
    import pandas as pd

    from ser_toolkit.evaluation.predictions import probability_columns, read_predictions, write_predictions
    from ser_toolkit.evaluation.rows import Scored, breakdown

    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(len(CLASSES)), size=len(table))
    made = table[["id", "speaker", "session", "label", "votes", "fold"]].assign(
        predicted=np.array(CLASSES)[shares.argmax(axis=1)], seed=0
    )
    made = pd.concat([made, pd.DataFrame(shares, columns=probability_columns(CLASSES))], axis=1)
    stages("predictions, written", lambda: write_predictions(path, made, CLASSES))
    read, _ = stages("predictions, read", lambda: read_predictions(path))
    scored = Scored.of(read, CLASSES, votes=True)
    stages("figures by speaker", lambda: breakdown(scored, scored.figures(), "speaker"))


def index_files(folder: Path, files: int) -> dict[str, float]:
    """Wall seconds for the header and hash of many small files: first, again, and after an interruption."""
    from ser_toolkit.data.audio.index import index_audio

    root = folder / "many"
    names = [f"{number // 1000:03d}/{number:06d}.wav" for number in range(files)]
    wave = np.random.default_rng(0).integers(-999, 999, 800, dtype=np.int16)
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        wave[:4] = number >> 16, number >> 8 & 255, number & 255, 0
        soundfile.write(root / name, wave, 8000)
    wall = {}
    for what, stop in (("first, broken off at half", files // 2), ("the other half", files), ("again", files)):
        started = time.perf_counter()
        with contextlib.suppress(KeyboardInterrupt):
            index_audio(root, names, _Interrupting(stop, files))
        wall[what] = time.perf_counter() - started
    return wall


class _Interrupting(Progress):
    """Raises a Ctrl-C when so many of the files are done, unless these are all."""

    def __init__(self, stop: int, files: int) -> None:
        self._stop, self._files = stop, files

    def update(self, done: float, total: float, figure: float | None = None) -> None:
        """Interrupt when it is time."""
        if done >= self._stop < self._files:
            raise KeyboardInterrupt


def child(what: str, rows: int, folder: Path) -> None:
    """One fresh process: prints a line of JSON."""
    stages = Stages()
    if what == "index":
        print(json.dumps(index_files(folder, rows)))
        return
    before = peak_megabytes()
    list_and_write(rows, folder / "audio", stages) if what == "list" else read_and_use(folder / "audio", stages)
    print(json.dumps({"stages": stages.seconds, "peak_before_mb": before, "peak_mb": peak_megabytes()}))


def peak_megabytes() -> float:
    """Peak resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def run_child(what: str, rows: int, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", what, str(rows), str(folder)]
    environment = dict(os.environ) | {"SER_CACHE": str(folder / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{what} of {rows} rows failed:\n{done.stderr[-4000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def measure(rows: int) -> dict[str, Any]:
    """Both processes on one size."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_audio(folder / "audio", rows)
        first, second = (run_child(what, rows, folder) for what in ("list", "use"))
        size = (folder / "audio" / "manifest.parquet").stat().st_size / 2**20
    return {"rows": rows, "list": first, "use": second, "file_mb": size}


def report(small: dict[str, Any], large: dict[str, Any]) -> dict[str, Any]:
    """Print a line for each stage with its growth; returns the ratios."""
    growth: dict[str, float] = {}
    for part in ("list", "use"):
        one, all_of = small[part], large[part]
        for name, seconds in all_of["stages"].items():
            growth[name] = seconds / max(one["stages"][name], 1e-9)
            print(f"{name:<40} {spell(seconds):>8}, {growth[name]:4.1f} times that of a quarter")
        peak, before, of_quarter = all_of["peak_mb"], all_of["peak_before_mb"], one["peak_mb"]
        print(f"peak memory: {peak:.0f} MB ({before:.0f} MB before, {of_quarter:.0f} MB of a quarter)\n")
    stages = large["list"]["stages"] | large["use"]["stages"]
    naive = {
        "rows to a table": stages["rows to a table, ratings naively"] / stages["rows to a table"],
        "Plurality": stages["votes counted naively"] / stages["label rule Plurality"],
        "audit": stages["audit LeaveOneSessionOut naively"] / stages[f"audit LeaveOneSessionOut ({SESSIONS} folds)"],
    }
    for name, ratio in naive.items():
        print(f"the naive way takes {ratio:.1f} times as long: {name}")
    print(f"the file has {large['file_mb']:.0f} MB")
    return {"growth": growth, "naive": naive, "linear": _LINEAR}


def main() -> None:
    parser = argparse.ArgumentParser(description="a manifest of 100,000 rated utterances")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=100_000, help="small files for the audio index")
    parser.add_argument("--tiny", action="store_true", help="try the script with 2,000 rows")
    parser.add_argument("--json", help="where the figures go")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child is not None:
        child(chosen.child[0], int(chosen.child[1]), Path(chosen.child[2]))
        return
    rows, files = (TINY_ROWS, TINY_ROWS) if chosen.tiny else (chosen.rows, chosen.files)
    result: dict[str, Any] = {"machine": machine()}
    small, large = measure(rows // _LINEAR), measure(rows)
    result |= {"quarter": small, "all": large} | report(small, large)
    with tempfile.TemporaryDirectory() as place:
        result["audio_index"] = {"files": files, "wall_seconds": run_child("index", files, Path(place))}
    for what, seconds in result["audio_index"]["wall_seconds"].items():
        print(f"audio index of {files} small files, {what}: {spell(seconds)} (wall)")
    write_result(chosen.json, result)


if __name__ == "__main__":
    main()
