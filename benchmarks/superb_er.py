"""The SUPERB ER protocol end to end: s3prl, a plain loop over stored frames, and ser-train, on the same weights.

    python benchmarks/superb_er.py /data/EmoDB --json superb_er.json       # some ten minutes
    python benchmarks/superb_er.py /data/EmoDB --tiny                      # every part, in a minute; no figure of worth

EmoDB in five folds of two test speakers, a frozen WavLM-base of random weights, weighted sum -> linear 256 -> mean ->
linear, Adam 1e-4, 32 utterances a step, 30,000 steps a fold, dev scored every 1,000. Random weights say nothing about
accuracy; what a step costs does not depend on them. Nobody waits for the whole: seconds are measured on shortened runs
of each, and extrapolated by steps; both are printed.

On shared cores medians say how busy they were: the quickest steps of s3prl and of the loop stand beside them, and so do
the ratios to those. s3prl's scoring of dev and test every 1,000 steps is left out of its time; all overhead of
ser-train is in ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from _measuring import NOTHING_TO_EXTRAPOLATE, machine, run_script, run_train, save_wavlm, spell, write_result

from ser_toolkit.corpora.emodb import EmoDB
from ser_toolkit.data.prepare import manifest_of
from ser_toolkit.protocols.splits import GroupedKFold

STEPS, FOLDS = 30_000, 5
#: Frames of WavLM for a number of samples: one each 320, the first needs 400.
HOP, RECEPTIVE = 320, 400

RECIPE = """\
# The SUPERB head on a frozen WavLM: five folds of two test speakers.
name: superb_er
data:
  corpus: EmoDB
  root: {root}
  protocol: {{class_path: GroupedKFold, init_args: {{num_folds: 5}}}}
  batch_size: 32
model:
  upstream: {{class_path: HuggingFaceUpstream, init_args: {{name: {wavlm}}}}}
  layer_mix: WeightedSum
  frames: {{class_path: LinearProjection, init_args: {{dim: 256}}}}
  pooling: MeanPooling
  head: LinearHead
  objective: CrossEntropy
  optimizer: {{class_path: torch.optim.Adam, init_args: {{lr: 1.0e-4, fused: true}}}}
selection: {{monitor: dev/accuracy}}
trainer: {{gradient_clip_val: 1.0}}
variants: [Plain]
baselines: []
"""


def prepare(root: Path, folder: Path, tiny: bool) -> dict[str, Any]:
    """Weights in both formats, a recipe, and s3prl's lists of five sessions with the recipe's test speakers."""
    place, _ = save_wavlm(folder, tiny)
    (folder / "superb.yaml").write_text(RECIPE.format(root=root, wavlm=place), encoding="utf-8")
    manifest = manifest_of(EmoDB(), root)
    rows = manifest.table.set_index("id")
    numbers = {name: number for number, name in enumerate(manifest.classes)}
    for session, fold in enumerate(GroupedKFold(FOLDS).folds(manifest.table), start=1):
        place = folder / "meta_data" / f"Session{session}"
        place.mkdir(parents=True)
        for part, ids in (("train", fold.train + fold.dev), ("test", fold.test)):
            listed = [
                {"path": str((root / rows.loc[name, "path"]).resolve()), "label": rows.loc[name, "label"]}
                for name in ids
            ]
            content = json.dumps({"labels": numbers, "meta_data": listed})
            (place / f"{part}_meta_data.json").write_text(content, encoding="utf-8")
    counts = [(round(seconds * 16000) - RECEPTIVE) // HOP + 1 for seconds in rows["duration"]]
    (folder / "frames.json").write_text(json.dumps(counts), encoding="utf-8")
    return {"utterances": len(rows), "audio_seconds": float(rows["duration"].sum())}


def toolkit(folder: Path, short: int, long: int, epoch_steps: int) -> dict[str, Any]:
    """ser-train three times: from nothing, then twice with its store in place, ``short`` and ``long`` epochs a fold."""

    def run(name: str, epochs: int) -> float:
        arguments = [
            f"recipe={folder / 'superb.yaml'}",
            f"data.steps_per_epoch={epoch_steps}",
            f"trainer.max_epochs={epochs}",
            f"output={folder / name}",
        ]
        return run_train(arguments, folder / "cache")

    cold, warm_short, warm_long = run("cold", short), run("short", short), run("long", long)
    per_step = (warm_long - warm_short) / (FOLDS * (long - short) * epoch_steps)
    rest = STEPS - short * epoch_steps
    return {
        "cold_seconds": cold,
        "warm_seconds": {short * epoch_steps: warm_short, long * epoch_steps: warm_long},
        "extraction_seconds": cold - warm_short,
        "fixed_seconds": warm_short - FOLDS * short * epoch_steps * per_step,
        "seconds_per_step": per_step,
        "whole_job_seconds": cold + FOLDS * rest * per_step,
    }


def extrapolate(found: dict[str, Any]) -> dict[str, float]:
    """What 5 x 30,000 steps take, and the ratios that the benchmark is about."""
    peer, frames, own = found["s3prl"], found["stored_frames"], found["ser_train"]
    steps = FOLDS * STEPS
    clips_scored = steps / 1000 * (peer["dev_clips"] + peer["test_clips"])
    return {
        "s3prl_seconds": steps * peer["seconds_per_step"],
        "s3prl_scoring_left_out_seconds": clips_scored / 32 * peer["seconds_per_step"],
        "stored_frames_seconds": steps * frames["seconds_per_step"],
        "ser_train_seconds": own["whole_job_seconds"],
        "whole_job_against_s3prl": steps * peer["seconds_per_step"] / own["whole_job_seconds"],
        "whole_job_against_quickest_s3prl_step": steps * min(peer["steps"]) / own["whole_job_seconds"],
        "step_against_s3prl": peer["seconds_per_step"] / own["seconds_per_step"],
        "step_against_stored_frames": frames["seconds_per_step"] / own["seconds_per_step"],
        "step_against_quickest_stored_frames": min(frames["steps"]) / own["seconds_per_step"],
    }


def peer_lines(found: dict[str, Any]) -> list[str]:
    """What the two peers measured."""
    peer, frames = found["s3prl"], found["stored_frames"]
    return [
        f"s3prl Runner: {spell(peer['seconds_per_step'])} a step (median of {len(peer['steps'])}, quickest "
        f"{spell(min(peer['steps']))})",
        f"loop over stored frames: {spell(frames['seconds_per_step'])} a step (median of {len(frames['steps'])}, "
        f"quickest {spell(min(frames['steps']))}, mix as {frames['mix']}, {frames['gigabytes']:.2f} GB in memory)",
    ]


def summary(found: dict[str, Any]) -> list[str]:
    """Measured and extrapolated figures of all three, and their ratios."""
    own, whole = found["ser_train"], found["extrapolated"]
    measured = ", ".join(f"{FOLDS} x {steps} steps {spell(wall)}" for steps, wall in own["warm_seconds"].items())
    return [
        *peer_lines(found),
        f"ser-train: {spell(own['seconds_per_step'])} a step; {measured} from the store, "
        f"{spell(own['cold_seconds'])} from nothing (extraction {spell(own['extraction_seconds'])}; start, folds and "
        f"report {spell(own['fixed_seconds'])})",
        f"extrapolated to {FOLDS} x {STEPS} steps: s3prl {spell(whole['s3prl_seconds'])} (plus, computed, "
        f"{spell(whole['s3prl_scoring_left_out_seconds'])} for scoring dev and test); stored frames "
        f"{spell(whole['stored_frames_seconds'])} without extraction; ser-train {spell(whole['ser_train_seconds'])}",
        f"whole job: {whole['whole_job_against_s3prl']:,.0f}x less than s3prl "
        f"({whole['whole_job_against_quickest_s3prl_step']:,.0f}x were all its steps as quick as its quickest)",
        f"a step: {whole['step_against_s3prl']:,.0f}x less than s3prl, "
        f"{whole['step_against_stored_frames']:,.0f}x less than the loop over stored frames "
        f"({whole['step_against_quickest_stored_frames']:,.0f}x its quickest step)",
    ]


def logits_lines(same: dict[str, Any]) -> list[str]:
    """How far ours are from s3prl's, which depend on the batch."""
    return [
        f"logits of {same['utterances']} utterances, relative difference to s3prl one at a time: ours in one batch "
        f"{same['ours_in_one_batch']:.1e}, from stored means {same['ours_from_stored_means']:.1e}, "
        f"s3prl itself in batches of 4 {same['s3prl_in_batches_of_4']:.1e}"
    ]


