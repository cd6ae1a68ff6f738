"""The sound of videos. Decoding is tested where PyAV (the extra ``video``) is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_toolkit.data.audio.decode import probe, read_audio
from ser_toolkit.data.audio.video import _mono, is_video
from ser_toolkit.data.audio.video_size import cut_off
from ser_toolkit.errors import AudioError


def write_video(path: Path, waves: np.ndarray, rate: int) -> Path:
    """An mp4 file with a black picture and AAC sound, one channel a row of ``waves`` (none without rows)."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    with av.open(str(path), "w") as container:
        film = container.add_stream("mpeg4", rate=25)
        film.width, film.height, film.pix_fmt = 16, 16, "yuv420p"
        sound, layout = None, {2: "stereo", 6: "5.1"}.get(len(waves), "mono")
        if len(waves):
            sound = container.add_stream("aac", rate=rate)
            sound.layout = layout
        container.mux([*film.encode(av.VideoFrame(16, 16, "yuv420p")), *film.encode()])
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(waves.astype(np.float32), format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            container.mux([*sound.encode(frame), *sound.encode()])
    return path


def tone(rate: int, frequency: float = 440.0) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * frequency * np.arange(rate) / rate)


@pytest.mark.parametrize(("rate", "channels"), [(48000, 1), (48000, 2), (16000, 1)])
def test_the_sound_of_a_video_reads_like_any_other(tmp_path: Path, rate: int, channels: int) -> None:
    path = write_video(tmp_path / "dia0_utt0.mp4", np.stack([tone(rate)] * channels), rate)
    info = probe(path)
    assert (info.sampling_rate, info.num_channels) == (rate, 1)
    assert info.duration == pytest.approx(1, abs=0.1)  # AAC works in blocks of 1024 samples
    wav = read_audio(path)
    spectrum = np.abs(np.fft.rfft(wav[2000:14000]))
    assert np.argmax(spectrum) * 16000 / 12000 == pytest.approx(440, abs=2)
    assert np.abs(wav[2000:14000]).max() == pytest.approx(0.4, abs=0.05)
    part = read_audio(path, start=0.25, end=0.5)
    assert len(part) == 4000
    np.testing.assert_allclose(part[500:-500], wav[4500:7500], atol=1e-3)


def test_of_surround_sound_the_centre_is_heard(tmp_path: Path) -> None:
    waves = np.stack([tone(48000, 300)] * 6)
    waves[2] = tone(48000, 440)  # FL FR FC LFE BL BR
    wav = read_audio(write_video(tmp_path / "dia0_utt0.mp4", waves, 48000))
    spectrum = np.abs(np.fft.rfft(wav[2000:14000]))
    assert np.argmax(spectrum) * 16000 / 12000 == pytest.approx(440, abs=2)
    assert spectrum[int(300 * 12000 / 16000)] < 0.05 * spectrum.max()


@pytest.mark.parametrize(
    ("names", "channels", "expected"),
    [
        (["FC"], [[1, 2]], [1, 2]),
        (["FL", "FR"], [[1, 2], [3, 4]], [2, 3]),
        (["FL", "FR", "FC"], [[1, 2], [3, 4], [9, 8]], [9, 8]),
        (["FL", "FR", "FC"], [[1, 2], [3, 4], [5, 5]], [3, 11 / 3]),  # a silent centre
        (["FL", "FR", "BC"], [[1, 2], [3, 4], [5, 6]], [3, 4]),
    ],
)
def test_the_centre_or_the_average(names: list[str], channels: list[list[float]], expected: list[float]) -> None:
    np.testing.assert_allclose(_mono(np.array(channels, np.float32), names), expected)


def test_bad_videos_are_named(tmp_path: Path) -> None:
    mute = write_video(tmp_path / "mute.mp4", np.zeros((0, 0)), 16000)
    with pytest.raises(AudioError, match=r"mute\.mp4: the video has no sound track"):
        read_audio(mute)
    (tmp_path / "text.mp4").write_text("no video at all")
    with pytest.raises(AudioError, match=r"text\.mp4: not a video that can be decoded"):
        probe(tmp_path / "text.mp4")


def test_without_the_extra_the_error_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "dia0_utt0.mp4").write_bytes(b"\x00\x00\x00\x20ftypisom")
    with pytest.raises(AudioError, match=r"ser-toolkit\[video\].*ffmpeg -i dia0_utt0\.mp4"):
        read_audio(tmp_path / "dia0_utt0.mp4")


def test_audio_in_a_file_named_like_a_video_needs_no_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    soundfile.write(tmp_path / "a.mp4", tone(16000), 16000, format="WAV")
    assert is_video(tmp_path / "a.MP4")
    assert len(read_audio(tmp_path / "a.mp4")) == 16000


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.m4a", "aac", {"movflags": "faststart"}),
        ("a.mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.webm", "libopus", {}),
        ("live.webm", "libopus", {"live": "1"}),  # as a browser records: sizes are open
        ("a.mkv", "aac", {}),
        ("a.avi", "libmp3lame", {}),
    ],
)
def test_a_cut_container_is_refused_whatever_it_is(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    path = tmp_path / name
    with av.open(str(path), "w", options=options) as container:
        sound = container.add_stream(codec, rate=16000)
        sound.layout = "mono"
        frame = av.AudioFrame.from_ndarray(tone(16000)[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux([*sound.encode(frame), *sound.encode()])
    content = path.read_bytes()
    assert len(read_audio(path)) == pytest.approx(16000, abs=1500)
    path.write_bytes(content + bytes(16))  # what others append
    assert not cut_off(path)
    for share in (0.95, 0.6, 0.3):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(AudioError, match="truncated"):
            read_audio(path)


def test_an_avi_file_written_into_a_pipe_has_no_size(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    path.write_bytes(b"RIFF\xff\xff\xff\xffAVI LIST" + bytes(100))
    assert not cut_off(path)
