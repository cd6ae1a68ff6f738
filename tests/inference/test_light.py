"""What a prediction is made of: the network alone, the same numbers, and only the imports that it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_models import save_tiny
from tiny_run import TinyRun, by_hand, make_run, voices

from ser_toolkit.config.unit_configuration import UnitConfiguration
from ser_toolkit.errors import CheckpointError, RecipeError
from ser_toolkit.inference.recognizer import load_model
from ser_toolkit.inference.stored import build_models, units_of_run
from ser_toolkit.model.network import EmotionNetwork

TRAINING = {"lightning", "torchmetrics", "sklearn", "pandas", "matplotlib", "pyarrow"}
#: What transformers imports for models that are not speech encoders.
SLOW = {"torch._dynamo", "torch.distributed.tensor", "torch.distributed.fsdp", "scipy.optimize"}
DATA = "data: {corpus: EmoDB, protocol: LeaveOneSpeakerOut, root: /nowhere/EmoDB}\n"
FUSED = """
model:
  upstream:
    class_path: FusedUpstreams
    init_args:
      upstreams:
      - {class_path: Spectral, init_args: {num_mels: 6, num_mfcc: 4}}
      - {class_path: Spectral, init_args: {num_mels: 5, num_mfcc: 3}}
  pooling: AttentiveStatisticsPooling
"""
#: Two predictions in one process, then a look at what the second had left out: each module is itself, and works.
SCRIPT = """
import json, sys
from ser_toolkit import load_model
from ser_toolkit.cli.predict import main

codes, modules = [], []
clip = sys.argv[3]
for run in sys.argv[1:3]:
    sys.argv[1:] = [clip, "--model", run]
    codes.append(main())
    modules.append(sorted(sys.modules))
from transformers.loss.loss_for_object_detection import linear_sum_assignment
import scipy.optimize, torch, transformers.utils

strange = [name for name, module in sys.modules.items() if type(module).__name__ == "_Later"]
healthy = [
    callable(scipy.optimize.minimize),
    [list(map(int, side)) for side in linear_sum_assignment([[2, 1], [1, 2]])] == [[0, 1], [1, 0]],
    torch.compiler.disable.__module__ == "torch.compiler",
    transformers.utils.is_torch_distributed_available() == torch.distributed.is_available(),
]
json.dump([codes, *modules, strange, healthy], open("found.json", "w"))
"""


def test_ser_predict_imports_only_what_it_needs(run: TinyRun, recordings: list[Path], tmp_path: Path) -> None:
    place = save_tiny("wavlm", tmp_path / "hub")
    recipe = f"{DATA}model:\n  upstream: {{class_path: HuggingFaceUpstream, init_args: {{name: {place}}}}}\n"
    hub = make_run(tmp_path, recipe=recipe)
    command = [sys.executable, "-c", SCRIPT, str(run.path), str(hub.path), str(recordings[0])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    codes, first, both, strange, healthy = json.loads((tmp_path / "found.json").read_text())
    assert codes == [0, 0]
    assert not {name.split(".")[0] for name in first} & (TRAINING | {"transformers", "scipy"})
    assert not {name.split(".")[0] for name in both} & TRAINING
    assert "transformers.models.wavlm.modeling_wavlm" in both
    assert not set(both) & SLOW
    assert strange == []
    assert healthy == [True] * 4
    # this process imported all of transformers
    mean = np.mean([by_hand(model, voices(1)[0])[0] for model in hub.models.values()], axis=0)
    assert [float(cell) for cell in done.stdout.split()[-2:]] == pytest.approx(mean.tolist(), abs=6e-4)


def test_the_network_alone_says_what_the_trained_model_says(tmp_path: Path) -> None:
    fused = make_run(tmp_path, recipe=DATA + FUSED)
    wav = voices(1)[0]
    for fold in ("03", "08"):
        found = load_model(fused.path, fold=fold).predict(wav, 16000).probabilities
        assert found is not None
        assert list(found.values()) == pytest.approx(by_hand(fused.models["plain", fold], wav)[0].tolist(), abs=1e-6)
    for model in build_models(units_of_run(fused.path)).models:
        assert type(model) is EmotionNetwork


def test_random_weights_of_an_upstream_are_those_of_the_seed(tmp_path: Path) -> None:
    place = save_tiny("wav2vec2", tmp_path / "hub")
    arguments = f"{{name: {place}, random_init: true}}"
    recipe = f"{DATA}model:\n  upstream: {{class_path: HuggingFaceUpstream, init_args: {arguments}}}\n"
    run = make_run(tmp_path, recipe=recipe)  # its first model is drawn with seed 0, as its folder says
    wav = voices(1)[0]
    found = load_model(run.path, fold="03").predict(wav, 16000).probabilities
    assert found is not None
    assert list(found.values()) == pytest.approx(by_hand(run.models["plain", "03"], wav)[0].tolist(), abs=1e-6)


@pytest.fixture
def config(run: TinyRun, tmp_path: Path) -> Path:
    """A unit's configuration that may be changed."""
    path = tmp_path / "config.yaml"
    path.write_text((run.path / "plain" / "fold=03" / "seed=0" / "config.yaml").read_text(encoding="utf-8"))
    return path


def changed(path: Path, key: str, value: object) -> Path:
    """Set one dotted key."""
    content = yaml.safe_load(path.read_text())
    *groups, last = key.split(".")
    part = content
    for group in groups:
        part = part[group]
    part[last] = value
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model.pooling.class_path", "ser_toolkit.downstream.pooling.MeanPoolin", "MeanPoolin"),
        ("model.head.init_args.hidden_dim", "many", "hidden_dim"),
        ("model.head.init_args.hidden_dims", 3, "hidden_dims"),
        ("model.normalisation", "gobal", "gobal"),
        ("model.poolin", "MeanPooling", "poolin"),
        ("data.eval_window_seconds", "long", "eval_window_seconds"),
        ("model.objective.class_path", "nowhere.Loss", "nowhere"),
    ],
)
def test_a_wrong_configuration_is_one_line(config: Path, key: str, value: object, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as found:
        UnitConfiguration(changed(config, key, value))
    assert "\n" not in str(found.value)
    assert str(config) in str(found.value)


def test_parts_that_do_not_go_together_are_named(config: Path) -> None:
    usual = {"class_path": "ser_toolkit.downstream.heads.LinearHead"}
    with pytest.raises(RecipeError, match="needs dimensions, but head LinearHead gives logits"):
        UnitConfiguration(changed(config, "model.head", usual)).network(("sad", "angry"), 0)


def test_what_only_training_reads_is_left_alone(config: Path) -> None:
    changed(config, "model.optimizer.class_path", "nowhere.Optimizer")
    changed(config, "trainer", {"unknown": 1})
    network, requires = UnitConfiguration(config).network(("sad", "angry"), 0)
    assert network.classes == ("sad", "angry")
    assert set(requires) == {"logits", "dimensions"}


def test_how_audio_is_taken_is_read(config: Path) -> None:
    assert (UnitConfiguration(config).allow_silent, UnitConfiguration(config).window_seconds) == (False, None)
    changed(config, "data.allow_silent", True)
    found = UnitConfiguration(changed(config, "data.eval_window_seconds", 0.5))
    assert (found.allow_silent, found.window_seconds) == (True, 0.5)


def test_the_level_of_a_variant_is_read(config: Path) -> None:
    assert UnitConfiguration(config).speaker_level("transductive") == "frames"
    with pytest.raises(CheckpointError, match="does not list the variant neutral"):
        UnitConfiguration(config).speaker_level("neutral")
