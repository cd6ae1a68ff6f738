"""One recording of 3 s: what ser-predict costs beside plain transformers, same random weights, interleaved.

    python benchmarks/latency.py --json FILE            # a few minutes
    python benchmarks/latency.py --rounds 1 --tiny      # every part; no figure of worth

1. From the start of the process to its end with one prediction printed: ``ser-predict`` on a run of one fold against
   a script that loads the encoder with ``from_pretrained``, reads the file and puts a linear layer on the mean of the
   last frames. Both repair a torchaudio that does not fit torch in the same way (``system.repairs``): the plain
   script could not import the encoder otherwise where that is so. ser-predict reads all hidden states, checks the run,
   the upstream's fingerprint (a hash of all its weights) and the recording, which the script does not.
2. With the model loaded: ``Recognizer.predict`` of the file against the bare forward of the same upstream on the
   waveform in memory, and against transformers' own forward.

Weights are random: figures say nothing about accuracy. Wall seconds depend on who else uses the cores; processor
seconds, of the process with its threads, much less: both ratios are printed. ``--threads 1`` keeps torch's threads from
waiting for each other where others use the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from _measuring import TINY, machine, write_result

FAMILIES = {"wav2vec2": "Wav2Vec2", "wavlm": "WavLM"}
CLASSES = ("angry", "happy", "neutral", "sad")
SECONDS, RATE = 3, 16000
RECIPE = """
data: {{corpus: EmoDB, protocol: LeaveOneSpeakerOut, root: /nowhere}}
model: {{upstream: {{class_path: HuggingFaceUpstream, init_args: {{name: {place}}}}}}}
"""
PLAIN = """
import sys
import ser_toolkit
import soundfile, torch
from transformers import {name}Model
model = {name}Model.from_pretrained(sys.argv[1]).eval()
head = torch.nn.Linear(model.config.hidden_size, 4)
wav, rate = soundfile.read(sys.argv[2], dtype="float32")
with torch.inference_mode():
    print(head(model(torch.from_numpy(wav)[None]).last_hidden_state.mean(1)).softmax(1).tolist())
"""
PREDICT = "import sys; from ser_toolkit.cli.predict import main; sys.exit(main())"


def make(folder: Path, family: str, tiny: bool) -> tuple[Path, Path]:
    """A random encoder as a folder, and a run of one fold on it."""
    import transformers

    from ser_toolkit.config.recipe import parse
    from ser_toolkit.evaluation.run_folder import UnitFolder
    from ser_toolkit.model.weights import write_weights

    transformers.utils.logging.disable_progress_bar()
    place, run = folder / family, folder / f"run-{family}"
    name = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**(TINY if tiny else {}))
    getattr(transformers, f"{name}Model")(config).save_pretrained(place)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=False).save_pretrained(place)
    source = folder / f"{family}.yaml"
    source.write_text(RECIPE.format(place=place), encoding="utf-8")
    recipe = parse([f"recipe={source}"])
    unit = run / "plain" / "fold=03" / "seed=0"
    write_weights(UnitFolder(unit).weights, recipe.model(CLASSES))
    (unit / "config.yaml").write_text(recipe.yaml(), encoding="utf-8")
    (unit / "metrics.json").write_text("{}", encoding="utf-8")
    record = {"recipe": family, "hash": run.name, "classes": list(CLASSES), "folds": ["03"]}
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return place, run


def process(code: str, *arguments: object) -> tuple[float, float]:
    """Wall and processor seconds of a fresh process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = dict(os.environ) | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    wall = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"a process failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def start_up(place: Path, run: Path, clip: Path, family: str, rounds: int) -> dict[str, Any]:
    """Process start to the end of a process that predicts once, the two interleaved; a first pair warms the disk."""
    plain = PLAIN.format(name=FAMILIES[family])
    pairs = []
    for number in range(rounds + 1):
        sides = {"plain": (plain, place, clip), "ser_predict": (PREDICT, clip, "--model", run)}
        order = list(sides) if number % 2 else list(sides)[::-1]
        pairs.append({side: process(*sides[side]) for side in order})
    found: dict[str, Any] = {}
    for index, unit in enumerate(("wall", "processor")):
        times = {side: [pair[side][index] for pair in pairs[1:]] for side in ("plain", "ser_predict")}
        medians = {side: statistics.median(values) for side, values in times.items()}
        paired = statistics.median(b / a for a, b in zip(*times.values(), strict=True))
        found[unit] = {"seconds": times, "medians": medians, "ratio": medians["ser_predict"] / medians["plain"]}
        found[unit]["median_of_paired_ratios"] = paired
    return found