def measure(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything, in rounds that alternate between s3prl and the loop, ser-train behind the first."""
    found: dict[str, Any] = {"machine": machine(), "corpus": prepare(chosen.root.resolve(), folder, chosen.tiny)}
    shape = ["--layers", "4", "--dim", "32"] if chosen.tiny else []
    rounds: dict[str, list[dict[str, Any]]] = {"s3prl": [], "stored_frames": []}
    for number in range(chosen.rounds):
        rounds["s3prl"].append(run_script("_superb_peer.py", str(folder), "--steps", str(chosen.steps)))
        rounds["stored_frames"].append(
            run_script("_superb_frames.py", str(folder / "frames.json"), "--steps", str(4 * chosen.steps), *shape)
        )
        if number == 0 and not chosen.peers_only:
            found["ser_train"] = toolkit(folder, chosen.epochs[0], chosen.epochs[1], chosen.epoch_steps)
    for name, results in rounds.items():
        steps = [step for result in results for step in result["steps"]]
        found[name] = results[-1] | {"steps": steps, "seconds_per_step": statistics.median(steps)}
    found["same_logits"] = run_script("_superb_same.py", str(folder))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="the SUPERB ER protocol: s3prl, stored frames, ser-train")
    parser.add_argument("root", type=Path, help="the EmoDB folder")
    parser.add_argument("--steps", type=int, default=5, help="optimiser steps of s3prl in a round")
    parser.add_argument("--rounds", type=int, default=2, help="rounds over s3prl and the loop")
    parser.add_argument("--epochs", type=int, nargs=2, default=[1, 4], help="a short and a longer run of ser-train")
    parser.add_argument("--epoch-steps", type=int, default=1000, help="steps between two scorings of dev")
    parser.add_argument("--peers-only", action="store_true", help="leave ser-train out")
    parser.add_argument("--tiny", action="store_true", help="try the script with a tiny WavLM and few steps")
    parser.add_argument("--json", help="where the figures go")
    chosen = parser.parse_args()
    if chosen.tiny:
        chosen.steps, chosen.rounds, chosen.epochs, chosen.epoch_steps = 2, 1, [1, 2], 20
    with tempfile.TemporaryDirectory() as place:
        found = measure(chosen, Path(place))
    if chosen.peers_only:
        lines = peer_lines(found)
    elif found["ser_train"]["seconds_per_step"] <= 0:
        lines = [*peer_lines(found), f"ser-train: {NOTHING_TO_EXTRAPOLATE}"]
    else:
        found["extrapolated"] = extrapolate(found)
        lines = summary(found)
    print(*lines, *logits_lines(found["same_logits"]), sep="\n")
    print("s3prl needed:", *found["s3prl"]["shims"], sep="\n  ")
    write_result(chosen.json, found)


if __name__ == "__main__":
    main()
