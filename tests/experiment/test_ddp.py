"""Two processes say what one says: every utterance once, the same probabilities, the same dev metrics."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import ddp_script
import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file
from tiny_corpus import Tones, quiet_trainer

from ser_toolkit.evaluation.metrics import concordance_cc, confusion_matrix, uar
from ser_toolkit.model.weights import read_weights, write_weights

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gloo between processes is tested on Unix")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """What two processes left, and what this one finds."""
    folder = tmp_path_factory.mktemp("ddp")
    Tones.write(folder / "tones")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SER_CACHE", str(folder / "cache"))
        start = ddp_script.make_model(seed=3)
        write_weights(folder / "start.safetensors", start)
        for name, window in (("whole", None), ("windows", 0.1)):
            data = ddp_script.make_data(folder, window)
            quiet_trainer(folder).test(start, data, verbose=False)
            ddp_script.save_test(folder / f"{name}-1.npz", start)
        _run_processes(folder, 2)
        records = [json.loads((folder / f"record-{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]
        yield SimpleNamespace(folder=folder, data=ddp_script.make_data(folder, None), records=records)


def _run_processes(folder: Path, count: int) -> None:
    """Start processes as torchrun does; one that fails or hangs fails the test with what it printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = []
    for rank in range(count):
        environment = os.environ | {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "GROUP_RANK": "0",
            "TORCHELASTIC_RUN_ID": "test",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, ddp_script.__file__, str(folder), str(count)]
        with (folder / f"{rank}.log").open("w") as log:
            running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    try:
        deadline = time.monotonic() + 120
        while any(process.poll() is None for process in running) and time.monotonic() < deadline:
            if any(process.returncode for process in running):
                break  # the others would wait for it
            time.sleep(0.1)
        codes = [process.poll() for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    said = "\n".join((folder / f"{rank}.log").read_text()[-3000:] for rank in range(count))
    assert codes == [0] * count, said


@pytest.mark.parametrize("kind", ["whole", "windows"])
def test_two_processes_predict_what_one_predicts(run: SimpleNamespace, kind: str) -> None:
    one, two = (np.load(run.folder / f"{kind}-{count}.npz") for count in (1, 2))
    assert two["ids"].tolist() == one["ids"].tolist() == sorted(run.data.fold.test)
    assert two["label"].tolist() == one["label"].tolist()
    np.testing.assert_allclose(two["probabilities"], one["probabilities"], rtol=0, atol=1e-6)


def test_no_utterance_is_tested_twice(run: SimpleNamespace) -> None:
    shares = [record["tested"][0] for record in run.records]
    assert all(shares)
    assert Counter(shares[0] + shares[1]) == Counter(run.data.fold.test)
    assert len(run.data.fold.test) % 2 == 1


def test_windows_of_an_utterance_may_lie_in_different_processes(run: SimpleNamespace) -> None:
    shares = [record["tested"][1] for record in run.records]
    assert set(shares[0]) & set(shares[1])
    pieces, _ = run.data._pieces(run.data.fold.test, training=False)
    assert len(shares[0] + shares[1]) > len(pieces)


def test_training_gives_both_equally_many_steps_and_all_utterances(run: SimpleNamespace) -> None:
    steps = [record["trained"] for record in run.records]
    # 9 utterances in batches of 2 are 5 batches: each process takes 3 an epoch, one of them a second time.
    assert len(steps[0]) == len(steps[1]) == 6
    for first in (0, 3):
        seen = [name for process in steps for batch in process[first : first + 3] for name in batch]
        assert set(seen) == set(run.data.fold.train)
        assert len(seen) - len(set(seen)) in (1, 2)


def test_both_processes_end_with_the_same_weights(run: SimpleNamespace) -> None:
    first, second = (load_file(run.folder / f"trained-{rank}.safetensors") for rank in range(2))
    start = load_file(run.folder / "start.safetensors")
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value)
    assert any(not np.array_equal(start[name], value) for name, value in first.items())


def test_dev_metrics_are_those_of_the_whole_dev_part_in_both(run: SimpleNamespace) -> None:
    found = [record["dev"] for record in run.records]
    assert found[0] == found[1]
    assert len(found[0]) == 2
    model = ddp_script.make_model(seed=8)
    read_weights(run.folder / "trained-0.safetensors", model)
    (alone,) = quiet_trainer(run.folder).validate(model, run.data, verbose=False)
    assert found[0][-1] == pytest.approx(alone, abs=1e-6)