def loaded(place: Path, run: Path, clip: Path, family: str, rounds: int) -> dict[str, Any]:
    """Milliseconds of one clip with everything loaded, interleaved."""
    import transformers

    from ser_toolkit import load_model
    from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream

    recognizer = load_model(run)
    upstream = HuggingFaceUpstream(str(place))
    theirs = getattr(transformers, f"{FAMILIES[family]}Model").from_pretrained(place).eval()
    wav = torch.from_numpy(soundfile.read(clip, dtype="float32")[0])[None]
    lengths = torch.tensor([wav.shape[1]])
    variants: dict[str, Callable[[], Any]] = {
        "bare_forward": lambda: upstream(wav, lengths),
        "recognizer": lambda: recognizer.predict(clip),
        "transformers": lambda: theirs(wav, output_hidden_states=True),
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    with torch.inference_mode():
        for number in range(rounds + 2):
            for name in list(variants)[:: 1 if number % 2 else -1]:
                started = time.perf_counter()
                variants[name]()
                times[name].append(1e3 * (time.perf_counter() - started))
    times = {name: values[2:] for name, values in times.items()}
    medians = {name: statistics.median(values) for name, values in times.items()}
    paired = [b / a for a, b in zip(times["bare_forward"], times["recognizer"], strict=True)]
    return {
        "milliseconds": medians,
        "lowest": {name: min(values) for name, values in times.items()},
        "ratio_to_bare_forward": medians["recognizer"] / medians["bare_forward"],
        "median_of_paired_ratios": statistics.median(paired),
        "ratio_to_transformers": medians["recognizer"] / medians["transformers"],
        "rounds": len(paired),
    }


def report(family: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    """Print the figures of one encoder."""
    print(f"{family}: process start to its end with one prediction, plain transformers -> ser-predict")
    for unit in ("wall", "processor"):
        a, b = first[unit]["medians"].values()
        paired = first[unit]["median_of_paired_ratios"]
        print(f"  {unit:10s} {a:6.2f} s -> {b:6.2f} s   {first[unit]['ratio']:.2f}x  (median of pairs {paired:.2f}x)")
    names = ", ".join(f"{name} {value:.0f} ms" for name, value in second["milliseconds"].items())
    print(f"  loaded: {names}; recognizer / bare forward {second['ratio_to_bare_forward']:.3f}x", end="")
    print(f" (median of pairs {second['median_of_paired_ratios']:.3f}x, {second['rounds']} rounds)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both encoders and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="pairs of processes")
    parser.add_argument("--clips", type=int, default=30, help="interleaved predictions of a loaded model")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch, on both sides")
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES), help="encoders")
    parser.add_argument("--tiny", action="store_true", help="encoders of a few thousand parameters, to try the script")
    parser.add_argument("--json", help="keep what was printed")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    result: dict[str, Any] = {"machine": machine(), "rounds": options.rounds, "clip_seconds": SECONDS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.wav"
        noise = 0.1 * np.random.default_rng(0).standard_normal(SECONDS * RATE)
        soundfile.write(clip, noise.astype(np.float32), RATE)
        for family in options.families:
            place, run = make(folder, family, options.tiny)
            first = start_up(place, run, clip, family, options.rounds)
            second = loaded(place, run, clip, family, options.clips)
            report(family, first, second)
            result[family] = {"start_up": first, "loaded": second}
    result["load_at_end"] = os.getloadavg()[0]
    write_result(options.json, result)


if __name__ == "__main__":
    main()
