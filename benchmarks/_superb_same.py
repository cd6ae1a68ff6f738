"""Do s3prl's model and ours give the same logits with the same weights? Prints one line of JSON.

    python benchmarks/_superb_same.py FOLDER --utterances 12

FOLDER is the one that superb_er.py writes. The featurizer, projector and linear layer of s3prl's Runner get random
weights, which are copied into the EmotionModel of the recipe; each utterance then goes through both from its waveform.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from _superb_peer import build, shims
from torch import Tensor

from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.data.audio.decode import read_audio
from ser_toolkit.data.batch import STREAM, Batch, Moments, Targets, Waves, pad_sequences


def copy_head(runner: Any, model: Any) -> None:
    """Random weights for s3prl's trainable parts, and the same for ours."""
    torch.manual_seed(1)
    expert, featurizer = runner.downstream.model, runner.featurizer.model
    with torch.no_grad():
        featurizer.weights.normal_()
        (branch,) = model.network.fusion.branches
        branch.layer_mixes[0].scores.copy_(featurizer.weights)
        for ours, theirs in (
            (branch.frames.projection, expert.projector),
            (model.head.classes, expert.model.post_net.linear),
        ):
            ours.load_state_dict(theirs.state_dict())


def theirs(runner: Any, waves: list[Tensor]) -> Tensor:
    """Logits of s3prl's own forward passes, up to the loss: (B, C)."""
    expert = runner.downstream.model
    caught: list[Tensor] = []
    handle = expert.model.register_forward_hook(lambda _module, _inputs, output: caught.append(output[0]))
    features = runner.featurizer.model(waves, runner.upstream.model(waves))
    records: dict[str, list] = {name: [] for name in ("acc", "loss", "filename", "predict", "truth")}
    expert("train", features, [0] * len(waves), ["-"] * len(waves), records)
    handle.remove()
    return caught[0]


def ours(model: Any, streams: dict[str, Any], rows: int) -> Tensor:
    """Logits of the EmotionModel: (B, C)."""
    nothing = Targets(torch.zeros(rows, dtype=torch.long), torch.empty(rows, 0), torch.empty(rows, 3))
    logits: Tensor = model(Batch(streams, nothing, ["-"] * rows)).logits
    return logits


def means(model: Any, wav: Tensor) -> Moments:
    """What the store keeps of one utterance for this head: the mean of every layer."""
    frames, lengths = model.upstream(wav[None], torch.tensor([len(wav)]))
    return Moments(lengths, frames.mean(dim=2))


def main() -> None:
    parser = argparse.ArgumentParser(description="logits of s3prl's model and of ours")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--utterances", type=int, default=12)
    chosen = parser.parse_args()
    shims()
    runner = build(chosen.folder, "fold1", 1, 0)
    recipe = load_recipe(str(chosen.folder / "superb.yaml"))
    model = recipe.model(recipe.data().classes).eval()
    copy_head(runner, model)
    for entry in runner.all_entries:
        entry.model.eval()
    data = runner.downstream.model.test_dataset
    step = max(1, len(data) // chosen.utterances)
    paths = [data.meta_data[number]["path"] for number in range(0, len(data), step)][: chosen.utterances]
    waves = [torch.from_numpy(read_audio(path, None, None, 16000)) for path in paths]
    with torch.no_grad():
        reference = torch.cat([theirs(runner, [wav]) for wav in waves])
        padded = torch.cat([theirs(runner, waves[first : first + 4]) for first in range(0, len(waves), 4)])
        together = ours(model, {STREAM: Waves(*pad_sequences(waves))}, len(waves))
        stored = torch.cat([ours(model, {STREAM: means(model, wav)}, 1) for wav in waves])

    def difference(found: Tensor) -> float:
        return float((found - reference).norm() / reference.norm())

    result = {
        "utterances": len(waves),
        "ours_in_one_batch": difference(together),
        "ours_from_stored_means": difference(stored),
        "s3prl_in_batches_of_4": difference(padded),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
