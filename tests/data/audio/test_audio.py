"""Decoding of every kind of file a corpus may hold, and one clear line for each that cannot be used."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ser_toolkit.data.audio.decode import (
    check_waveform,
    content_hash,
    crop,
    probe,
    read_audio,
    seconds_to_samples,
    windows,
)
from ser_toolkit.errors import AudioError


def tone(rate: int, seconds: float = 0.5, frequency: float = 440.0, peak: float = 0.5) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def write(path: Path, wav: np.ndarray, rate: int = 16000, **options: str) -> Path:
    soundfile.write(path, wav, rate, **options)
    return path


def refused(path: Path, *needles: str, **options: float) -> None:
    with pytest.raises(AudioError) as caught:
        read_audio(path, **options)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    for needle in needles:
        assert needle in message


def patch_wav(path: Path, data_size: int, riff_size: int) -> Path:
    content = bytearray(path.read_bytes())
    assert content[36:40] == b"data"
    content[40:44] = struct.pack("<I", data_size)
    content[4:8] = struct.pack("<I", riff_size)
    path.write_bytes(content)
    return path


# quantisation steps: 8 bit = 1/128, 16 bit = 1/32768, ...
STEP = {"PCM_U8": 1 / 128, "PCM_16": 1 / 32768, "PCM_24": 2.0**-23, "PCM_32": 2.0**-31, "FLOAT": 1e-9, "DOUBLE": 1e-7}


@pytest.mark.parametrize("subtype", STEP)
def test_depths_keep_their_precision(tmp_path: Path, subtype: str) -> None:
    wav = tone(16000)
    found = read_audio(write(tmp_path / "a.wav", wav, subtype=subtype))
    assert found.dtype == np.float32 and found.shape == wav.shape
    assert np.abs(found - wav).max() <= STEP[subtype] + 6e-8


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000, 192000])
def test_resampling_keeps_pitch_level_and_duration(tmp_path: Path, rate: int) -> None:
    found = read_audio(write(tmp_path / "a.wav", tone(rate), rate))
    assert abs(len(found) - 8000) <= 1
    middle = slice(1000, 7000)  # the filter rings at the two ends
    assert np.abs(found[middle] - tone(16000)[middle]).max() < 2e-3


def test_resampling_removes_what_would_alias(tmp_path: Path) -> None:
    found = read_audio(write(tmp_path / "a.wav", tone(48000, frequency=13000), 48000))
    assert np.abs(found[1000:7000]).max() < 1e-3


def test_stereo_is_averaged(tmp_path: Path) -> None:
    left, right = tone(16000), tone(16000, frequency=1000)
    found = read_audio(write(tmp_path / "a.wav", np.stack([left, right], 1), subtype="FLOAT"))
    np.testing.assert_allclose(found, (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("aiff_inside.wav", {"format": "AIFF"}, 1e-4),
        ("a.flac", {}, 1e-4),
        ("flac_inside.wav", {"format": "FLAC"}, 1e-4),
        ("a.mp3", {}, 0.05),
        ("a.ogg", {"format": "OGG", "subtype": "VORBIS"}, 0.05),
        ("rf64.wav", {"format": "RF64"}, 1e-4),
        ("extensible.wav", {"format": "WAVEX", "subtype": "PCM_24"}, 1e-4),
        ("a.au", {}, 1e-4),
    ],
)
def test_formats_are_recognised_by_content(tmp_path: Path, name: str, options: dict[str, str], error: float) -> None:
    path = write(tmp_path / name, tone(16000), **options)
    found = read_audio(path)
    assert len(found) == 8000
    assert np.abs(found[1000:7000] - tone(16000)[1000:7000]).max() < error
    assert probe(path).duration == pytest.approx(0.5, abs=1e-9)


def test_probe_reads_the_header(tmp_path: Path) -> None:
    info = probe(write(tmp_path / "a.wav", np.stack([tone(44100)] * 2, 1), 44100, subtype="PCM_24"))
    assert (info.sampling_rate, info.num_channels, info.num_samples) == (44100, 2, 22050)
    assert info.duration == 0.5 and info.format == "WAV/PCM_24"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.integers(8000, 48000),
    channels=st.integers(1, 3),
    kind=st.sampled_from([("WAV", s) for s in STEP] + [("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("AIFF", "PCM_16")]),
    size=st.integers(2, 3000),
    seed=st.integers(0, 9),
)
def test_any_lossless_file_round_trips(
    tmp_path: Path, rate: int, channels: int, kind: tuple[str, str], size: int, seed: int
) -> None:
    wav = np.random.default_rng(seed).uniform(-0.9, 0.9, (size, channels)).astype(np.float32)
    wav[:2] = [[-0.5], [0.5]]  # of two samples in eight bits both may be one value, which is silence
    path = write(tmp_path / "a.bin", wav, rate, format=kind[0], subtype=kind[1])
    found = read_audio(path, sampling_rate=rate)
    assert found.shape == (size,)
    assert np.abs(found - wav.mean(axis=1)).max() <= STEP[kind[1]] + 2e-7


def test_stretches_are_cut_to_the_sample(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(16000), subtype="FLOAT")
    whole = read_audio(path)
    np.testing.assert_array_equal(read_audio(path, start=0.1, end=0.25), whole[1600:4000])
    np.testing.assert_array_equal(read_audio(path, start=0.1, end=float("nan")), whole[1600:])
    np.testing.assert_array_equal(read_audio(path, end=0.51), whole)  # bounds of a table are rounded
    mp3 = write(tmp_path / "a.mp3", tone(16000, 2.0))
    np.testing.assert_allclose(read_audio(mp3, start=1.0, end=1.5), read_audio(mp3)[16000:24000], atol=1e-5)


@pytest.mark.parametrize("bounds", [(0.6, None), (0.2, 0.1), (0.2, 0.2), (-0.1, 0.2), (0.0, 0.6), (None, 3.0)])
def test_stretches_outside_the_file_are_refused(tmp_path: Path, bounds: tuple[float | None, float | None]) -> None:
    path = write(tmp_path / "a.wav", tone(16000))
    refused(path, "does not lie in the file, which lasts 0.500 s", start=bounds[0], end=bounds[1])


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.mp3"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.05])
def test_truncated_files_are_refused(tmp_path: Path, name: str, share: float) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 32000).astype(np.float32)
    path = write(tmp_path / name, noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path)


def test_truncated_wav_says_how_much_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(16000))
    path.write_bytes(path.read_bytes()[:8044])
    refused(path, "truncated", "promises 16000 bytes", "8000 are there")
    with pytest.raises(AudioError, match="truncated"):
        probe(path)


def test_truncation_is_seen_behind_a_chunk_of_odd_size(tmp_path: Path) -> None:
    content = write(tmp_path / "a.wav", tone(16000)).read_bytes()
    odd = b"note" + struct.pack("<I", 3) + b"abc\0"  # chunks are padded to even positions
    (tmp_path / "a.wav").write_bytes(content[:36] + odd + content[36:])
    assert len(read_audio(tmp_path / "a.wav")) == 8000
    (tmp_path / "a.wav").write_bytes(content[:36] + odd + content[36:8000])
    refused(tmp_path / "a.wav", "truncated", "promises 16000 bytes")


@pytest.mark.parametrize("data_size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000])
@pytest.mark.parametrize("riff_size", [0, 0xFFFFFFFF, 36])
def test_streamed_wav_headers_are_read_to_the_end(tmp_path: Path, data_size: int, riff_size: int) -> None:
    path = patch_wav(write(tmp_path / "a.wav", tone(16000)), data_size, riff_size)
    assert len(read_audio(path)) == 8000
    assert probe(path).num_samples == 8000


def test_flac_stream_of_unknown_length_is_refused(tmp_path: Path) -> None:
    content = bytearray(write(tmp_path / "a.flac", tone(16000)).read_bytes())
    content[21] &= 0xF0  # STREAMINFO: the last 36 bits in front of the checksum count the samples, 0 is unknown
    content[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(content)
    refused(tmp_path / "a.flac", "does not state its length")


def test_empty_files_are_refused(tmp_path: Path) -> None:
    refused(write(tmp_path / "no_samples.wav", tone(16000)[:0]), "zero length")
    (tmp_path / "no_bytes.wav").touch()
    refused(tmp_path / "no_bytes.wav", "no bytes")
    # an empty data chunk in front of another chunk is empty, not a streaming placeholder
    path = write(tmp_path / "tagged.wav", tone(16000)[:0])
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"INFO")
    size = path.stat().st_size
    refused(patch_wav(path, 0, size - 8), "zero length")


def test_other_files_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere.wav", "not found")
    refused(tmp_path, "not a file")
    (tmp_path / "text.wav").write_text("this is a transcript, not a recording")
    refused(tmp_path / "text.wav", "not audio")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    wav = tone(16000)
    wav[100:103] = bad
    refused(write(tmp_path / "a.wav", wav, subtype="FLOAT"), "3 of 8000 samples are NaN or infinite")


@pytest.mark.parametrize("level", [0.0, 0.25])
def test_silence_must_be_allowed(tmp_path: Path, level: float) -> None:
    path = write(tmp_path / "a.wav", np.full(8000, level, np.float32), 8000)
    refused(path, "digital silence", "data.allow_silent=true")
    assert len(read_audio(path, allow_silent=True)) == 16000


def test_silent_stretch_of_a_good_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.concatenate([tone(16000), np.zeros(8000, np.float32)]))
    refused(path, "digital silence", "0.500 s to 1.000 s", start=0.5, end=1.0)
    assert len(read_audio(path)) == 16000


def test_arrays_pass_the_same_checks() -> None:
    wav = tone(16000).astype(np.float64)
    checked = check_waveform(wav, "mine")
    assert checked.dtype == np.float32
    for bad, why in [
        (np.stack([wav, wav]), "shape"),
        ((wav * 32767).astype(np.int16), "int16"),
        (wav * 32767, "peak"),
        (wav[:0], "0 samples"),
        (np.zeros(100), "digital silence"),
    ]:
        with pytest.raises(AudioError, match=f"^mine: .*{why}"):
            check_waveform(bad, "mine")
    with pytest.raises(AudioError, match="399 samples, at least 400"):
        check_waveform(wav[:399], "mine", min_samples=400)


def test_hash_follows_content_and_bounds(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a.wav", tone(16000)), write(tmp_path / "b.wav", tone(16000))
    other = write(tmp_path / "c.wav", tone(16000, frequency=441))
    assert content_hash(one) == content_hash(two) != content_hash(other)
    assert len(content_hash(one)) == 16
    assert len({content_hash(one), content_hash(one, 0.1, 0.2), content_hash(one, 0.1), content_hash(one, 0.2)}) == 4


def test_seconds_and_samples() -> None:
    assert seconds_to_samples(0.02) == 320 and seconds_to_samples(1.0, 44100) == 44100


def test_crop_is_random_with_a_generator_and_central_without() -> None:
    wav = np.arange(100, dtype=np.float32)
    np.testing.assert_array_equal(crop(wav, 10), np.arange(45, 55))
    starts = {int(crop(wav, 90, np.random.default_rng(seed))[0]) for seed in range(200)}
    assert starts == set(range(11))
    assert crop(wav, 200, np.random.default_rng(0)) is wav


@given(st.integers(1, 5000), st.integers(1, 400), st.data())
def test_windows_cover_everything(num_samples: int, size: int, data: st.DataObject) -> None:
    hop = data.draw(st.integers(1, size))
    found = windows(num_samples, size, hop)
    covered = np.zeros(num_samples, bool)
    for first, last in found:
        assert last - first == min(size, num_samples)
        covered[first:last] = True
    assert covered.all() and len(set(found)) == len(found)
    assert all(b[0] - a[0] <= hop for a, b in itertools.pairwise(found))


def test_windows_refuse_to_skip() -> None:
    with pytest.raises(ValueError, match="hop"):
        windows(100, 10, 11)
