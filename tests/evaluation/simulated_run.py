"""Makes run directories as training leaves them, from a simulated test set of ten speakers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from ser_toolkit.evaluation.predictions import probability_columns, write_predictions

CLASSES = ("anger", "boredom", "disgust", "happiness", "neutral")
SPEAKERS = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")

RECORD = {
    "recipe": "emodb_example",
    "hash": "3f9a2c71",
    "created": "2026-11-21T10:00:00+00:00",
    "toolkit_version": "0.1.0",
    "command": "ser-train recipe=emodb_example data.root=EmoDB seeds=2",
    "corpus": {
        "name": "Simulated speakers",
        "licence": "none",
        "citation": 'Nobody, "Numbers from a generator", 2026.',
        "label_rule": "the class that the generator drew",
        "verified": "synthetic",
        "homepage": "https://example.org/corpus",
        "notes": ["Nobody spoke here: the predictions are simulated."],
        "deviations": [],
        "allow_incomplete": False,
    },
    "manifest_hash": "b1946ac92492d2347c6235b4d2611184",
    "classes": list(CLASSES),
    "protocol": {
        "name": "LeaveOneSpeakerOut",
        "description": "every speaker is the test set once",
        "dev_source": "one other speaker of the training part",
        "declared_leak": None,
        "cluster_by": "speaker",
    },
    "audit": ["No speaker is in training and test of a fold.", "10 sentences are spoken by every speaker."],
    "selection": {"metric": "dev UA", "mode": "max"},
    "seeds": [0, 1],
    "upstream": {"name": "Simulated", "fingerprint": "sha256:0000"},
    "parameters": {"trained": 10245, "total": 94_381_952},
    "packages": {"numpy": "2.4.6", "torch": "2.13.0"},
    "precision": "32-true",
    "device": "cpu",
    "wall_seconds": 83.2,
    "variants": {
        "plain": {"explanation": "Features as the upstream gives them.", "normalises": "nothing", "scores": "all"},
        "enrolment": {
            "explanation": "Standardised per speaker by 4 utterances drawn at random, which are not scored; 2 draws.",
            "normalises": "speaker",
            "scores": "rest",
        },
    },
    "folds": list(SPEAKERS),
    "banners": [],
}


def corpus(rng: np.random.Generator) -> pd.DataFrame:
    """The truth: 300 utterances, speaker 08 without disgust."""
    rows = []
    for number, speaker in enumerate(SPEAKERS):
        for take in range(30):
            label = CLASSES[take % 5] if (speaker, take % 5) != ("08", 2) else "neutral"
            rows.append(
                (f"{speaker}a{take:02d}", speaker, ("male", "female")[number % 2], f"S{number // 2 + 1}", label)
            )
    table = pd.DataFrame(rows, columns=["id", "speaker", "sex", "session", "label"])
    arousal = {"anger": 0.85, "boredom": 0.2, "disgust": 0.5, "happiness": 0.75, "neutral": 0.4}
    table["arousal"] = (table["label"].map(arousal) + rng.normal(0, 0.08, len(table))).clip(0, 1)
    table["valence"] = ((table["label"] == "happiness") * 0.5 + 0.3 + rng.normal(0, 0.08, len(table))).clip(0, 1)
    return table


def predict(rng: np.random.Generator, truth: pd.DataFrame, skill: float, dimensions: bool = True) -> pd.DataFrame:
    """Noisy predictions; speakers differ in how hard they are."""
    hard = dict(zip(SPEAKERS, np.linspace(-0.8, 0.8, len(SPEAKERS)), strict=True))
    index = truth["label"].map(CLASSES.index).to_numpy()
    logits = rng.normal(0, 1, (len(truth), len(CLASSES)))
    logits[np.arange(len(truth)), index] += skill + truth["speaker"].map(hard).to_numpy()
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = truth.assign(predicted=[CLASSES[i] for i in share.argmax(1)])
    found[probability_columns(CLASSES)] = share
    if dimensions:
        for name in ("valence", "arousal"):
            found[f"{name}_predicted"] = 0.2 + 0.6 * truth[name] + rng.normal(0, 0.1, len(truth))
    return found


def make_run(run_dir: Path, seeds: tuple[int, ...] = (0, 1)) -> Path:
    """Two variants (plain; enrolment with two draws) and two baselines a variant."""
    rng = np.random.default_rng(7)
    truth = corpus(rng)
    enrolled = {draw: set(truth.groupby("speaker").sample(4, random_state=draw)["id"]) for draw in (0, 1)}
    for variant, gain in (("plain", 0.0), ("enrolment", 0.5)):
        draws = {0: truth} if variant == "plain" else {d: truth[~truth["id"].isin(ids)] for d, ids in enrolled.items()}
        systems = [("model", f"seed={seed}", 1.6 + gain, seed) for seed in seeds]
        systems += [("baseline=egemaps_svm", "", 0.9 + gain, 0), ("baseline=majority", "", None, 0)]
        for name, seed_folder, skill, seed in systems:
            parts = []
            for draw, rows in draws.items():
                found = predict(rng, rows, skill if skill is not None else 0, dimensions=name == "model")
                if skill is None:
                    found["predicted"] = "neutral"
                    found[probability_columns(CLASSES)] = np.eye(len(CLASSES))[-1]
                parts.append(found.assign(seed=seed, draw=draw))
            together = pd.concat(parts)
            for speaker, rows in together.groupby("speaker"):
                folder = run_dir / variant / ("" if name == "model" else name) / f"fold={speaker}" / seed_folder
                write_predictions(folder / "predictions.parquet", rows.assign(fold=speaker), CLASSES)
    (run_dir / "run.json").write_text(json.dumps({**RECORD, "seeds": list(seeds)}), encoding="utf-8")
    return run_dir
