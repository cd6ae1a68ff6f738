"""``ser-extract``: stores are filled once by any number of processes, shown, checked and cleaned."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import ser_toolkit.experiment.stores
from ser_toolkit.cli._stores import age
from ser_toolkit.cli.extract import USAGE, main
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.experiment.stores import all_stores, fill_stores
from ser_toolkit.features.inventory import stores

REPOSITORY = Path(__file__).resolve().parent.parent.parent
#: Batches of about three utterances, so that there is something to share out.
ARGUMENTS = ["recipe=mini.yaml", "model.upstream=part_that_acts.Acting", "features.batch_seconds=4"]
UTTERANCES = 24
PART = """\
import os, signal, time
from pathlib import Path

from ser_toolkit.upstreams.spectral import Spectral


class Acting(Spectral):
    '''Few bands; notes every batch, and does what the environment says.'''

    batches = 0

    def __init__(self, frozen: bool = True) -> None:
        super().__init__(num_mels=8, num_mfcc=8)
        self.frozen = frozen

    def extract(self, wav, lengths):
        Acting.batches += 1
        with open(os.environ["ACT_LOG"], "a") as log:
            log.write(f"{os.getpid()} {len(lengths)}\\n")
        meeting = os.environ.get("ACT_MEET")
        if meeting:
            Path(meeting, str(os.getpid())).touch()
            until = time.monotonic() + 60
            while len(os.listdir(meeting)) < 2 and time.monotonic() < until:
                time.sleep(0.01)
        if os.environ.get("ACT_DIE") == str(Acting.batches):
            os.kill(os.getpid(), 9)
        return super().extract(wav, lengths)
"""


@pytest.fixture
def place(mini: Path, mini_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The mini recipe with an upstream that acts, and a cache of its own that knows the rendered corpus."""
    (mini / "part_that_acts.py").write_text(PART)
    monkeypatch.syspath_prepend(str(mini))
    monkeypatch.setenv("ACT_LOG", str(mini / "batches.log"))
    if not (mini_cache / "synthetic").is_dir():
        assert len(load_recipe("mini.yaml").data().manifest) == UTTERANCES  # renders the corpus
    (mini / "cache").mkdir()
    for entry in mini_cache.iterdir():
        if entry.name != "features":
            (mini / "cache" / entry.name).symlink_to(entry)
    monkeypatch.setenv("SER_CACHE", str(mini / "cache"))
    sys.modules.pop("part_that_acts", None)
    yield mini
    sys.modules.pop("part_that_acts", None)


def _in_another_process(arguments: list[str]) -> multiprocessing.Process:
    """The command in a fork of this process, which has imported everything already."""

    def run() -> None:
        torch.set_num_threads(1)
        os._exit(main(arguments))

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process  # type: ignore[return-value]


def _stored(cache: Path) -> tuple[dict[str, torch.Tensor], int]:
    """What the only store of a cache holds by key, and how often keys stand there."""
    (folder,) = (cache / "features").iterdir()
    found: dict[str, torch.Tensor] = {}
    count = 0
    for shard in folder.glob("*.safetensors"):
        content = load_file(shard)
        found |= {key: value.clone() for key, value in content.items()}  # a mapped file may be changed by a test
        count += len(content)
    return found, count


def _batches(place: Path) -> Counter[str]:
    """Utterances that went through the upstream, by process."""
    log = place / "batches.log"
    found: Counter[str] = Counter()
    for line in log.read_text().splitlines() if log.exists() else ():
        process, count = line.split()
        found[process] += int(count)
    log.unlink(missing_ok=True)
    return found


def _same(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[key], value) for key, value in expected.items())


_EXPECTED: dict[str, torch.Tensor] = {}


