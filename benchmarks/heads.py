"""Heads on stored means: 5 folds x 5 seeds of the SUPERB head, 100 epochs, on a corpus of 5,531 utterances.

    python benchmarks/heads.py --json heads.json      # a few minutes: shortened runs, extrapolated
    python benchmarks/heads.py --full                 # the whole job, nothing extrapolated
    python benchmarks/heads.py --tiny                 # every part, in seconds; no figure of worth

The corpus has IEMOCAP's shape (five sessions of two speakers, four classes) and recordings of noise; its features are
random and one frame each, so that the store holds what it would hold of WavLM-base for this head: (13, 768) each.
Every run is ``ser-train`` in a fresh process, with dev scored and checkpoints kept after each epoch and a report at the
end. The share of the ceiling counts the head's own products (forward, weights, inputs) against 2048^3 float32 products.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from _measuring import NOTHING_TO_EXTRAPOLATE, machine, matmul_ceiling, run_train, spell, write_result

UTTERANCES, SESSIONS, SEEDS, EPOCHS = 5531, 5, 5, 100
LAYERS, DIM, PROJECTED, BATCH = 13, 768, 256, 32
CLASSES = ("angry", "happy", "neutral", "sad")

RECIPE = """\
# The SUPERB head on random means.
name: heads
data:
  corpus: {{class_path: TableCorpus, init_args: {{table: table.csv}}}}
  root: {root}
  protocol: LeaveOneSessionOut
  batch_size: {batch}
model:
  upstream: {{class_path: _random_means.RandomMeans, init_args: {{num_layers: {layers}, feature_dim: {dim}}}}}
  layer_mix: WeightedSum
  frames: {{class_path: LinearProjection, init_args: {{dim: {projected}}}}}
  pooling: MeanPooling
  head: LinearHead
  objective: CrossEntropy
  optimizer: {{class_path: torch.optim.Adam, init_args: {{lr: 1.0e-4}}}}
selection: {{monitor: dev/accuracy}}
trainer: {{gradient_clip_val: 1.0}}
variants: [Plain]
baselines: []
"""


def write_corpus(root: Path, utterances: int) -> None:
    """Recordings of noise, 0.05 s each, and their table."""
    rng = np.random.default_rng(0)
    with (root / "table.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "path", "speaker", "session", "label"])
        for number in range(utterances):
            session = number % SESSIONS + 1
            speaker = f"s{session}{'FM'[number // SESSIONS % 2]}"
            name = f"u{number:05d}"
            soundfile.write(root / f"{name}.wav", rng.uniform(-0.5, 0.5, 800), 16000, subtype="PCM_16")
            table.writerow([name, f"{name}.wav", speaker, session, CLASSES[int(rng.integers(len(CLASSES)))]])


def flops_per_utterance() -> int:
    """Floating point operations of one utterance in a training step, two for each multiplication and addition.

    The features have no gradient: behind the mix there is one to its weights alone, behind the linear layers also one
    to their inputs.
    """
    mix, projection, classes = LAYERS * DIM, DIM * PROJECTED, PROJECTED * len(CLASSES)
    return 2 * (2 * mix + 3 * projection + 3 * classes)


def train(folder: Path, name: str, epochs: int, fold: str = "all", seeds: int = 1) -> float:
    """Wall seconds of one ``ser-train``, from the store where it is filled."""
    arguments = [f"recipe={folder / 'heads.yaml'}", f"trainer.max_epochs={epochs}", f"fold={fold}", f"seeds={seeds}"]
    return run_train([*arguments, f"output={folder / name}"], folder / "cache")


def shortened(folder: Path, short: int, long: int) -> dict[str, float]:
    """Three runs from the store give the seconds of a start, of a unit (a fold and seed) and of an epoch."""
    one = train(folder, "one", short, fold="1")
    all_short = train(folder, "short", short)
    all_long = train(folder, "long", long)
    epoch = (all_long - all_short) / (SESSIONS * (long - short))
    unit = (all_short - one) / (SESSIONS - 1) - short * epoch
    start = one - unit - short * epoch
    return {
        "one_fold": one,
        "all_folds_short": all_short,
        "all_folds_long": all_long,
        "start_and_report": start,
        "unit": unit,
        "epoch": epoch,
        "whole_job": start + SESSIONS * SEEDS * (unit + EPOCHS * epoch),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="5 folds x 5 seeds of the SUPERB head from stored means")
    parser.add_argument("--epochs", type=int, nargs=2, default=[2, 12], help="epochs of the short and the longer run")
    parser.add_argument("--full", action="store_true", help="run the whole job too")
    parser.add_argument("--tiny", action="store_true", help="try the script with 100 utterances")
    parser.add_argument("--json", help="where the figures go")
    chosen = parser.parse_args()
    utterances = 100 if chosen.tiny else UTTERANCES
    short, long = (1, 2) if chosen.tiny else chosen.epochs
    found: dict[str, Any] = {"machine": machine(), "utterances": utterances, "epochs": [short, long]}
    found["ceiling_gflops"] = matmul_ceiling()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "audio").mkdir()
        write_corpus(folder / "audio", utterances)
        text = RECIPE.format(root=folder / "audio", batch=BATCH, layers=LAYERS, dim=DIM, projected=PROJECTED)
        (folder / "heads.yaml").write_text(text, encoding="utf-8")
        found["extraction_and_one_epoch"] = train(folder, "fill", 1, fold="1")
        found["seconds"] = shortened(folder, short, long)
        if chosen.full:
            found["whole_job_measured"] = train(folder, "full", EPOCHS, seeds=SEEDS)
    report(found)
    write_result(chosen.json, found)


def report(found: dict[str, Any]) -> None:
    """Print the figures, and the shares of the ceiling."""
    seconds = found["seconds"]
    if min(seconds["epoch"], seconds["whole_job"]) <= 0:
        print(NOTHING_TO_EXTRAPOLATE)
        return
    trained = found["utterances"] * (SESSIONS - 2) / SESSIONS  # one session is tested, one selects
    found["step_seconds"] = seconds["epoch"] * BATCH / trained
    work = SESSIONS * SEEDS * EPOCHS * trained * flops_per_utterance() / 1e9
    whole = found.get("whole_job_measured", seconds["whole_job"])
    found["share_of_ceiling"] = {
        "in_an_epoch": trained * flops_per_utterance() / 1e9 / seconds["epoch"] / found["ceiling_gflops"],
        "of_the_whole_job": work / whole / found["ceiling_gflops"],
    }
    share = found["share_of_ceiling"]
    print(f"an epoch of {trained:.0f} utterances, dev scored, checkpoints kept: {spell(seconds['epoch'])}")
    print(f"a step of {BATCH} with its share of that: {spell(found['step_seconds'])}")
    print(f"a fold and seed besides its epochs: {spell(seconds['unit'])}; start and report: ", end="")
    print(f"{spell(seconds['start_and_report'])}")
    print(f"{SESSIONS} folds x {SEEDS} seeds x {EPOCHS} epochs, extrapolated: {seconds['whole_job'] / 60:.1f} min")
    if "whole_job_measured" in found:
        print(f"the same, measured: {found['whole_job_measured'] / 60:.1f} min")
    print(
        f"float32 ceiling {found['ceiling_gflops']:.0f} GFLOP/s; share in an epoch {share['in_an_epoch']:.1%}, of the "
        f"whole job {share['of_the_whole_job']:.1%}"
    )


if __name__ == "__main__":
    main()
