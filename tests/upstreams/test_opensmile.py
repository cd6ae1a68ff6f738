"""openSMILE: equal to the package's own table, frame counts, short and broken recordings, a missing package."""

from __future__ import annotations

import pickle
import signal
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from ser_toolkit.errors import AudioError, RecipeError
from ser_toolkit.upstreams.opensmile import OpenSmile

opensmile = pytest.importorskip("opensmile")


def test_functionals_equal_the_packages_own_table(voice: np.ndarray) -> None:
    upstream = OpenSmile()
    wav = torch.zeros(2, 16000)
    wav[0] = torch.from_numpy(voice)
    wav[1, :9001] = torch.from_numpy(voice[:9001])
    frames, lengths = upstream(wav, torch.tensor([16000, 9001]))
    assert frames.shape == (2, 1, 1, 88)
    assert lengths.tolist() == [1, 1]
    table = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    for row, size in enumerate((16000, 9001)):
        expected = table.process_signal(voice[:size], 16000)
        assert upstream.feature_names == list(expected.columns)
        np.testing.assert_array_equal(frames[row, 0].numpy(), expected.to_numpy(np.float32))


def test_functionals_know_the_pitch_and_are_on_the_right_scale(voice: np.ndarray) -> None:
    upstream = OpenSmile()
    frames, _ = upstream(torch.from_numpy(voice)[None], torch.tensor([16000]))
    value = dict(zip(upstream.feature_names, frames[0, 0, 0].tolist(), strict=True))
    # the fixture's F0 is 120 Hz +- 10 %; eGeMAPS counts semitones above 27.5 Hz
    assert value["F0semitoneFrom27.5Hz_sma3nz_amean"] == pytest.approx(12 * np.log2(120 / 27.5), abs=0.5)


@pytest.mark.parametrize(("feature_set", "dim"), [("eGeMAPSv02", 25), ("GeMAPSv01b", 18), ("emobase", 26)])
def test_low_level_descriptors_have_the_frames_that_are_promised(feature_set: str, dim: int, voice: np.ndarray) -> None:
    upstream = OpenSmile(feature_set, level="lld")  # type: ignore[arg-type]
    assert (upstream.hop_samples, upstream.feature_dim) == (160, dim)
    for size in (upstream.receptive_samples, 1119, 1120, 1121, 8000):
        frames, lengths = upstream(torch.from_numpy(voice[:size])[None], torch.tensor([size]))
        assert int(lengths) == frames.shape[2] == int(upstream.frame_lengths(torch.tensor([size])))


