"""A fine-tuning step (convolutional encoder fixed; forward, backward, Adam): ser_toolkit beside plain transformers.

    python benchmarks/finetuning_step.py --threads 2 --json finetuning_step.json
    python benchmarks/finetuning_step.py --epoch 24 --corpus /data/EmoDB/wav

WavLM of random weights, mean over layers and frames, linear, cross-entropy. Jobs take turns; ratios are to transformers
in eager float32 in the same round. bf16 is what ``--trainer.precision=bf16-mixed`` does. ``--epoch`` compares one pass
over that many recordings in batches drawn at random with one in batches of similar length within the same budget.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from _measuring import machine, save_wavlm, write_result
from _rounds import Job, in_turns, recordings, table
from torch import Tensor, nn
from torch.nn import functional as F

from ser_toolkit.data.batch import pad_sequences, valid_mask
from ser_toolkit.data.sampling import BatchSampler, Piece
from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream

BATCH, SECONDS, CLASSES = 4, 5, 7
BASE = "transformers eager float32"
States = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Tuned(nn.Module):
    """An encoder with a mean over layers and valid frames, and a linear layer."""

    def __init__(self, encoder: nn.Module, states: States, size: int) -> None:
        super().__init__()
        self.encoder, self.states = encoder, states
        torch.manual_seed(0)
        self.head = nn.Linear(size, CLASSES)

    def forward(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """Cross-entropy of arbitrary classes: (B, N), (B,) -> ()."""
        frames, counts = self.states(wav, lengths)
        valid = valid_mask(counts, frames.shape[2])[:, :, None]
        pooled = (frames.mean(1) * valid).sum(1) / counts[:, None]
        return F.cross_entropy(self.head(pooled).float(), torch.arange(len(wav)) % CLASSES)


def peer(place: Path) -> Tuned:
    """Transformers as it is, its convolutional encoder fixed."""
    from transformers import WavLMModel

    model = WavLMModel.from_pretrained(place, apply_spec_augment=False, layerdrop=0.0)
    model.freeze_feature_encoder()
    model.masked_spec_embed.requires_grad_(False)

    def states(wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        found = torch.stack(model(wav, output_hidden_states=True).hidden_states, 1)
        return found, model._get_feat_extract_output_lengths(lengths)

    return Tuned(model, states, model.config.hidden_size)


def ours(place: Path) -> Tuned:
    """The toolkit's upstream as recipes fine-tune it."""
    upstream = HuggingFaceUpstream(str(place), frozen=False)
    return Tuned(upstream, upstream, upstream.feature_dim)


def step(model: Tuned, batches: Sequence[tuple[Tensor, Tensor]], half: bool) -> Job:
    """Forward, backward and Adam for each batch; the result is the first batch's loss."""
    model.train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-6)

    def run() -> float:
        losses = []
        for wav, lengths in batches:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
                loss = model(wav, lengths)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses[0]

    return run


def gradient(model: Tuned, batch: tuple[Tensor, Tensor], half: bool = False) -> Tensor:
    """All gradients of one batch as one vector, without dropout."""
    model.eval()
    with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
        loss = model(*batch)
    loss.backward()
    found = torch.cat([p.grad.flatten() for p in model.encoder.parameters() if p.grad is not None])
    model.zero_grad()
    return found


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def cut(clips: Sequence[Tensor], sampler: Sequence[list[int]]) -> list[tuple[Tensor, Tensor]]:
    """Padded batches of the clips that a sampler names."""
    return [pad_sequences([clips[i] for i in rows]) for rows in sampler]


def waste(batches: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Share of the padded samples that are padding."""
    return 1 - sum(int(lengths.sum()) for _, lengths in batches) / sum(wav.numel() for wav, _ in batches)


def epoch_batches(clips: Sequence[Tensor]) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """One pass at random in fours, and one in batches of similar length of as many padded seconds at most."""
    random = np.random.default_rng(0).permutation(len(clips))
    by_chance = cut(clips, [random[i : i + BATCH].tolist() for i in range(0, len(random), BATCH)])
    seconds = [len(clip) / 16000 for clip in clips]
    pieces = [Piece(i) for i in range(len(clips))]
    budget = max(wav.numel() for wav, _ in by_chance) / 16000
    sampler = BatchSampler(pieces, seconds, batch_size=16, max_batch_seconds=budget, shuffle=True)
    alike = cut(clips, [[piece.row for piece in batch.pieces] for batch in sampler])
    return {"random batches": by_chance, "bucketed batches": alike}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--epoch", type=int, default=0, help="recordings of the pass in batches; 0 leaves it out")
    parser.add_argument("--corpus", help="folder of recordings for --epoch; noise of such lengths without it")
    parser.add_argument(
        "--tiny", action="store_true", help="a model of a few thousand parameters: a trial of the script"
    )
    parser.add_argument("--json", metavar="PATH")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        place, _ = save_wavlm(Path(folder), options.tiny)
        theirs, own = peer(place), ours(place)
    noise = 0.1 * torch.randn(BATCH, SECONDS * 16000)
    batch = (noise, torch.full((BATCH,), noise.shape[1]))
    exact = gradient(theirs, batch)
    errors = {
        "ser_toolkit float32": error(gradient(own, batch), exact),
        "ser_toolkit bf16": error(gradient(own, batch, half=True), exact),
        "transformers eager bf16": error(gradient(theirs, batch, half=True), exact),
    }
    about = machine()
    times, _ = in_turns(
        {
            BASE: step(theirs, [batch], half=False),
            "transformers eager bf16": step(theirs, [batch], half=True),
            "ser_toolkit float32": step(own, [batch], half=False),
            "ser_toolkit bf16": step(own, [batch], half=True),
        },
        options.rounds,
    )
    rows = {name: taken.figures(times[BASE], 1.0) for name, taken in times.items()}
    for name, found in errors.items():
        rows[name]["error"] = found
    print(f"batch of {BATCH} x {SECONDS} s, {options.rounds} rounds, {about}; errors are those of the gradients")
    table(rows, "ms a step")
    result = {"machine": about, "step": rows}
    if options.epoch:
        passes = epoch_batches(recordings(options.corpus, options.epoch))
        times, _ = in_turns({name: step(own, work, half=False) for name, work in passes.items()}, options.rounds)
        compared = {name: taken.figures(times["random batches"], 1.0) for name, taken in times.items()}
        for name, work in passes.items():
            compared[name] |= {"batches": len(work), "padding": waste(work)}
            print(f"{name}: {len(work)} batches, {waste(work):.1%} padding")
        table(compared, "ms a pass")
        result["epoch"] = compared
    write_result(options.json, result)


if __name__ == "__main__":
    main()
