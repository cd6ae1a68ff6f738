"""What of a run directory is loaded, and what is refused: damaged, foreign and malicious weights."""

from __future__ import annotations

import json
import pickle
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_run import CLASSES, TinyRun

from ser_toolkit.errors import CheckpointError, RecipeError, ResultError, SerError
from ser_toolkit.inference.recognizer import load_model
from ser_toolkit.model.weights import CHECKSUM, checksum


@pytest.fixture
def copied(run: TinyRun, tmp_path: Path) -> Path:
    """A copy of the run that may be damaged."""
    return Path(shutil.copytree(run.path, tmp_path / run.path.name))


def weights_of(run: Path, fold: str = "03") -> Path:
    """A unit's weights file."""
    return run / "plain" / f"fold={fold}" / "seed=0" / "checkpoints" / "model.safetensors"


def refused(run: Path, words: str, error: type[SerError] = CheckpointError, **options: object) -> None:
    """Loading fails with one line."""
    with pytest.raises(error, match=words) as found:
        load_model(run, **options)  # type: ignore[arg-type]
    assert "\n" not in str(found.value)


def test_info_says_where_it_comes_from(run: TinyRun) -> None:
    info = load_model(run.path).info
    assert (info.recipe, info.hash, info.corpus, info.licence) == ("tiny", "0123456789", "EmoDB", "research")
    assert (info.variant, info.folds, info.seeds, info.classes) == ("plain", ("03", "08"), (0,), CLASSES)
    assert info.banners == ("A warning.",)


def test_a_folder_inside_the_run_chooses(run: TinyRun) -> None:
    inside = load_model(run.path / "transductive" / "fold=08" / "seed=0").info
    assert (inside.variant, inside.folds) == ("transductive", ("08",))
    assert load_model(run.path.parent.parent, fold=2).info.folds == ("08",)
    refused(run.path / "plain" / "fold=08", "fold=03 was asked for", RecipeError, fold="03")


def test_unknown_parts_of_a_run_are_named(run: TinyRun, tmp_path: Path) -> None:
    refused(run.path, "Fold '9' is unknown", RecipeError, fold="9")
    refused(run.path, "Did you mean transductive", RecipeError, variant="transductiv")
    refused(run.path, "complete: fold=03 seed=0", ResultError, seed=7)
    refused(run.path, "Device 'tpu9'", RecipeError, device="tpu9")
    refused(tmp_path, "no run directory", ResultError)


def test_an_unfinished_fold_is_left_out(copied: Path) -> None:
    (weights_of(copied, "08").parent.parent / "metrics.json").unlink()
    assert load_model(copied).info.folds == ("03",)
    refused(copied, "no complete model of fold=08", ResultError, fold="08")


def test_a_program_keeps_its_random_state(run: TinyRun) -> None:
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(5)
    expected = random.random(), np.random.rand(), float(torch.rand(()))
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(5)
    load_model(run.path, fold=1)
    assert (random.random(), np.random.rand(), float(torch.rand(()))) == expected


class Malice:
    """Runs a command when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


def test_a_malicious_pickle_is_refused_and_not_run(copied: Path, tmp_path: Path) -> None:
    weights_of(copied).write_bytes(pickle.dumps(Malice(tmp_path / "trace")))
    refused(copied, "Cannot read weights")
    torch.save({"state_dict": Malice(tmp_path / "trace")}, weights_of(copied))
    refused(copied, "Cannot read weights")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("keep", [0, 5, 200, -10])
def test_truncated_weights_are_refused(copied: Path, keep: int) -> None:
    weights_of(copied).write_bytes(weights_of(copied).read_bytes()[:keep])
    refused(copied, "Cannot read weights")


def rewritten(path: Path, **metadata: str) -> None:
    """Write weights again with other metadata, and their checksum where the unit was tested."""
    state = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() | metadata
    metadata[CHECKSUM] = checksum(state, metadata)
    save_file(state, path, metadata)
    (path.parent.parent / "metrics.json").write_text(json.dumps({"weights": metadata[CHECKSUM]}))


def test_weights_that_were_not_tested_are_refused(copied: Path) -> None:
    (weights_of(copied).parent.parent / "metrics.json").write_text("{}")
    refused(copied, "is not what fold .* was tested with: its checksum is .*, tested was None")


def test_another_class_order_is_refused(copied: Path) -> None:
    rewritten(weights_of(copied, "08"), classes=json.dumps(CLASSES[::-1]))
    refused(copied, r"class order \['angry', 'sad'\], its run says \['sad', 'angry'\]")
    rewritten(weights_of(copied, "08"), classes="{broken")
    refused(copied, "Cannot read weights")
    rewritten(weights_of(copied, "08"), classes="3")
    refused(copied, "expected a list of names")


@pytest.mark.parametrize("fold", ["03", "08"])
def test_another_upstream_is_refused(copied: Path, fold: str) -> None:
    rewritten(weights_of(copied, fold), classes=json.dumps(CLASSES), upstream_fingerprint="another")
    refused(copied, "trained on upstream another")


def test_weights_of_another_model_are_refused(copied: Path) -> None:
    config = weights_of(copied).parent.parent / "config.yaml"
    config.write_text(config.read_text().replace("hidden_dim: 5", "hidden_dim: 6"))
    refused(copied, "another model")


@pytest.mark.parametrize("content", [b"\xed\xb0", b"a: 2001-99-99\n"])
def test_a_configuration_that_is_no_text_is_named(copied: Path, content: bytes) -> None:
    config = weights_of(copied).parent.parent / "config.yaml"
    config.write_bytes(content)
    with pytest.raises(SerError, match=r"config\.yaml (cannot be read|is not valid YAML)"):
        load_model(copied)


def test_missing_upstream_weights_are_the_upstreams_own_error(copied: Path) -> None:
    config = weights_of(copied).parent.parent / "config.yaml"
    text = config.read_text()
    spectral = text[text.index("  upstream:") : text.index("  layer_mix:")]
    byols = "  upstream: {class_path: BYOLS, init_args: {checkpoint: /nowhere/byols.pth}}\n"
    config.write_text(text.replace(spectral, byols))
    refused(copied, r"/nowhere/byols\.pth")


def test_a_damaged_record_is_named(copied: Path) -> None:
    (copied / "run.json").write_text("{")
    refused(copied, r"run\.json is damaged \(.*\)\. Copy it again", ResultError)
    (copied / "run.json").write_text("{}")
    refused(copied, "which classes", ResultError)