@pytest.mark.parametrize(("feature_set", "dim"), [("GeMAPSv01b", 62), ("ComParE_2016", 6373), ("emobase", 988)])
def test_functionals_need_what_is_promised_and_no_more(feature_set: str, dim: int, voice: np.ndarray) -> None:
    upstream = OpenSmile(feature_set)  # type: ignore[arg-type]
    shortest = upstream.receptive_samples
    wav = torch.from_numpy(voice[:shortest])[None]
    assert upstream(wav, torch.tensor([shortest]))[0].shape == (1, 1, 1, dim)
    with pytest.raises(AudioError, match=f"at least {shortest} samples"):
        upstream(wav, torch.tensor([shortest - 1]))
    with pytest.warns(UserWarning, match="too short"):
        assert np.isnan(upstream._smile(voice[: shortest - 1], 16000)).all()


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("level", ["functionals", "lld"])
def test_another_rate_is_what_the_package_gives_at_it(rate: int, level: str, voice: np.ndarray) -> None:
    upstream = OpenSmile(level=level, sampling_rate=rate)  # type: ignore[arg-type]
    assert upstream.receptive_samples == round(0.06 * rate) and upstream.hop_samples in (0, rate // 100)
    wave = np.tile(voice, 1 + rate // 16000)
    levels = opensmile.FeatureLevel
    table = opensmile.Smile(
        opensmile.FeatureSet.eGeMAPSv02, levels.Functionals if level == "functionals" else levels.LowLevelDescriptors
    )
    for size in (upstream.receptive_samples, rate // 10 + 7, rate // 2 - 1, rate):
        frames, counts = upstream(torch.from_numpy(wave[:size])[None], torch.tensor([size]))
        assert int(counts) == int(upstream.frame_lengths(torch.tensor([size])))
        np.testing.assert_array_equal(
            frames[0, 0].numpy(), table.process_signal(wave[:size], rate).to_numpy(np.float32)
        )
    assert str(rate) in upstream.fingerprint() and "Hz" not in OpenSmile(sampling_rate=16000).fingerprint()


@pytest.mark.parametrize("rate", [22050, 0, 4000])
def test_a_rate_without_whole_frames_is_refused(rate: int) -> None:
    with pytest.raises(RecipeError, match="multiple of 100"):
        OpenSmile(sampling_rate=rate)


def test_silence_is_finite_and_nan_is_refused() -> None:
    upstream = OpenSmile()
    assert upstream(torch.zeros(1, 8000), torch.tensor([8000]))[0].isfinite().all()
    with pytest.raises(AudioError, match="not finite numbers"):
        upstream(torch.full((1, 8000), torch.nan), torch.tensor([8000]))


def test_a_feature_without_a_finite_value_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = OpenSmile()
    values = np.zeros((1, 88, 1))
    values[0, 3] = np.inf
    monkeypatch.setattr(upstream, "_smile", _Answer(upstream.feature_names, values))
    with pytest.raises(AudioError, match=f"1 of 88 features .first {upstream.feature_names[3]}"):
        upstream(torch.zeros(1, 8000), torch.tensor([8000]))


class _Answer:
    """Stands for openSMILE and always says the same."""

    def __init__(self, feature_names: list[str], values: np.ndarray) -> None:
        self.feature_names, self.values = feature_names, values

    def __call__(self, signal: np.ndarray, sampling_rate: int) -> np.ndarray:
        return self.values


def test_full_scale_and_beyond_do_not_wrap_around(voice: np.ndarray) -> None:
    loud = torch.from_numpy(voice / voice.max())[None].clamp(min=-1)
    upstream, lengths = OpenSmile(), torch.tensor([16000])
    for wave in (loud, 1.5 * loud):
        assert wave.max() >= 1
        clipped = upstream(wave.clamp(-1, 32767 / 32768), lengths)[0]
        torch.testing.assert_close(upstream(wave, lengths)[0], clipped, rtol=0, atol=0)


def test_missing_package_names_the_extra_and_its_licence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(RecipeError, match=r"pip install 'ser-toolkit\[opensmile\]'.*licence"):
        OpenSmile()


def test_unknown_names_are_refused() -> None:
    with pytest.raises(RecipeError, match="eGeMAPSv02"):
        OpenSmile("eGeMAPS")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="functionals or lld"):
        OpenSmile(level="frames")  # type: ignore[arg-type]


def test_fingerprints_differ_by_set_and_level() -> None:
    prints = {OpenSmile(s, level).fingerprint() for s in ("eGeMAPSv02", "emobase") for level in ("functionals", "lld")}
    assert len(prints) == 4
    assert OpenSmile().fingerprint() in prints


def test_it_survives_the_way_into_a_worker_process(voice: np.ndarray) -> None:
    upstream = OpenSmile()
    wav, lengths = torch.from_numpy(voice)[None], torch.tensor([16000])
    copy = pickle.loads(pickle.dumps(upstream))
    torch.testing.assert_close(copy(wav, lengths)[0], upstream(wav, lengths)[0], rtol=0, atol=0)


@pytest.mark.parametrize("level", ["functionals", "lld"])
def test_ctrl_c_in_the_c_library_loses_no_frame_and_is_answered_behind_it(
    level: str, voice: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream, returned = OpenSmile(level=level), []  # type: ignore[arg-type]
    wav, lengths = torch.from_numpy(voice)[None], torch.tensor([16000])
    expected = upstream(wav, lengths)[0]
    plain, smile = opensmile.Smile._sink_callback, upstream._smile

    def pressed(*lists: list) -> Callable:
        callback = plain(*lists)

        def write(data: np.ndarray, meta: object) -> None:
            if not returned:
                signal.raise_signal(signal.SIGINT)
            callback(data, meta)

        return write

    def called(*given: object) -> np.ndarray:
        found = smile(*given)  # type: ignore[arg-type]
        returned.append(found)
        return found

    monkeypatch.setattr(opensmile.Smile, "_sink_callback", staticmethod(pressed))
    monkeypatch.setattr(upstream, "_smile", called)
    with pytest.raises(KeyboardInterrupt):
        upstream(wav, lengths)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    np.testing.assert_array_equal(returned[0][0].T, expected[0, 0].numpy())  # the call had ended, with every frame
    torch.testing.assert_close(upstream(wav, lengths)[0], expected, rtol=0, atol=0)


def test_a_frame_that_is_lost_all_the_same_is_noticed(voice: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = OpenSmile(level="lld")
    monkeypatch.setattr(upstream, "_smile", lambda *given: np.zeros((1, 25, 95)))
    with pytest.raises(AudioError, match=r"returned 95 of 96 frames of a recording of 16000 samples"):
        upstream(torch.from_numpy(voice)[None], torch.tensor([16000]))
