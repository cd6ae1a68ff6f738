"""Variants of one job in turns: round by round, so that whatever else the machine does meets all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

Job = Callable[[], Any]


@dataclass(frozen=True)
class Times:
    """Seconds of one job in every round.

    Args:
        wall: by the clock.
        processor: of all threads of this process; steadier than the clock where others use the cores too.
    """

    wall: list[float]
    processor: list[float]

    def figures(self, base: Times, seconds: float) -> dict[str, float]:
        """Milliseconds per second of audio, and how many times quicker than ``base`` (medians of ratios by round)."""
        return {
            "ms": 1e3 * statistics.median(self.wall) / seconds,
            "quickest_ms": 1e3 * min(self.wall) / seconds,
            "processor_ms": 1e3 * statistics.median(self.processor) / seconds,
            "ratio": statistics.median(b / own for b, own in zip(base.wall, self.wall, strict=True)),
            "quickest_ratio": min(base.wall) / min(self.wall),
            "processor_ratio": statistics.median(
                b / own for b, own in zip(base.processor, self.processor, strict=True)
            ),
        }


def in_turns(jobs: Mapping[str, Job], rounds: int) -> tuple[dict[str, Times], dict[str, Any]]:
    """Run every job once to warm up, then ``rounds`` times in turns: times, and the last results."""
    results = {name: job() for name, job in jobs.items()}
    times = {name: Times([], []) for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            wall, processor = time.perf_counter(), time.process_time()
            results[name] = job()
            times[name].processor.append(time.process_time() - processor)
            times[name].wall.append(time.perf_counter() - wall)
    return times, results


def table(figures: Mapping[str, Mapping[str, float]], unit: str) -> None:
    """Print the figures of every variant."""
    print(f"{'':38s} {unit + ' (quickest)':>24s} {'ratio':>7s} {'quickest':>9s} {'processor':>10s}  relative error")
    for name, row in figures.items():
        error = f"{row['error']:.1e}" if "error" in row else ""
        print(
            f"{name:38s} {row['ms']:12.1f} ({row['quickest_ms']:9.1f}) {row['ratio']:6.2f}x"
            f" {row['quickest_ratio']:8.2f}x {row['processor_ratio']:9.2f}x  {error}"
        )


def matmul_job(dtype: torch.dtype, repeats: int = 3) -> tuple[Job, float]:
    """The largest matrix product of a base-size layer for 45 s of audio, and its operations."""
    left, right = torch.randn(2240, 768).to(dtype), torch.randn(3072, 768).to(dtype)
    return lambda: [torch.nn.functional.linear(left, right) for _ in range(repeats)], repeats * 2.0 * 2240 * 768 * 3072


def recordings(folder: str | None, number: int) -> list[torch.Tensor]:
    """Recordings of a corpus at 16 kHz, evenly drawn from its sorted files, or noise of such lengths without one."""
    if folder is None:
        rng = np.random.default_rng(0)
        lengths = (16000 * rng.lognormal(1.0, 0.35, number)).astype(int)
        return [0.1 * torch.from_numpy(rng.standard_normal(n).astype(np.float32)) for n in lengths]
    from ser_toolkit.data.audio.decode import read_audio

    files = sorted(Path(folder).rglob("*.wav"))
    return [torch.from_numpy(np.asarray(read_audio(file))) for file in files[:: max(1, len(files) // number)][:number]]
