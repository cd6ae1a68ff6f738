"""Whisper's encoder on recordings of about 3 s: windows of their own length against the published 30 s.

    python benchmarks/whisper_window.py --corpus /data/EmoDB --threads 1 --json FILE
    python benchmarks/whisper_window.py --tiny --rounds 1          # every part; no figure of worth

Variants run in turns over the same recordings with the same weights: the toolkit's published window, its own-length
window in one batch and one recording at a time, and what it would save if the spectrogram of 30 s were still made and
then cut. With ``--corpus`` the recordings nearest to 3 s are taken, without it noise of 3 s. Weights: ``--name`` (a
folder, or a name below SER_WEIGHTS); without it random ones of Whisper tiny's size, which take as long.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _measuring import machine, write_result
from _rounds import Job, in_turns, table
from torch import Tensor

import ser_toolkit  # noqa: F401  (repairs torchaudio where transformers would stumble on it)

SECONDS, RATE = 3.0, 16000
#: The encoder of Whisper tiny, and one of a few thousand parameters with a window of 5 s.
SIZE = {
    "d_model": 384,
    "encoder_layers": 4,
    "encoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "decoder_layers": 1,
    "decoder_attention_heads": 6,
    "vocab_size": 50,
}
TINY = SIZE | {
    "d_model": 32,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_attention_heads": 4,
    "max_source_positions": 250,
}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}


def random_whisper(folder: Path, tiny: bool) -> str:
    """A Whisper of random weights, saved with its feature extractor."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    torch.manual_seed(0)
    WhisperModel(WhisperConfig(**(TINY if tiny else SIZE), **TOKENS)).save_pretrained(folder)
    WhisperFeatureExtractor(chunk_length=5 if tiny else 30).save_pretrained(folder)
    return str(folder)


def clips(corpus: str | None, number: int) -> list[Tensor]:
    """The recordings of a corpus whose length is nearest to 3 s, or noise of 3 s."""
    if corpus is None:
        return list(0.1 * torch.randn(number, round(SECONDS * RATE), generator=torch.Generator().manual_seed(0)))
    import soundfile

    from ser_toolkit.data.audio.decode import read_audio

    files = sorted(Path(corpus).rglob("*.wav"), key=lambda file: (abs(soundfile.info(file).duration - SECONDS), file))
    return [torch.from_numpy(np.asarray(read_audio(file, sampling_rate=RATE))) for file in files[:number]]


def cut_spectrogram(upstream: Any, wav: Tensor) -> Tensor:
    """Layers on the recording's own length behind a spectrogram of 30 s: (N,) -> (L, T, D)."""
    family = upstream._family
    window = family.longest
    mel = family.extractor(wav.numpy(), sampling_rate=RATE, return_tensors="pt", max_length=window)["input_features"]
    model, seen = family.model, int(family.seen(torch.tensor([len(wav)])))
    hidden = torch.nn.functional.gelu(model.conv1(mel[:, :, : 2 * seen]))
    hidden = torch.nn.functional.gelu(model.conv2(hidden)).transpose(1, 2)
    states = [hidden + model.embed_positions.weight[:seen]]
    for layer in model.layers:
        out = layer(states[-1], attention_mask=None)
        states.append(out[0] if isinstance(out, tuple) else out)
    return torch.cat([*states[:-1], family.finish(states[-1])])


def variants(name: str, waves: Sequence[Tensor]) -> dict[str, Job]:
    """What is timed; each gives the frames of all recordings."""
    from ser_toolkit.data.batch import pad_sequences
    from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream

    published, own = HuggingFaceUpstream(name), HuggingFaceUpstream(name, window="own")
    batch, lengths = pad_sequences(list(waves))

    def rows(upstream: HuggingFaceUpstream) -> list[Tensor]:
        frames, counts = upstream(batch, lengths)
        return [row[:, :count] for row, count in zip(frames, counts.tolist(), strict=True)]

    def alone(upstream: HuggingFaceUpstream) -> list[Tensor]:
        return [upstream(wav[None], torch.tensor([len(wav)]))[0][0] for wav in waves]

    return {
        "published window, one batch": lambda: rows(published),
        "published window, one at a time": lambda: alone(published),
        "own window, spectrogram of 30 s, cut": lambda: [cut_spectrogram(own, wav) for wav in waves],
        "own window, one at a time": lambda: alone(own),
        "own window, one batch": lambda: rows(own),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", help="folder of WAV files; noise without it")
    parser.add_argument("--clips", type=int, default=16, help="recordings in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch, for all variants")
    parser.add_argument("--name", help="weights: a folder or a name below SER_WEIGHTS; random ones without it")
    parser.add_argument("--tiny", action="store_true", help="a few thousand parameters, two recordings")
    parser.add_argument("--json", help="keep what was printed")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        waves = clips(options.corpus, 2 if options.tiny else options.clips)
        seconds = sum(map(len, waves)) / RATE
        jobs = variants(options.name or random_whisper(Path(folder), options.tiny), waves)
        times, results = in_turns(jobs, options.rounds)
    base, *_ = times
    figures: dict[str, dict[str, float]] = {name: found.figures(times[base], seconds) for name, found in times.items()}
    exact = torch.cat(results["own window, one at a time"], dim=1)
    found = torch.cat(results["own window, one batch"], dim=1)
    figures["own window, one batch"]["error"] = float((found - exact).norm() / exact.norm())
    print(f"{len(waves)} recordings, {seconds:.1f} s in all, {options.threads} thread(s); ratios to {base}")
    table(figures, "ms/s of audio")
    settings = {"clips": len(waves), "seconds": seconds, "rounds": options.rounds, "weights": options.name or "random"}
    write_result(options.json, {"machine": machine(), **settings, "rows": figures})


if __name__ == "__main__":
    main()
