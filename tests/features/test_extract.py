"""Extraction: each sound once, in batches that nothing changes, and what was computed stays."""

from __future__ import annotations

import contextlib
import copy
import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from seen_progress import SeenProgress
from tiny_corpus import RATE, TinyUpstream, Tones, another, quiet_trainer, tiny_data, tiny_model
from torch import Tensor

from ser_toolkit.corpora.base import Utterance
from ser_toolkit.data.audio.decode import read_audio
from ser_toolkit.data.batch import STREAM, Batch, Frames, Moments, Outputs, Targets, Vectors, Waves, pad_sequences
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.prepare import manifest_of
from ser_toolkit.data.reduction import Reduction
from ser_toolkit.downstream.frames import LinearProjection, LinearReLU
from ser_toolkit.downstream.layers import ConcatenateLayers, SingleLayer, WeightedSum
from ser_toolkit.downstream.pooling import (
    AttentiveStatisticsPooling,
    MeanPooling,
    MeanStdMaxPooling,
    StatisticsPooling,
)
from ser_toolkit.errors import AudioError, RecipeError, StoreError
from ser_toolkit.features import estimate as estimate_module
from ser_toolkit.features import extract as extract_module
from ser_toolkit.features import shards as shards_module
from ser_toolkit.features import store as store_module
from ser_toolkit.features.batches import extraction_batches
from ser_toolkit.features.extract import extract_corpus
from ser_toolkit.features.key import StoreKey
from ser_toolkit.features.settings import FeatureSettings
from ser_toolkit.features.store import FeatureStore
from ser_toolkit.features.views import MappedFeatures
from ser_toolkit.system.interrupts import noticed
from ser_toolkit.upstreams.spectral import Spectral

#: Two or three utterances a batch.
SMALL = FeatureSettings(batch_seconds=0.8)


