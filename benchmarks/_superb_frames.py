"""The plain loop over stored frames: the SUPERB head on (13, T, 768) frames in memory, seconds per step of 32.

    python benchmarks/_superb_frames.py FRAMES.json --steps 20

FRAMES.json lists the number of frames of each utterance. The frames are random: what a step costs depends on their
shapes alone. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

#: Weights (L,) and frames (B, L, T, D) -> (B, T, D).
Mix = Callable[[Tensor, Tensor], Tensor]


class Head(nn.Module):
    """Softmax-weighted sum of layers -> linear -> mean over valid frames -> linear."""

    def __init__(self, layers: int, dim: int, classes: int, mix: Mix) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(layers))
        self.projector, self.linear = nn.Linear(dim, 256), nn.Linear(256, classes)
        self.mix = mix

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, L, T, D), (B,) -> (B, C)."""
        projected = self.projector(self.mix(self.scores.softmax(0), frames))
        valid = torch.arange(frames.shape[2])[None, :] < lengths[:, None]
        return self.linear((projected * valid[:, :, None]).sum(1) / lengths[:, None])


def as_product(weights: Tensor, frames: Tensor) -> Tensor:
    """The quicker way to write the mix: one matrix product."""
    return (weights @ frames.flatten(2)).unflatten(1, frames.shape[2:])


def as_sum(weights: Tensor, frames: Tensor) -> Tensor:
    """The usual way to write the mix: every layer scaled, then summed."""
    return (weights[:, None, None] * frames).sum(1)


def measure(counts: list[int], layers: int, dim: int, steps: int, mix: Mix) -> list[float]:
    """Seconds of each training step."""
    torch.manual_seed(0)
    stored = [torch.randn(layers, count, dim) for count in counts]
    labels = torch.randint(7, (len(counts),))
    head = Head(layers, dim, 7, mix)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-4)
    times, order = [], torch.randperm(len(counts))
    for step in range(steps + 1):  # the first one warms up
        started = time.perf_counter()
        if len(order) < 32:
            order = torch.randperm(len(counts))
        rows, order = order[:32], order[32:]
        lengths = torch.tensor([counts[row] for row in rows])
        batch = torch.zeros(len(rows), layers, int(lengths.max()), dim)
        for place, row in zip(batch, rows.tolist(), strict=True):
            place[:, : counts[row]] = stored[row]
        loss = nn.functional.cross_entropy(head(batch, lengths), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        if step:
            times.append(time.perf_counter() - started)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="the SUPERB head on stored frames, seconds per step")
    parser.add_argument("frames", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--layers", type=int, default=13)
    parser.add_argument("--dim", type=int, default=768)
    chosen = parser.parse_args()
    counts = json.loads(chosen.frames.read_text(encoding="utf-8"))
    found = {
        name: measure(counts, chosen.layers, chosen.dim, chosen.steps, mix)
        for name, mix in (("product", as_product), ("sum", as_sum))
    }
    medians = {name: statistics.median(times) for name, times in found.items()}
    quickest = min(medians, key=lambda name: medians[name])
    size = sum(counts) * chosen.layers * chosen.dim * 4 / 1e9
    result = {"seconds_per_step": medians[quickest], "mix": quickest, "medians": medians, "gigabytes": size}
    print(json.dumps(result | {"steps": found[quickest]}))


if __name__ == "__main__":
    main()
