"""Extraction of all hidden states: ser_toolkit beside s3prl's expert and transformers, same weights, same recordings.

    python benchmarks/extraction.py --corpus /data/EmoDB/wav --threads 2 --json extraction.json

Jobs take turns; every ratio is to transformers one recording at a time, eager, float32, in the same round. "processor"
compares processor time in place of the clock. The floor is what the counted operations take at the rate of a large
matrix product in the same run. Errors are those of the layers' means over time. Weights are random.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from _measuring import TINY, machine, save_wavlm, write_result
from _rounds import Job, Times, in_turns, matmul_job, recordings, table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ser_toolkit.data.batch import pad_sequences
from ser_toolkit.errors import RecipeError
from ser_toolkit.upstreams.base import Upstream
from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream

Batch = tuple[Tensor, Tensor]
BASE = "transformers alone, eager"
FLOORS = {"floor float32": torch.float32, "floor bf16": torch.bfloat16}


def batches(clips: Sequence[Tensor], budget: float) -> list[Batch]:
    """Longest first, padded batches of at most ``budget`` seconds."""
    groups: list[list[Tensor]] = []
    for clip in clips:
        if not groups or len(groups[-1][0]) * (len(groups[-1]) + 1) > 16000 * budget:
            groups.append([])
        groups[-1].append(clip)
    return [pad_sequences(group) for group in groups]


def ours(upstream: Upstream, work: Sequence[Batch]) -> Job:
    """Layer means (L, D) of every utterance, in the order of the batches."""

    def run() -> list[Tensor]:
        found = []
        for wav, lengths in work:
            frames, counts = upstream(wav, lengths)
            found += [row[:, :count].float().mean(1) for row, count in zip(frames, counts.tolist(), strict=True)]
        return found

    return run


def theirs(model: Any, clips: Sequence[Tensor]) -> Job:
    """Transformers, one recording at a time."""
    return lambda: [torch.cat(model(x[None], output_hidden_states=True).hidden_states).mean(1) for x in clips]


def padded(model: Any, work: Sequence[Batch], count: Any) -> Job:
    """Transformers on padded batches, as its group-norm models are used: without a mask."""

    def run() -> list[Tensor]:
        found = []
        for wav, lengths in work:
            states = torch.stack(model(wav, output_hidden_states=True).hidden_states, 1)
            found += [row[:, :n].mean(1) for row, n in zip(states, count(lengths).tolist(), strict=True)]
        return found

    return run


def jobs_of(family: str, folder: Path, tiny: bool, clips: Sequence[Tensor], compiled: bool) -> dict[str, Job]:
    """Every variant by name; the first is the one that ratios refer to."""
    jobs: dict[str, Job] = {}
    if family == "wavlm":
        place, file = save_wavlm(folder, tiny)
        kinds = ["eager"]  # transformers has no other attention for WavLM
    else:
        place, file, kinds = save_wav2vec2(folder, tiny), None, ["eager", "sdpa"]
    from transformers import AutoModel

    work = batches(clips, 15)
    upstream = HuggingFaceUpstream(str(place))
    for kind in kinds:
        model = AutoModel.from_pretrained(place, attn_implementation=kind).eval()
        jobs[f"transformers alone, {kind}"] = theirs(model, clips)
        jobs[f"transformers padded, {kind}"] = padded(model, work, upstream.frame_lengths)
    if file is not None:
        jobs["s3prl wavlm_local alone"] = s3prl(file, clips)
    jobs["ser_toolkit float32"] = ours(upstream, work)
    jobs["ser_toolkit bf16"] = ours(upstream.at("bfloat16"), work)
    if compiled:
        try:
            jobs["ser_toolkit float32 compiled"] = ours(upstream.at("float32", compiled=True), work)
            jobs["ser_toolkit bf16 compiled"] = ours(upstream.at("bfloat16", compiled=True), work)
        except RecipeError as error:
            print(error)
    return jobs


def s3prl(file: Path, clips: Sequence[Tensor]) -> Job:
    """s3prl's own expert, one recording at a time: in its batches the others would be heard."""
    from ser_toolkit.upstreams._s3prl_hub import build_expert

    expert = build_expert("wavlm_local", str(file))[0].eval()
    return lambda: [torch.cat(tuple(expert([clip])["hidden_states"])).mean(1) for clip in clips]


def save_wav2vec2(folder: Path, tiny: bool) -> Path:
    """A random wav2vec 2.0, of base size or tiny."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config(**(TINY if tiny else {}))).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=False).save_pretrained(folder)
    return folder


def operations(job: Job) -> float:
    """Floating-point operations of a job's matrix products, convolutions and attention."""
    with FlopCounterMode(display=False) as counter:
        job()
    return float(counter.get_total_flops())


def figures(times: dict[str, Times], results: dict[str, Any], seconds: float, total: float) -> dict[str, Any]:
    """What is printed of every variant, floors included."""
    base, rows = times[BASE], {}
    for name, taken in times.items():
        if name in FLOORS:
            work = matmul_job(FLOORS[name])[1] / total
            taken = Times([t / work for t in taken.wall], [t / work for t in taken.processor])
        rows[name] = taken.figures(base, seconds)
        if name not in FLOORS:
            pairs = zip(results[name], results[BASE], strict=True)
            rows[name]["error"] = max(float((own - other).norm() / other.norm()) for own, other in pairs)
    for name, row in rows.items():
        floor = rows["floor bf16" if "bf16" in name else "floor float32"]
        row["share_of_floor"] = floor["processor_ms"] / row["processor_ms"]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", help="folder of 16 kHz recordings; noise of such lengths without it")
    parser.add_argument("--family", choices=["wavlm", "wav2vec2"], default="wavlm")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--budgets", type=float, nargs="*", default=[], help="padded seconds a batch, to be compared")
    parser.add_argument("--no-compile", action="store_true", help="leave out the compiled variants")
    parser.add_argument(
        "--tiny", action="store_true", help="a model of a few thousand parameters: a trial of the script"
    )
    parser.add_argument("--json", metavar="PATH")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clips = sorted(recordings(options.corpus, options.clips), key=len, reverse=True)
    seconds = sum(len(clip) for clip in clips) / 16000
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        jobs = jobs_of(options.family, Path(folder), options.tiny, clips, not options.no_compile)
        total = operations(jobs[BASE])
        if options.budgets:
            upstream = HuggingFaceUpstream(str(next(path.parent for path in Path(folder).rglob("config.json"))))
            jobs = {BASE: jobs[BASE]} | {
                f"batches of {b:g} s": ours(upstream, batches(clips, b)) for b in options.budgets
            }
        jobs |= {name: matmul_job(dtype)[0] for name, dtype in FLOORS.items()}
        about = machine()
        times, results = in_turns(jobs, options.rounds)
    rows = figures(times, results, seconds, total)
    print(f"{options.family}, {len(clips)} recordings, {seconds:.1f} s, {options.rounds} rounds, {about}")
    print(f"{total / seconds / 1e9:.2f} GFLOP per second of audio; ms per second of audio:")
    table(rows, "ms/s")
    for name, row in rows.items():
        print(f"{name:38s} {row['share_of_floor']:6.0%} of the floor's rate (processor time)")
    write_result(
        options.json, {"machine": about, "seconds": seconds, "gflop_per_s": total / seconds / 1e9, "rows": rows}
    )


if __name__ == "__main__":
    main()