class Counting(TinyUpstream):
    """Notes what goes through it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []
        self.batches: list[list[int]] = []

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        self.seen += lengths.tolist()
        self.batches.append(lengths.tolist())
        frames, counts = super().extract(wav, lengths)
        # a trace of the company, as rounding leaves it: far below what is compared, unless bits are compared
        return frames * (1 + 1e-7 * len(lengths)), counts


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    root = tmp_path / "tones"
    return manifest_of(Tones.write(root, speakers=3), root)


def _store(**options: Any) -> FeatureStore:
    return FeatureStore(StoreKey(TinyUpstream().fingerprint(), **options))


def _cloned(features: Mapping[str, Any]) -> dict[str, Tensor]:
    """Frames by utterance, by themselves: loaded tensors may be views of files that a test damages."""
    return {name: frames.clone() for name, frames in features.items()}


def _assert_identical(found: Mapping[str, Any], expected: Mapping[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, frames in expected.items():
        assert torch.equal(found[name], frames), name


def _alone(upstream: TinyUpstream, manifest: Manifest, row: int) -> Tensor:
    wav = torch.from_numpy(read_audio(manifest.audio_path(row)))[None]
    return upstream(wav, torch.tensor([wav.shape[1]]))[0][0]


def _damage(key: str | None = None) -> Path:
    """Change one bit of a stored utterance; gives the shard."""
    (shard,) = _store().folder.glob("*.safetensors")
    raw = bytearray(shard.read_bytes())
    header = int.from_bytes(raw[:8], "little")
    names = json.loads(raw[8 : 8 + header])
    name = key or next(name for name in names if name != "__metadata__")
    raw[8 + header + names[name]["data_offsets"][0]] ^= 1
    shard.unlink()
    shard.write_bytes(raw)
    return shard


def test_every_utterance_has_the_frames_that_it_has_alone(manifest: Manifest) -> None:
    upstream = TinyUpstream()
    features = extract_corpus(upstream, manifest)
    assert list(features) == manifest.table["id"].tolist()
    for row, name in enumerate(features):
        torch.testing.assert_close(features[name], _alone(upstream, manifest, row))


def test_a_second_extraction_computes_nothing(manifest: Manifest) -> None:
    first = Counting()
    progress = SeenProgress()
    found = extract_corpus(first, manifest, progress=progress, settings=SMALL)
    assert len(first.seen) == len(manifest)
    assert len(progress.steps) == len(first.batches) > 3
    assert (
        progress.steps[-1][0] == pytest.approx(progress.steps[-1][1]) == pytest.approx(manifest.table["duration"].sum())
    )
    second = Counting()
    again = extract_corpus(second, manifest, settings=SMALL)
    assert second.seen == []
    _assert_identical(again, _cloned(found))


def test_the_same_sound_goes_through_once(tmp_path: Path) -> None:
    root = tmp_path / "tones"
    corpus = Tones.write(root, speakers=2)
    corpus._rows.append(Utterance("twin", corpus._rows[0].path, speaker="s0", label="angry"))
    corpus._rows.append(Utterance("part", corpus._rows[0].path, start=0.02, end=0.1, speaker="s0", label="angry"))
    manifest = manifest_of(corpus, root)
    upstream = Counting()
    features = extract_corpus(upstream, manifest)
    assert len(upstream.seen) == len(manifest) - 1
    assert torch.equal(features["twin"], features[corpus._rows[0].id])
    assert features["part"].shape[1] == int(0.08 * RATE) // 160


# --- batches ----------------------------------------------------------------------------------------------------------


def test_batches_are_of_similar_length_longest_first_and_within_the_budget(manifest: Manifest) -> None:
    found = extraction_batches(manifest.table, 0.8)
    durations = [row["duration"] for batch in found for row in batch.rows]
    assert durations == sorted(durations, reverse=True)
    assert sorted(key for batch in found for key in batch.keys) == sorted(manifest.table["audio_hash"])
    for batch, after in zip(found, [*found[1:], None], strict=True):
        longest = batch.rows[0]["duration"]
        assert longest * len(batch.rows) <= 0.8
        if after is not None:
            assert longest * (len(batch.rows) + 1) > 0.8, "no batch is smaller than it has to be"
    assert len({batch.name for batch in found}) == len(found)
    assert sum(batch.seconds for batch in found) == pytest.approx(manifest.table["duration"].sum())
    assert [len(batch.rows) for batch in extraction_batches(manifest.table, 0.01)] == [1] * len(manifest), (
        "too long goes alone"
    )


def test_batches_do_not_depend_on_the_order_of_the_table(manifest: Manifest) -> None:
    shuffled = manifest.table.sample(frac=1, random_state=1)
    assert [batch.name for batch in extraction_batches(shuffled, 0.8)] == [
        batch.name for batch in extraction_batches(manifest.table, 0.8)
    ]


@pytest.mark.parametrize("lost", [0, 3, 7])
def test_what_is_stored_already_does_not_change_a_batch(manifest: Manifest, lost: int) -> None:
    whole = Counting()
    expected = _cloned(extract_corpus(whole, manifest, settings=SMALL))
    store = _store()
    content = store.load(manifest.table["audio_hash"].tolist())
    missing = sorted(content)[lost]
    kept = {key: value.clone() for key, value in content.items() if key != missing}  # type: ignore[union-attr]
    for shard in store.folder.glob("*.safetensors"):
        shard.unlink()
    FeatureStore(store.key).write(kept)
    resumed = Counting()
    found = extract_corpus(resumed, manifest, settings=SMALL)
    assert len(resumed.batches) == 1
    assert resumed.batches[0] in whole.batches
    _assert_identical(found, expected)
    written = [key for shard in store.folder.glob("*.safetensors") for key in shards_module.shard_keys(shard)]
    assert sorted(written) == sorted(content), "nothing is stored twice"


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_truncated_shard_is_computed_again(manifest: Manifest) -> None:
    upstream = Counting()
    before = _cloned(extract_corpus(upstream, manifest, settings=SMALL))
    (shard,) = _store().folder.glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-1])
    upstream.seen.clear()
    _assert_identical(extract_corpus(upstream, manifest, settings=SMALL), before)
    assert len(upstream.seen) == len(manifest)
    assert shard.with_suffix(".damaged").exists()


def test_a_changed_bit_is_found_and_computed_again_by_the_same_call(
    manifest: Manifest, caplog: pytest.LogCaptureFixture
) -> None:
    upstream = Counting()
    before = _cloned(extract_corpus(upstream, manifest))
    shard = _damage()
    upstream.seen.clear()
    _assert_identical(extract_corpus(upstream, manifest), before)
    assert len(upstream.seen) == len(manifest)
    assert shard.name in caplog.text
    assert extract_corpus(upstream, manifest) and len(upstream.seen) == len(manifest), "and then it is whole"


def test_a_changed_bit_in_a_mapped_file_is_computed_again_by_the_same_command(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = Counting()
    before = _cloned(extract_corpus(upstream, manifest))
    _damage()
    monkeypatch.setattr(store_module, "MEMORY_SHARE", 0)
    with pytest.raises(StoreError, match=r"have changed.*Run the same command again"):
        dict(extract_corpus(upstream, manifest))
    _assert_identical(extract_corpus(upstream, manifest), before)


def test_mapped_features_are_those_in_memory(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _cloned(extract_corpus(TinyUpstream(), manifest))
    monkeypatch.setattr(store_module, "MEMORY_SHARE", 0)
    mapped = extract_corpus(TinyUpstream(), manifest)
    assert isinstance(mapped._stored, MappedFeatures)  # type: ignore[union-attr]
    _assert_identical(mapped, found)


def test_an_unreadable_recording_keeps_what_came_before(manifest: Manifest) -> None:
    rows = manifest.table.sort_values("duration")
    broken = manifest.root / rows["path"].iloc[len(rows) // 2]
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    upstream = Counting()
    with pytest.raises(AudioError, match=broken.name):
        extract_corpus(upstream, manifest, settings=SMALL)
    store = _store()
    assert 0 < len(store) == len(upstream.seen) < len(manifest)
    assert not (store.folder / "claims").exists(), "nobody has to wait for what is not being computed"
    broken.write_bytes(whole)
    kept = len(store)
    upstream.seen.clear()
    extract_corpus(upstream, manifest, settings=SMALL)
    assert len(upstream.seen) == len(manifest) - kept


def test_a_disk_that_fills_up_in_the_middle_keeps_what_came_before(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = shards_module.save_file, []

    def fills_up(tensors: dict[str, Tensor], path: Path, notes: dict[str, str]) -> None:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(list(tensors))
        real(tensors, path, notes)

    with monkeypatch.context() as patch:
        patch.setattr(shards_module, "save_file", fills_up)
        with pytest.raises(StoreError, match="No space left on device"):
            extract_corpus(Counting(), manifest, settings=SMALL)
    store = _store()
    assert len(store) == sum(map(len, written))
    assert list(store.folder.glob("*.partial")) == []
    assert not (store.folder / "claims").exists()
    assert len(extract_corpus(Counting(), manifest, settings=SMALL)) == len(manifest)


def test_a_kill_loses_the_batch_that_was_computed_and_no_more(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _cloned(extract_corpus(Counting(), manifest, tmp_path / "whole", settings=SMALL))
    upstream = Counting()
    with monkeypatch.context() as patch:
        # a kill runs nothing of what would tidy up: no merging, no giving back of claims
        patch.setattr(FeatureStore, "merge", lambda self: None)
        patch.setattr(extract_module.Claims, "release_all", lambda self: None)
        patch.setattr(extract_module.Claims, "release", lambda self, name: None)
        real = Counting.extract

        def killed(self: Counting, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
            if len(self.batches) == 3:
                raise KeyboardInterrupt
            return real(self, wav, lengths)

        patch.setattr(Counting, "extract", killed)
        with pytest.raises(KeyboardInterrupt):
            extract_corpus(upstream, manifest, settings=SMALL)
    assert len(list(_store().folder.glob("*.safetensors"))) == 3
    assert len(_store()) == len(upstream.seen)
    after = Counting()
    found = extract_corpus(after, manifest, settings=SMALL)
    assert len(after.seen) == len(manifest) - len(upstream.seen)
    _assert_identical(found, expected)


@pytest.mark.parametrize("lost", ["count", "frames"])
def test_nothing_is_stored_of_a_batch_whose_frames_are_not_those_promised(
    lost: str, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Counting.extract

    def short(self: Counting, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        frames, counts = plain(self, wav, lengths)
        return (frames, counts - 1) if lost == "count" else (frames[:, :, :-1], counts)

    monkeypatch.setattr(Counting, "extract", short)
    with pytest.raises(StoreError, match=r"Counting gave \d+ frames for a recording of \d+ samples, where its"):
        extract_corpus(Counting(), manifest, settings=SMALL)
    assert len(_store()) == 0


def test_a_dropped_ctrl_c_stops_the_extraction_before_it_stores(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Counting.extract

    def dropped(self: Counting, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        with contextlib.suppress(KeyboardInterrupt):  # as a destructor or a callback from C does
            signal.raise_signal(signal.SIGINT)
        return plain(self, wav, lengths)

    monkeypatch.setattr(Counting, "extract", dropped)
    with noticed(), pytest.raises(KeyboardInterrupt):
        extract_corpus(Counting(), manifest, settings=SMALL)
    assert len(_store()) == 0


def test_what_does_not_fit_on_the_disk_is_refused_before_it_begins(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = estimate_module.shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(estimate_module.shutil, "disk_usage", lambda place: usage)
    upstream = Counting()
    with pytest.raises(StoreError, match=r"Features need \d+ kB more in .*, but only 1.0 kB are free.*SER_CACHE"):
        extract_corpus(upstream, manifest)
    assert upstream.seen == []


def test_silence_is_refused_unless_it_is_accepted(tmp_path: Path) -> None:
    root = tmp_path / "tones"
    corpus = Tones.write(root, speakers=1, takes=1)
    soundfile.write(root / corpus._rows[0].path, np.zeros(3200), RATE)
    manifest = manifest_of(corpus, root)
    with pytest.raises(AudioError, match=r"silence.*allow_silent"):
        extract_corpus(TinyUpstream(), manifest)
    assert len(extract_corpus(TinyUpstream(), manifest, allow_silent=True)) == len(manifest)


class Loud(TinyUpstream):
    """Frames of a size of its own."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        frames, counts = super().extract(wav, lengths)
        return frames * self.factor, counts

    def fingerprint(self) -> str:
        return f"loud {self.factor}"


