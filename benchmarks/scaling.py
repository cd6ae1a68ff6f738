"""Cost of an extraction grows with the audio, and memory does not: the same corpus once, twice and four times as long.

    python benchmarks/scaling.py --json scaling.json
    python benchmarks/scaling.py --tiny                  # every part, in seconds; no figure of worth

Recordings of noise, 2 to 6 s each, through a small WavLM of random weights as by ``ser-extract`` (frames of all layers,
written to the store), each size in a fresh process with an empty store. (Training reads a store into memory where it
fits, and else from mapped files.) Printed: wall seconds for each second of audio
and the process's peak resident memory (getrusage), before the extraction and after it, and how both differ from those
of the smallest corpus.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from _measuring import TINY, machine, random_wavlm, spell, write_result

SIZES = (1, 2, 4)
#: Frames of all layers of this model take 0.4 MB for each second of audio: a corpus kept in memory shows.
WAVLM = TINY | {"hidden_size": 512, "num_hidden_layers": 3, "intermediate_size": 256, "conv_dim": (32,) * 7}


def write_corpus(root: Path, minutes: float) -> float:
    """Recordings of noise and their table; returns the seconds of audio."""
    rng = np.random.default_rng(0)
    lines, total = ["id,path,speaker,label"], 0.0
    while total < 60 * minutes:
        name, seconds = f"u{len(lines):05d}", float(rng.uniform(2, 6))
        soundfile.write(root / f"{name}.wav", 0.1 * rng.standard_normal(int(16000 * seconds)), 16000, subtype="PCM_16")
        lines.append(f"{name},{name}.wav,s{len(lines) % 4},{'ab'[len(lines) % 2]}")
        total += seconds
    (root / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return total


def extract(folder: Path, corpus: Path) -> None:
    """The child process: extract one corpus, print one line of JSON."""
    from ser_toolkit.corpora.table import TableCorpus
    from ser_toolkit.data.prepare import manifest_of
    from ser_toolkit.features.extract import fill
    from ser_toolkit.features.plan import store_specs
    from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream

    manifest = manifest_of(TableCorpus("table.csv"), corpus)
    upstream = HuggingFaceUpstream(str(folder / "wavlm"))
    before = peak_megabytes()
    started = time.perf_counter()
    (spec,) = store_specs(upstream, manifest, root=corpus / "store")
    fill(spec)
    seconds = time.perf_counter() - started
    stored = sum(file.stat().st_size for file in (corpus / "store").rglob("*") if file.is_file())
    result = {"seconds": seconds, "peak_mb": peak_megabytes(), "peak_before_mb": before, "store_mb": stored / 2**20}
    print(json.dumps(result | {"utterances": len(spec.store)}))


def peak_megabytes() -> float:
    """Peak resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def run_child(folder: Path, corpus: Path) -> dict[str, Any]:
    """Extract in a fresh process."""
    command = [sys.executable, __file__, "--child", str(folder), str(corpus)]
    done = subprocess.run(command, env=dict(os.environ) | {"SER_CACHE": str(corpus)}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the extraction failed:\n{done.stderr[-4000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Print a line for each size; returns how far cost and memory are from those of the smallest."""
    for row in rows:
        print(
            f"{row['times']}x: {row['utterances']} utterances, {row['audio_seconds'] / 60:.1f} min: "
            f"{spell(row['seconds'])}, {1000 * row['seconds'] / row['audio_seconds']:.2f} ms for a second of audio; "
            f"peak memory {row['peak_mb']:.0f} MB ({row['peak_before_mb']:.0f} before), store {row['store_mb']:.0f} MB"
        )
    first, last = rows[0], rows[-1]
    cost = [row["seconds"] / row["audio_seconds"] for row in rows]
    grown = last["peak_mb"] - first["peak_mb"]
    print(f"a second of audio costs {cost[-1] / cost[0]:.2f} times as much in the largest corpus as in the smallest")
    print(f"peak memory is {grown:+.0f} MB, the store {last['store_mb'] - first['store_mb']:+.0f} MB")
    return {"cost_ratio": cost[-1] / cost[0], "peak_growth_mb": grown}


def main() -> None:
    parser = argparse.ArgumentParser(description="extraction of 1x, 2x, 4x a corpus")
    parser.add_argument("--minutes", type=float, default=5.0, help="audio in the smallest corpus")
    parser.add_argument("--rounds", type=int, default=1, help="repeat, and keep the quickest of each size")
    parser.add_argument("--tiny", action="store_true", help="try the script with seconds of audio")
    parser.add_argument("--json", help="where the figures go")
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child is not None:
        extract(*chosen.child)
        return
    minutes = 0.2 if chosen.tiny else chosen.minutes
    best: dict[int, dict[str, Any]] = {}
    for _ in range(chosen.rounds):
        for times in SIZES:
            with tempfile.TemporaryDirectory() as place:
                folder, corpus = Path(place), Path(place) / "corpus"
                corpus.mkdir()
                random_wavlm(folder / "wavlm", WAVLM)
                seconds = write_corpus(corpus, times * minutes)
                row = {"times": times, "audio_seconds": seconds} | run_child(folder, corpus)
            if times not in best or row["seconds"] < best[times]["seconds"]:
                best[times] = row
    rows = [best[times] for times in SIZES]
    write_result(chosen.json, {"machine": machine(), "rows": rows} | report(rows))


if __name__ == "__main__":
    main()