def test_training_figures_are_of_both_processes(run: SimpleNamespace) -> None:
    first, second = (record["train"] for record in run.records)
    assert first == second
    assert len(first) == 2


def test_metric_classes_put_the_sums_of_both_processes_together(run: SimpleNamespace) -> None:
    scores, label, predicted, truth = (values.numpy() for values in ddp_script.rows_of_metrics())
    known = label >= 0
    ccc = [concordance_cc(truth[:, dimension], predicted[:, dimension]) for dimension in range(3)]
    expected = [float(uar(confusion_matrix(label[known], scores[known].argmax(axis=1), 3))), np.mean(ccc)]
    for record in run.records:
        assert record["metrics"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
def test_ser_train_runs_all_folds_in_two_processes(mini: Path) -> None:
    command = [sys.executable, "-m", "ser_toolkit.cli.train", "recipe=mini.yaml", "output=runs"]
    command += ["trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu", "trainer.max_epochs=1"]
    done = subprocess.run(command, cwd=mini, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (folder,) = (mini / "runs" / "mini").iterdir()
    tables = [pd.read_parquet(path) for path in sorted(folder.glob("plain/fold=*/seed=0/predictions.parquet"))]
    tested = pd.concat(tables)["id"]
    assert len(tables) == 4 and len(tested) == 24 and tested.is_unique
    assert (folder / "report.html").is_file()
    for line in ("run directory: ", "mini on Synthetic"):
        assert done.stdout.count(line) == 1, done.stdout


FITTED = """\
import time
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.experiment.stages import fit_head

write = fit_head.write_weights
fit_head.write_weights = lambda *given: (time.sleep(1), write(*given))  # the other process is ahead
settings = ["fold=2", "baselines=[]", "model.head=LinearSVM", "model.pooling=MeanPooling", "output=runs"]
settings += ["trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp"]
Experiment(load_recipe("mini.yaml", *settings, 'selection.candidates=["model.head.C=1"]')).run()
"""


@pytest.mark.slow
def test_a_process_waits_for_the_record_of_a_head_fitted_at_once(mini: Path) -> None:
    (mini / "fitted.py").write_text(FITTED, encoding="utf-8")
    done = subprocess.run([sys.executable, "fitted.py"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


LATE = """\
import os, sys, time
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.experiment.stages import checkpoints
from ser_toolkit.experiment.stages import fit
from ser_toolkit.experiment.stages import score

def late(function, before, seconds=0.5):
    def slowed(*given, **named):
        time.sleep(seconds * before)
        found = function(*given, **named)
        time.sleep(seconds * (not before))
        return found
    return slowed

if os.environ.get("LOCAL_RANK") == "1":  # this process comes late to all that it reads of the first one's files
    checkpoints.own_state = late(checkpoints.own_state, before=True)
    fit.Fit.run = late(fit.Fit.run, before=False)
    for stage in (fit.Fit, score.ScoreDev, score.Score):
        stage.done = late(stage.done, before=True)
settings = ["baselines=[]", "output=runs", "trainer.max_epochs=2"]
settings += ["trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp"]
Experiment(load_recipe("mini.yaml", *settings, *sys.argv[1:])).run()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ["fold=2", 'selection.candidates=["model.pooling=MeanPooling", "model.pooling=MaxPooling"]'],
        ["fold=2", "selection.refit=true"],
        ["data.protocol.dev_speakers=0", "model.head=LinearSVM", "model.pooling=MeanPooling"],
    ],
    ids=["candidates", "refit", "no dev part"],
)
def test_a_process_that_comes_late_finds_what_it_reads(mini: Path, settings: list[str]) -> None:
    (mini / "late.py").write_text(LATE, encoding="utf-8")
    command = [sys.executable, "late.py", *settings]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    folders = [*(mini / "runs").glob("*/*/plain/fold=*/seed=0")]
    assert len(folders) == (4 if len(settings) == 3 else 1)
    for folder in folders:
        tested = pd.read_parquet(folder / "predictions.parquet")["id"]
        assert len(tested) == 6 and tested.is_unique
        assert not [*folder.glob("checkpoints/*.ckpt")]