def test_numbers_that_cannot_be_stored_are_one_line(manifest: Manifest) -> None:
    half = FeatureSettings(dtype="float16")
    with pytest.raises(StoreError, match=r"too large for float16.*features.dtype=bfloat16 or float32"):
        extract_corpus(Loud(1e7), manifest, settings=half)
    # moments are float32 whatever frames would be
    extract_corpus(Loud(1e7), manifest, settings=half, reductions=[Reduction("means")])
    with pytest.raises(StoreError, match=r"Loud gives features that are not finite"):
        extract_corpus(Loud(float("inf")), manifest)


# --- several processes ------------------------------------------------------------------------------------------------


def _extract_and_tell(manifest: Manifest, start: Any, told: Any) -> None:
    torch.set_num_threads(1)  # a fork has none of its parent's threads
    upstream = Counting()
    start.wait()
    features = extract_corpus(upstream, manifest, settings=SMALL)
    told.put((upstream.batches, {name: frames.numpy().tobytes() for name, frames in features.items()}))


def test_two_processes_share_the_work_and_get_what_one_gets(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract_module, "PATIENCE", 0.01)
    one = Counting()
    expected = extract_corpus(one, manifest, tmp_path / "one", settings=SMALL)
    context = multiprocessing.get_context("fork")
    start, told = context.Barrier(2), context.SimpleQueue()
    processes = [context.Process(target=_extract_and_tell, args=(manifest, start, told)) for _ in range(2)]
    for process in processes:
        process.start()
    (first, found), (second, other) = told.get(), told.get()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert sorted(first + second) == sorted(one.batches), "every batch once, whoever had it"
    assert found == other == {name: frames.numpy().tobytes() for name, frames in expected.items()}
    assert not (_store().folder / "claims").exists()