def _from_one_process(place: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """What one process extracts without any interruption, in a cache of its own."""
    if _EXPECTED:
        return _EXPECTED
    other = place / "cache-of-one"
    other.mkdir()
    for entry in (place / "cache").iterdir():
        if entry.name != "features":
            (other / entry.name).symlink_to(entry.resolve())
    with monkeypatch.context() as patch:
        patch.setenv("SER_CACHE", str(other))
        assert main(ARGUMENTS) == 0
    assert sum(_batches(place).values()) == UTTERANCES
    sys.modules["part_that_acts"].Acting.batches = 0
    _EXPECTED.update(_stored(other)[0])
    return _EXPECTED


# --- filling ---------------------------------------------------------------------------------------------------------


def test_two_processes_at_once_fill_one_store_with_what_one_extracts(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _from_one_process(place, monkeypatch)
    assert len(expected) == UTTERANCES
    (place / "meeting").mkdir()
    monkeypatch.setenv("ACT_MEET", str(place / "meeting"))  # nobody goes on before the other has begun
    processes = [_in_another_process(ARGUMENTS) for _ in range(2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    seen = _batches(place)
    assert len(seen) == 2, "both had a share"
    assert sum(seen.values()) == UTTERANCES, "each utterance went through once"
    found, count = _stored(place / "cache")
    assert count == UTTERANCES
    assert _same(found, expected)
    assert not stores()[0].in_use


def test_the_command_goes_on_where_a_killed_one_stopped(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _from_one_process(place, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setenv("ACT_DIE", "4")
        process = _in_another_process(ARGUMENTS)
        process.join()
    assert process.exitcode == -signal.SIGKILL
    before = stores()[0].utterances
    assert 0 < before < UTTERANCES
    _batches(place)
    assert main(ARGUMENTS) == 0
    assert sum(_batches(place).values()) == UTTERANCES - before
    found, count = _stored(place / "cache")
    assert count == UTTERANCES
    assert _same(found, expected)


def test_a_changed_byte_is_found_and_extracted_anew(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ARGUMENTS) == 0
    expected, _ = _stored(place / "cache")
    (store,) = stores()
    capsys.readouterr()
    assert main(["verify"]) == 0
    assert "as written" in capsys.readouterr().out
    shard = store.shards[0]
    content = bytearray(shard.read_bytes())
    content[-5] ^= 1
    shard.write_bytes(content)
    _batches(place)
    assert main(["verify", store.identity[:6]]) == 1
    said = capsys.readouterr().out
    assert f"1 of them damaged: {shard.stem}.damaged" in said
    assert "Run ser-extract" in said
    assert main(["status"]) == 0
    assert "1 damaged" in capsys.readouterr().out
    assert main(ARGUMENTS) == 0
    assert sum(_batches(place).values()) == UTTERANCES
    assert _same(_stored(place / "cache")[0], expected)
    assert main(["verify"]) == 0
    assert main(["prune", "--damaged", "--yes"]) == 0
    assert not list(store.folder.glob("*.damaged"))
    assert _same(_stored(place / "cache")[0], expected)


def test_training_reads_what_was_extracted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ARGUMENTS) == 0
    said = capsys.readouterr().out
    assert "features of Acting: the frames of each layer" in said
    assert re.search(rf"stored: {UTTERANCES} utterances, \d+ kB in {stores()[0].folder}\n", said)
    assert sum(_batches(place).values()) == UTTERANCES
    features = Experiment(load_recipe("mini.yaml", *ARGUMENTS[1:])).features()
    assert features is not None and len(features) == UTTERANCES
    assert not _batches(place)
    assert len(stores()) == 1


def test_a_notebook_does_what_the_command_does(place: Path) -> None:
    (found,) = fill_stores(load_recipe("mini.yaml", *ARGUMENTS[1:]))
    assert (found.utterances, found.reduction.what) == (UTTERANCES, "frames")
    assert found == stores()[0]


def test_upstreams_that_are_tried_inside_the_folds_get_their_stores(place: Path) -> None:
    tried = 'selection.candidates=["model.upstream.num_mels=5", "model.head.hidden_dim=4", "model.upstream.num_mels=9"]'
    works = all_stores(load_recipe("mini.yaml", tried))
    assert [work.upstream.feature_dim for work in works] == [8, 5, 9]
    assert {work.reduction.what for work in works} == {"frames"}


OF_THE_BATCH = """\
from ser_toolkit.upstreams.spectral import Spectral


class Padded(Spectral):
    batch_dependent = "padding"
"""


@pytest.mark.parametrize("tried", ["of_the_batch.Padded", "part_that_acts.Acting model.upstream.frozen=false"])
def test_nothing_is_extracted_for_a_candidate_that_keeps_no_features(place: Path, tried: str) -> None:
    (place / "of_the_batch.py").write_text(OF_THE_BATCH, encoding="utf-8")
    works = all_stores(load_recipe("mini.yaml", f'selection.candidates=["model.upstream={tried}"]'))
    assert [type(work.upstream).__name__ for work in works] == ["Spectral"]


def test_a_recipe_that_keeps_nothing_says_why(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for argument, reason in (
        ("model.upstream.frozen=false", "the upstream is fine-tuned"),
        ("data.train_crop_seconds=1", "data.train_crop_seconds cuts"),
        ("features.keep=none", "features.keep=none"),
    ):
        assert main(["recipe=mini.yaml", "model.upstream=part_that_acts.Acting", argument]) == 2
        said = capsys.readouterr().err
        assert f"every step starts at the recordings: {reason}" in said
        assert said.count("\n") == 1
    assert not stores()


def test_a_dry_run_writes_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGUMENTS, "--dry-run"]) == 0
    said = capsys.readouterr().out
    found = re.search(r"([\d.]+) of ([\d.]+) minutes to extract, .* kB more in (\S+) \(.* free\)", said)
    assert found is not None and found[1] == found[2] != "0.0"
    assert not (place / "cache" / "features").exists()
    assert main(ARGUMENTS) == 0
    capsys.readouterr()
    assert main([*ARGUMENTS, "--dry-run"]) == 0
    assert f"0.0 of {found[2]} minutes to extract, 0 bytes more in {found[3]}" in capsys.readouterr().out
    assert Path(found[3]) == stores()[0].folder


def test_only_the_first_of_several_ranks_speaks(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert main(ARGUMENTS) == 0
    assert capsys.readouterr().out == ""
    assert stores()[0].utterances == UTTERANCES


def test_each_rank_takes_its_own_gpu(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ser_toolkit.cli.extract import _take_own_gpu

    taken: list[int] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", taken.append)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    _take_own_gpu()
    for rank in "013":
        monkeypatch.setenv("LOCAL_RANK", rank)
        _take_own_gpu()
    assert taken == [0, 1, 1]


def _workers(monkeypatch: pytest.MonkeyPatch, *scripts: str) -> None:
    """Let workers run these lines of Python instead."""
    waiting = list(scripts)
    expected = load_recipe("mini.yaml", *ARGUMENTS[1:]).hash("", "")

    def start(config: Path, log: Path, environment: dict[str, str]) -> subprocess.Popen:
        if len(waiting) == 1:
            assert load_recipe(str(config), "jobs=1").hash("", "") == expected
        with log.open("w") as output:
            return subprocess.Popen([sys.executable, "-S", "-c", waiting.pop(0)], stdout=output, stderr=output)

    monkeypatch.setattr(ser_toolkit.experiment.stores, "_start", start)


def test_a_worker_that_fails_is_said_in_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = "import os; print('  bfloat16: relative error of', flush=True); os.kill(os.getpid(), 9)"
    _workers(monkeypatch, "raise SystemExit('ser-extract: x.wav cannot be read.')", "pass", killed)
    assert main([*ARGUMENTS, "jobs=3"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(
        "ser-extract: 2 of 3 processes failed: x.wav cannot be read. Killed by signal 9 (out of memory?). "
        "What is extracted is kept. "
    )
    assert "minutes are left: run the same command again." in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out.count("relative error") == 1


def test_no_worker_is_started_for_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(ARGUMENTS) == 0
    monkeypatch.setattr(ser_toolkit.experiment.stores, "_start", None)
    assert main([*ARGUMENTS, "jobs=2"]) == 0


@pytest.mark.slow
def test_jobs_share_the_work(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    expected = _from_one_process(place, monkeypatch)
    (place / "meeting").mkdir()
    monkeypatch.setenv("ACT_MEET", str(place / "meeting"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    capsys.readouterr()
    assert main([*ARGUMENTS, "jobs=2"]) == 0
    assert "by 2 processes" in capsys.readouterr().out
    seen = _batches(place)
    assert (len(seen), sum(seen.values())) == (2, UTTERANCES)
    found, count = _stored(place / "cache")
    assert count == UTTERANCES and _same(found, expected)


# --- showing and cleaning --------------------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two stores, one of an earlier version, somebody else's folder and a link."""
    from ser_toolkit.data.reduction import Reduction
    from ser_toolkit.features.key import StoreKey
    from ser_toolkit.features.store import FeatureStore

    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "cache" / "features"
    frames = torch.rand(13, 20, 32)
    for name, reduction in (("a", Reduction("means", True)), ("b", Reduction("frames"))):
        store = FeatureStore(StoreKey(f"huggingface:wavlm:{name}:0", reduction, "float16", upstream="HF"), root)
        store.write({"one": reduction.of(frames), "two": reduction.of(frames)})
    (root / "0011223344556677").mkdir()
    said = {"feature_version": 0, "fingerprint": "spectral|1", "upstream": "spectral", "what": "frames"}
    said |= {"layer_norm": False, "dtype": "float32", "precision": "float32"}
    (root / "0011223344556677" / "store.json").write_text(json.dumps(said))
    (root / "mine").mkdir()
    (root / "mine" / "x.safetensors").write_text("mine")
    elsewhere = FeatureStore(StoreKey("c"), tmp_path / "elsewhere")
    elsewhere.write({"one": frames})
    (root / elsewhere.folder.name).symlink_to(elsewhere.folder)
    return root


def _aged(folder: Path, days: float) -> None:
    for path in folder.iterdir():
        os.utime(path, (0, path.stat().st_mtime - 86400 * days))


def _names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def test_status_is_one_table(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    means = next(line for line in lines if "means" in line)
    assert re.search(r"HF \(wavlm\)  means, layer-normalised  13 x 32  float32 +2 +1 +[\d.]+ kB  \d{4}-", means)
    frames = next(line for line in lines if " frames " in line and "wavlm" in line)
    assert re.search(r"frames +13 x 32  float16 +2 +1 ", frames)
    assert any(re.match(r"0011223344556677  spectral  +frames .* old \(version 0\)$", line) for line in lines)
    assert len(lines) == 5
    size = sum(path.stat().st_size for store in stores() for path in store.folder.iterdir())
    assert lines[-1] == f"3 stores, 4 utterances, {size / 1000:.0f} kB in {shelf}"
    for root in (shelf, shelf.parent):
        assert main(["status", str(root)]) == 0
        assert capsys.readouterr().out.splitlines() == lines


def test_nothing_stored_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "none"))
    for command in (["status"], ["verify"]):
        assert main(command) == 0
        assert capsys.readouterr().out == f"no stores in {tmp_path / 'none' / 'features'}\n"
    assert main(["prune", "--all", "--yes"]) == 0


def test_prune_removes_nothing_without_yes(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = _names(shelf)
    assert main(["prune", "--all"]) == 0
    said = capsys.readouterr().out
    assert _names(shelf) == before
    assert all(name in said for name in before - {"mine"} if not (shelf / name).is_symlink())
    assert "Nothing was removed; add --yes" in said
    assert re.search(r"would free \d+ kB", said)


def test_prune_spares_what_is_no_store(shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (link,) = (path for path in shelf.iterdir() if path.is_symlink())
    assert main(["prune", "--all", "--yes"]) == 0
    assert "removed" in capsys.readouterr().out
    assert _names(shelf) == {"mine", link.name}
    assert (shelf / "mine" / "x.safetensors").read_text() == "mine"
    assert len(list(link.iterdir())) == 2
    for other in (link, shelf / "mine", tmp_path):
        assert main(["prune", str(other), "--yes"]) == 2
    assert _names(shelf) == {"mine", link.name}


def test_options_of_prune_narrow(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = _names(shelf)
    new, unused = (store for store in stores() if not store.old)
    _aged(unused.folder, 31)
    for arguments in (["--unused-for", "30d", "--old"], ["--unused-for=32d"], [new.identity, "--old"], ["--damaged"]):
        assert main(["prune", "--yes", *arguments]) == 0
        assert "nothing to remove" in capsys.readouterr().out
    assert _names(shelf) == names
    assert main(["prune", "--unused-for", "30d", "--yes"]) == 0
    assert names - _names(shelf) == {unused.identity}
    assert main(["prune", "--old", "--yes"]) == 0
    assert names - _names(shelf) == {unused.identity, "0011223344556677"}
    assert main(["prune", new.identity[:5], "--yes"]) == 0
    assert new.identity not in _names(shelf)


def test_prune_spares_a_store_that_is_being_filled(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = next(store for store in stores() if store.reduction.what == "means")
    (store.folder / "claims").mkdir()
    (store.folder / "claims" / "x.claim").write_text(json.dumps([socket.gethostname(), os.getppid(), 0]))
    assert main(["prune", "--all", "--yes"]) == 0
    assert "in use" in capsys.readouterr().out
    assert store.identity in _names(shelf)
    assert len(list(store.folder.glob("*.safetensors"))) == 1
    assert main(["status"]) == 0
    assert "in use" in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "removed"), [("y\n", True), ("yes\n", True), ("n\n", False), ("\n", False)])
def test_prune_asks_on_a_terminal(
    shelf: Path, answer: str, removed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal:
        isatty = staticmethod(lambda: True)
        readline = staticmethod(lambda: answer)

    monkeypatch.setattr(sys, "stdin", Terminal)
    assert main(["prune", "--old"]) == 0
    assert "Remove? [y/N]" in capsys.readouterr().out
    assert ("0011223344556677" not in _names(shelf)) == removed


def test_ages_are_read() -> None:
    assert [age(text) for text in ("12h", "1.5d", "2w")] == [43200, 129600, 1209600]


# --- planning --------------------------------------------------------------------------------------------------------


def test_a_plan_is_arithmetic(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--hours", "10,000", "--upstream", "spectral", "model.upstream.num_mels=100", "--rate=500"]
    assert main(["plan", *arguments, "--clip-seconds", "8"]) == 0
    said = capsys.readouterr().out
    assert "10,000 hours of speech in 4,500,000 clips of 8 s; Spectral: layers 1 x 100, 100 frames a second" in said
    assert "extraction: 20 hours of one process at 500 s of audio/s (as given); 2.5 hours on 8 of them" in said
    sizes = dict(re.findall(r"^(\w+(?: moments)?)  +([\d.]+ [GT]B)", said, re.M))
    # 4.5 million times (400 bytes of a mean and 250 of overhead), and so on
    assert sizes["means"] == "2.9 GB"
    assert sizes["variances"] == "4.7 GB"
    assert sizes["frames"] == "1.4 TB"
    assert re.search(r"frames +1\.4 TB +7[12]\d GB +attentive", said)
    assert re.search(r"means +2\.9 GB +- +SUPERB head", said)


def test_a_plan_measures_the_upstream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("ser_toolkit.features.forecast.PATIENCE", 0.01)
    monkeypatch.setattr("ser_toolkit.features.forecast.measured_rate", lambda *given: 3600.0 / len(given))
    assert main(["plan", "--hours=1", "--recipe=demo", "features.batch_seconds=5"]) == 0
    said = capsys.readouterr().out
    assert "Spectral: layers 1 x 46" in said
    assert "at 900 s of audio/s (measured here on synthetic audio: " in said


def test_weights_that_are_missing_are_drawn_for_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tiny_models import save_tiny

    folder = save_tiny("wav2vec2", tmp_path / "tiny")
    for path in folder.glob("*.safetensors"):
        path.unlink()
    assert main(["plan", "--hours=1", "--upstream", str(folder), "--rate=1"]) == 0
    said = capsys.readouterr().out
    assert "no weights" in said
    assert "HuggingFaceUpstream: layers 4 x 32, 50 frames a second" in said


# --- mistakes --------------------------------------------------------------------------------------------------------

MISTAKES = [
    (["statu"], "ser-extract statu: unknown. Did you mean status?"),
    (["demo"], "A recipe is given with recipe=NAME."),
    (["data.root=x"], "Features of what?"),
    (["--dry-run"], "Features of what?"),
    (["recipe=demo", "--dryrun"], "--dryrun: unknown. Did you mean --dry-run?"),
    (["recipe=demoo"], "Recipe 'demoo' is unknown. Did you mean demo"),
    (["recipe=demo", "jobs=0"], "jobs must be at least 1, found 0"),
    (["recipe=demo", "features.keeep=none"], "Did you mean keep"),
    (["status", "nowhere"], "no folder nowhere"),
    (["status", "a", "b"], "takes one folder"),
    (["status", "--all"], "ser-extract status --all: unknown."),
    (["verify", "deadbeef"], "Store 'deadbeef' is unknown in"),
    (["verify", "--all"], "ser-extract verify --all: unknown."),
    (["prune"], "Prune what?"),
    (["prune", "--yes"], "Prune what?"),
    (["prune", "deadbeef", "--yes"], "Store 'deadbeef' is unknown in"),
    (["prune", "--al"], "Did you mean --all"),
    (["prune", "--all=x"], "--all takes no value"),
    (["prune", "--all", "x"], "--all takes every store, but x is named too"),
    (["prune", "--unused-for"], "--unused-for needs a value: --unused-for 30d."),
    (["prune", "--unused-for", "30"], "--unused-for 30: expected a number with h, d or w"),
    (["prune", "./nothing"], "is no store of features"),
    (["plan"], "needs --hours NUMBER"),
    (["plan", "--hours", "many", "--upstream", "Spectral"], "--hours many: expected a number above 0."),
    (["plan", "--hours", "0", "--upstream", "Spectral"], "--hours 0: expected a number above 0."),
    (["plan", "--hours"], "--hours needs a value"),
    (["plan", "--hours=1"], "--upstream NAME or --recipe NAME"),
    (["plan", "--hours=1", "--recipe=demo", "--upstream=Spectral"], "one of them"),
    (["plan", "--hour=1"], "Did you mean --hours"),
    (["plan", "--hours=1", "--rate=fast", "--upstream=Spectral"], "--rate fast: expected a number above 0."),
    (["plan", "--hours=1", "--upstream=Spectrl"], "Did you mean Spectral"),
    (["plan", "--hours=1", "--upstream=./gone"], "Upstream folder ./gone does not exist"),
    (["plan", "--hours=1", "--upstream=Spectral", "model.upstream.num_mel=3"], "Did you mean num_mels"),
    (["plan", "--hours=1", "--upstream=Spectral", "--clip-seconds=0.001"], "too short for Spectral"),
    (["plan", "--hours=1", "--upstream=Spectral", "--rate=1", "model.head=x"], "model.head: unknown"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(mistake[0]) for mistake in MISTAKES])
def test_a_mistake_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    mini_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    assert main(arguments) == 2
    said = capfd.readouterr().err
    assert said.startswith("ser-extract: ")
    assert message in said
    assert said.count("\n") == 1


# --- the page about it -----------------------------------------------------------------------------------------------


def _commands() -> list[str]:
    text = (REPOSITORY / "docs" / "features.md").read_text(encoding="utf-8")
    return re.findall(r"^(?:\$ )?(ser-extract .*?)\s*(?:#.*)?$", text, re.M)


@pytest.mark.parametrize("command", _commands())
def test_options_on_the_page_exist(command: str) -> None:
    for option in re.findall(r"--[a-z-]+", command):
        assert option in USAGE


def test_what_the_page_plans_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    text = (REPOSITORY / "docs" / "features.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\$ ser-extract (plan .*--upstream Spectral --rate.*)\n((?:(?!\$|```).*\n)*)", text, re.M)
    assert shown
    for command, output in shown:
        with contextlib.suppress(SystemExit):
            assert main(command.split()) == 0
        assert capsys.readouterr().out.rstrip() == output.rstrip()


def test_the_python_of_the_page_works(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (REPOSITORY / "docs" / "features.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    exec(block.replace('"demo"', '"mini.yaml"'), {})
    assert re.search(rf"the frames of each layer {UTTERANCES} \d+\n1 stores\n", capsys.readouterr().out)
