"""What the toolkit's WavLM costs beside transformers' own: same weights, same recordings, variants interleaved.

Run: python benchmarks/wavlm_attention.py [rounds]. Weights are random: figures say nothing about accuracy.
"""

from __future__ import annotations

import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import torch
from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMModel

from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream

SECONDS, BATCH = 5, 8


def build() -> tuple[HuggingFaceUpstream, WavLMModel]:
    """A WavLM-base of random weights, twice."""
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        model = WavLMModel(WavLMConfig()).eval()
        model.save_pretrained(folder)
        Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=False).save_pretrained(folder)
        return HuggingFaceUpstream(folder), model


def main(rounds: int) -> None:
    ours, theirs = build()
    half = copy.deepcopy(ours)
    wav = torch.randn(BATCH, SECONDS * 16000)
    lengths = torch.full((BATCH,), wav.shape[1])

    def autocast(run: Callable[[], torch.Tensor]) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return run()

    variants: dict[str, Callable[[], torch.Tensor]] = {
        "transformers, float32": lambda: torch.stack(theirs(wav, output_hidden_states=True).hidden_states, 1),
        "ser_toolkit, float32": lambda: ours(wav, lengths)[0],
        "transformers, bf16 autocast": lambda: autocast(
            lambda: torch.stack(theirs(wav, output_hidden_states=True).hidden_states, 1)
        ),
        "ser_toolkit, bf16 autocast": lambda: autocast(lambda: half(wav, lengths)[0]),
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    results = {}
    with torch.inference_mode():
        for _ in range(rounds + 1):  # the first round warms up
            for name, run in variants.items():
                start = time.perf_counter()
                results[name] = run().float()
                times[name].append(time.perf_counter() - start)
    reference = results["transformers, float32"]
    print(f"{BATCH} x {SECONDS} s, {torch.get_num_threads()} threads, torch {torch.__version__}, {rounds} rounds")
    for name, found in results.items():
        median = statistics.median(times[name][1:])
        ratio = statistics.median(times["transformers, float32"][1:]) / median
        error = float((found - reference).norm() / reference.norm())
        print(f"{name:30s} {median:6.2f} s  {ratio:4.2f}x  relative difference {error:.1e}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