def _claimed(manifest: Manifest, number: int, process: int) -> Path:
    """A claim of another process on one of the batches."""
    folder = _store().folder / "claims"
    folder.mkdir(parents=True)
    path = folder / f"{extraction_batches(manifest.table, SMALL.batch_seconds)[number].name}.claim"
    path.write_text(json.dumps([socket.gethostname(), process, 0]), encoding="utf-8")
    return path


def test_what_a_dead_process_had_claimed_is_computed(manifest: Manifest) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    _claimed(manifest, 1, ended.pid)
    upstream = Counting()
    extract_corpus(upstream, manifest, settings=SMALL)
    assert len(upstream.seen) == len(manifest)


@pytest.mark.parametrize("does_it", [True, False], ids=["does it", "gives it back"])
def test_what_a_living_process_has_claimed_is_waited_for(
    manifest: Manifest, tmp_path: Path, does_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _cloned(extract_corpus(Counting(), manifest, tmp_path / "one", settings=SMALL))
    path = _claimed(manifest, 1, os.getppid())
    batch = extraction_batches(manifest.table, SMALL.batch_seconds)[1]
    by_key = dict(zip(manifest.table["audio_hash"], expected.values(), strict=True))
    upstream = Counting()
    looks: list[int] = []

    def sleep(seconds: float) -> None:
        looks.append(len(upstream.batches))
        if len(looks) == 3:
            if does_it:
                _store().write({key: by_key[key] for key in batch.keys})
            path.unlink()

    monkeypatch.setattr(extract_module.time, "sleep", sleep)
    progress = SeenProgress()
    found = extract_corpus(upstream, manifest, settings=SMALL, progress=progress)
    others = len(extraction_batches(manifest.table, SMALL.batch_seconds)) - 1
    assert looks == [others] * 3, "everything else is done first"
    assert len(upstream.batches) == others + (not does_it)
    done, total = progress.steps[-1]
    assert done / total == pytest.approx(1.0)
    _assert_identical(found, expected)


# --- precision --------------------------------------------------------------------------------------------------------


class Reducible(TinyUpstream):
    """Has a copy that computes in bfloat16."""

    def at(self, precision: Any, compiled: bool = False) -> TinyUpstream:
        if precision == "float32":
            return self
        reduced = copy.deepcopy(self)
        reduced.first.data, reduced.second.data = (p.bfloat16().float() for p in (self.first, self.second))
        reduced.requires_grad_(False)
        return reduced


@pytest.mark.parametrize(
    ("precision", "dtype", "what"),
    [
        ("bfloat16", "float32", "frames"),
        ("float32", "float16", "frames"),
        ("float32", "bfloat16", "frames"),
        ("bfloat16", "float32", "covariances"),
    ],
)
def test_the_error_of_reduced_precision_is_measured_and_said(
    manifest: Manifest, precision: Any, dtype: Any, what: Any
) -> None:
    progress = SeenProgress()
    settings = FeatureSettings(precision=precision, dtype=dtype)
    reduction = Reduction(what)
    upstream = Reducible()
    found = extract_corpus(upstream, manifest, settings=settings, progress=progress, reductions=[reduction])
    exact = extract_corpus(Reducible(), manifest, reductions=[reduction])
    shortest = manifest.table.sort_values("duration")["id"].tolist()[: extract_module.MEASURED]

    def packed(kept: Any) -> Tensor:
        return shards_module.ShardEntry.of(kept).values.double().flatten()

    one, other = (torch.cat([packed(source[name]) for name in shortest]) for source in (found, exact))
    error = float((one - other).norm() / other.norm())
    (said,) = [
        re.search(r"relative error of the features ([\d.e+-]+) \(on 8 utterances\)", note) for note in progress.notes
    ][1:2]
    assert said is not None
    assert error > 1e-5
    assert float(said[1]) == pytest.approx(error, rel=0.06)
    if precision == "float32":
        assert found[shortest[0]].dtype == getattr(torch, dtype)  # type: ignore[union-attr]


def test_float32_has_no_error_to_be_said(manifest: Manifest) -> None:
    progress = SeenProgress()
    extract_corpus(TinyUpstream(), manifest, progress=progress)
    assert len(progress.notes) == 1 and progress.notes[0].startswith(
        "features of TinyUpstream: the frames of each layer, "
    )


def test_a_precision_that_the_upstream_has_not_is_refused(manifest: Manifest) -> None:
    with pytest.raises(RecipeError, match="TinyUpstream computes in float32 only"):
        extract_corpus(TinyUpstream(), manifest, settings=FeatureSettings(precision="bfloat16"))
    with pytest.raises(RecipeError, match=r"features.batch_seconds is 0"):
        FeatureSettings(batch_seconds=0)


@pytest.mark.parametrize("mapped", [False, True])
def test_frames_stored_in_half_precision_train(tmp_path: Path, mapped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if mapped:
        monkeypatch.setattr(store_module, "MEMORY_SHARE", 0)
    data = tiny_data(tmp_path / "tones")
    model = tiny_model(pooling=MeanStdMaxPooling)
    features = extract_corpus(model.upstream, data.manifest, settings=FeatureSettings(dtype="float16"))
    data = another(data, features=features)
    model.prepare(torch.from_numpy(data.class_counts()), 0)
    before = copy.deepcopy(model.head.state_dict())
    quiet_trainer(tmp_path).fit(model, data)
    assert any(not torch.equal(before[name], value) for name, value in model.head.state_dict().items())


# --- the stored path is the waveform path -----------------------------------------------------------------------------


def _batch(stream: Waves | Frames | Moments | Vectors, ids: list[str]) -> Batch:
    count = len(ids)
    targets = Targets(torch.zeros(count, dtype=torch.long), torch.zeros(count, 3), torch.zeros(count, 3))
    return Batch({STREAM: stream}, targets, ids)


def _logits(outputs: Outputs) -> Tensor:
    assert outputs.logits is not None
    return outputs.logits


COMPOSITIONS: dict[str, tuple[dict[str, Any], type]] = {
    "weighted sum": ({}, Moments),
    "superb": ({"frames": lambda dim: LinearProjection(dim, 5)}, Moments),
    "superb, global": ({"frames": lambda dim: LinearProjection(dim, 5), "normalisation": "global"}, Moments),
    "statistics": ({"pooling": StatisticsPooling}, Moments),
    "emobox": ({"frames": lambda dim: LinearReLU(dim, 5), "normalisation": "global"}, Frames),
    "attentive": ({"pooling": lambda dim: AttentiveStatisticsPooling(dim, 4), "normalisation": "global"}, Frames),
    "fixed": ({"layer_mix": ConcatenateLayers, "pooling": MeanStdMaxPooling}, Frames),
    "fixed, embedding": (
        {"layer_mix": ConcatenateLayers, "pooling": MeanStdMaxPooling, "normalisation": "embedding"},
        Frames,
    ),
    "fixed, moments, embedding": (
        {"layer_mix": ConcatenateLayers, "pooling": StatisticsPooling, "normalisation": "embedding"},
        Moments,
    ),
    "fixed, global": ({"layer_mix": SingleLayer, "pooling": MeanPooling, "normalisation": "global"}, Moments),
    "layer norm": ({"layer_mix": lambda *sizes: WeightedSum(*sizes, layer_norm=True)}, Moments),
    "layer norm, attentive": (
        {
            "layer_mix": lambda *sizes: WeightedSum(*sizes, layer_norm=True),
            "pooling": lambda dim: AttentiveStatisticsPooling(dim, 4),
            "normalisation": "global",
        },
        Frames,
    ),
}


@pytest.mark.parametrize("spectral", [False, True], ids=["tiny", "spectral"])
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_stored_features_give_what_recordings_give(tmp_path: Path, name: str, spectral: bool) -> None:
    parts, kind = COMPOSITIONS[name]
    data = tiny_data(tmp_path / "tones", eval_batch_size=5)
    model = tiny_model(Spectral(num_mels=8, num_mfcc=8) if spectral else TinyUpstream(), **parts)
    features = extract_corpus(model.upstream, data.manifest, reductions=model.network.reductions)
    training = [features[one] for one in data.training_ids]
    model.prepare(
        torch.from_numpy(data.class_counts()),
        0,
        training,
        lambda: torch.stack([model.network.vector(frames) for frames in training]),
    )
    model.eval()
    torch.manual_seed(1)
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    waves = list(data.test_dataloader())
    data = another(data, features=features)
    for heard, stored in zip(waves, data.test_dataloader(), strict=True):
        assert heard.ids == stored.ids
        assert isinstance(heard.streams[STREAM], Waves)
        assert isinstance(stored.streams[STREAM], kind)
        with torch.no_grad():
            expected = _logits(model(heard))
            torch.testing.assert_close(_logits(model(stored)), expected, rtol=1e-5, atol=1e-5)
            if model.network.fixed_embedding:
                vectors = model.network.normalised(
                    torch.stack([model.network.vector(features[one]) for one in heard.ids])
                )
                torch.testing.assert_close(
                    _logits(model(_batch(Vectors(vectors), heard.ids))), expected, rtol=1e-5, atol=1e-5
                )


def test_an_utterance_does_not_depend_on_its_company(manifest: Manifest) -> None:
    model = tiny_model(pooling=MeanStdMaxPooling, normalisation="global").eval()
    features = extract_corpus(model.upstream, manifest)
    model.prepare(torch.ones(3), 0, list(features.values()))
    names = list(features)
    with torch.no_grad():
        together = _logits(model(_batch(Frames(*pad_sequences([features[n] for n in names], dim=1)), names)))
        for name, expected in zip(names, together, strict=True):
            alone = _batch(Frames(*pad_sequences([features[name]], dim=1)), [name])
            torch.testing.assert_close(_logits(model(alone))[0], expected, rtol=1e-5, atol=1e-6)


def test_features_are_computed_without_tf32(manifest: Manifest) -> None:
    allowed: list[bool] = []

    class Looking(TinyUpstream):
        def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
            allowed.append(torch.backends.cudnn.allow_tf32)
            return super().extract(wav, lengths)

    before = torch.backends.cudnn.allow_tf32
    extract_corpus(Looking(), manifest)
    assert set(allowed) == {False}
    assert torch.backends.cudnn.allow_tf32 == before
