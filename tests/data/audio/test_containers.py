"""Cut and chained files: libsndfile decodes what is there of them in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_toolkit.data.audio.decode import probe, read_audio
from ser_toolkit.data.audio.ogg import partly_read
from ser_toolkit.errors import AudioError

#: Seconds enough for several pages of each Ogg stream.
WAVE = np.random.default_rng(0).uniform(-0.3, 0.3, 48000).astype(np.float32)
KINDS = [
    *[("ogg", "OGG", "VORBIS"), ("opus", "OGG", "OPUS"), ("oga", "OGG", "VORBIS"), ("rf64", "RF64", None)],
    *[("w64", "W64", None), ("au", "AU", None), ("caf", "CAF", None), ("sph", "NIST", None), ("voc", "VOC", None)],
    *[("aifc", "AIFF", None), ("flac", "FLAC", None), ("mp3", "MP3", None), ("wav", "WAV", "GSM610")],
]


def written(path: Path, form: str, subtype: str | None, wave: np.ndarray = WAVE) -> bytes:
    soundfile.write(path, wave, 16000, format=form, subtype=subtype)
    return path.read_bytes()


@pytest.mark.parametrize(("suffix", "form", "subtype"), KINDS)
def test_a_whole_file_is_read_and_a_cut_one_is_not(tmp_path: Path, suffix: str, form: str, subtype: str | None) -> None:
    path = tmp_path / f"a.{suffix}"
    content = written(path, form, subtype)
    assert abs(len(read_audio(path)) - len(WAVE)) < 400
    for share in (0.95, 0.6, 0.3):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(AudioError, match=r"a\.\w+: (truncated|damaged|not audio)"):
            read_audio(path)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_file_that_ends_between_two_pages_lacks_its_last_one(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "a.ogg"
    content = written(path, "OGG", subtype)
    path.write_bytes(content[: content.rfind(b"OggS")])
    with pytest.raises(AudioError, match=r"truncated, its last page has no end-of-stream flag.*ffmpeg -i a\.ogg"):
        probe(path)
    path.write_bytes(content + b"TAG" + bytes(125))  # what taggers of other formats append
    assert partly_read(path) is None


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_of_chained_recordings_the_first_alone_would_be_read(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "a.ogg"
    path.write_bytes(written(path, "OGG", subtype) + written(tmp_path / "b.ogg", "OGG", subtype, WAVE[:16000]))
    with pytest.raises(AudioError, match="several recordings one behind the other"):
        read_audio(path)


def test_streams_side_by_side_are_no_chain(tmp_path: Path) -> None:
    """A second logical stream (of captions, say) begins before the first one goes on, and ends where it likes."""
    path = tmp_path / "a.ogg"
    content = written(path, "OGG", "VORBIS")
    other = bytearray(content[: 27 + 1 + 30])  # the first page: one segment of 30 bytes
    other[14:18] = (int.from_bytes(content[14:18], "little") ^ 1).to_bytes(4, "little")
    begin, end = bytes(other), bytes([*other[:5], 0x04, *other[6:]])
    path.write_bytes(begin + content + end)
    assert partly_read(path) is None
    path.write_bytes(begin + content)
    assert partly_read(path) is not None


@pytest.mark.corpus
def test_real_ogg_files_are_whole(corpora_root: Path) -> None:
    files = sorted((corpora_root / "CREMA-D-more").rglob("*.ogg"))
    if not files:
        pytest.skip("CREMA-D-more is not here")
    assert [file for file in files if partly_read(file) is not None] == []
