"""A recogniser says what its model says by hand, for files and arrays, alone and in batches."""

from __future__ import annotations

import copy
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_run import CLASSES, TinyRun, answer, by_hand, make_run, voices
from tiny_upstream import LONGEST

import ser_toolkit
from ser_toolkit.data.audio.decode import resample
from ser_toolkit.data.batch import Frames, Vectors, pad_sequences
from ser_toolkit.errors import AudioError, RecipeError
from ser_toolkit.features.normalise import SpeakerNormalised
from ser_toolkit.inference.ensemble import Ensemble
from ser_toolkit.inference.prediction import Prediction
from ser_toolkit.inference.recognizer import Recognizer, load_model
from ser_toolkit.inference.stored import build_models, units_of_run

FINE_TUNED = ("model.upstream=tiny_upstream.TinyUpstream", "model.normalisation=none")


def numbers(prediction: Prediction) -> np.ndarray:
    """Probabilities, then dimensions."""
    values = list((prediction.probabilities or {}).values())
    return np.array(values + list((prediction.dimensions or {}).values()))


def test_file_array_and_forward_by_hand_agree(run: TinyRun, one: Recognizer, recordings: list[Path]) -> None:
    wav = voices(5)[2]
    probabilities, dimensions = by_hand(run.models["plain", "03"], wav)
    from_file, from_array = one.predict(recordings[2]), one.predict(wav, sampling_rate=16000)
    assert from_file == from_array == one.predict(str(recordings[2]))
    assert tuple(from_file.probabilities or ()) == CLASSES == one.classes
    assert list(from_file.dimensions or ()) == ["valence", "arousal", "dominance"]
    assert numbers(from_file) == pytest.approx(np.concatenate([probabilities, dimensions]), rel=1e-6)
    assert from_file.label == CLASSES[int(probabilities.argmax())]
    assert from_file.duration == pytest.approx(len(wav) / 16000) and from_file.windows == 1


def test_an_ensemble_is_the_mean_of_its_folds(
    run: TinyRun, one: Recognizer, ensemble: Recognizer, recordings: list[Path]
) -> None:
    other = load_model(run.path, fold="08")
    singles = [numbers(recognizer.predict(recordings[1])) for recognizer in (one, other)]
    assert np.abs(singles[0] - singles[1]).max() > 1e-3
    assert numbers(ensemble.predict(recordings[1])) == pytest.approx(np.mean(singles, axis=0), rel=1e-6)


def test_frozen_upstream_is_held_and_run_once(
    run: TinyRun, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ser_toolkit.upstreams.spectral import Spectral

    calls: list[int] = []
    extract = Spectral.extract
    monkeypatch.setattr(Spectral, "extract", lambda self, *a: calls.append(id(self)) or extract(self, *a))
    load_model(run.path).predict(recordings[0])
    assert len(calls) == 1


def test_alone_equals_in_a_batch_and_order_is_kept(ensemble: Recognizer, recordings: list[Path]) -> None:
    mixed = [recordings[index] for index in (3, 0, 4, 2, 1, 0)]
    alone = [numbers(ensemble.predict(path)) for path in mixed]
    for batch_seconds in (0.1, 1.3, 60.0):
        together = list(ensemble.predict_many(mixed, batch_seconds=batch_seconds))
        assert [path for path, _ in together] == mixed
        for expected, (_, prediction) in zip(alone, together, strict=True):
            assert numbers(prediction) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_predict_many_is_lazy(one: Recognizer, recordings: list[Path]) -> None:
    endless = one.predict_many(itertools.cycle(recordings), batch_seconds=1.0)
    assert len(list(itertools.islice(endless, 7))) == 7


def test_windows_are_averaged(run: TinyRun, one: Recognizer) -> None:
    wav = voices(1, seconds=1.2)[0]
    parts = [wav[:8000], wav[8000:16000], wav[-8000:]]
    expected = np.mean([np.concatenate(by_hand(run.models["plain", "03"], part)) for part in parts], axis=0)
    prediction = one.predict(wav, 16000, window_seconds=0.5)
    assert prediction.windows == 3
    assert numbers(prediction) == pytest.approx(expected, rel=1e-5)
    assert one.predict(wav, 16000).windows == one.predict(wav, 16000, window_seconds=1.2).windows == 1


def test_more_than_a_minute_is_cut_unless_the_user_says_otherwise(one: Recognizer) -> None:
    wav = np.tile(voices(1, seconds=1.0)[0], 61)
    assert one.predict(wav, 16000).windows == 3
    assert one.predict(wav[: 60 * 16000], 16000).windows == 1
    assert one.predict(wav, 16000, window_seconds=math.inf).windows == 1


def test_a_run_tested_on_windows_keeps_them(tmp_path: Path) -> None:
    recognizer = load_model(make_run(tmp_path, "data.eval_window_seconds=0.5").path, fold=1)
    assert recognizer.predict(voices(1, seconds=1.2)[0], 16000).windows == 3


@pytest.mark.parametrize("layout", ["channels first", "channels last", "one channel", "float64"])
def test_channels_are_averaged(one: Recognizer, layout: str) -> None:
    left, right = voices(1)[0], voices(1, seed=1)[0]
    arrays = {
        "channels first": np.stack([left, right]),
        "channels last": np.stack([left, right], axis=1),
        "one channel": ((left + right) / 2)[None],
        "float64": (left.astype(float) + right) / 2,
    }
    expected = one.predict((left + right) / 2, 16000)
    assert numbers(one.predict(arrays[layout], 16000)) == pytest.approx(numbers(expected), rel=1e-5)


def test_arrays_of_another_rate_are_resampled(one: Recognizer) -> None:
    wav = voices(1, seconds=1.0)[0]
    at_8k = one.predict(wav, 8000)
    assert at_8k.duration == pytest.approx(2.0, abs=1e-3)
    assert numbers(at_8k) == pytest.approx(numbers(one.predict(resample(wav, 8000, 16000), 16000)))


@pytest.mark.parametrize(
    ("array", "rate", "words"),
    [
        (np.full(8000, 3, dtype=np.int16), 16000, "Divide int16 by 32768"),
        (np.zeros((2, 8000), dtype=np.int16), 16000, "Divide int16 by 32768"),
        (np.ones(8000), None, "sampling_rate=16000"),
        (np.ones(8000), 0, "sampling_rate is 0"),
        (np.ones((300, 400)), 16000, "unclear which axis"),
        (np.ones((2, 2)), 16000, "unclear which axis"),
        (np.ones((2, 3, 4)), 16000, "shape"),
        (np.zeros(8000), 16000, "digital silence"),
        (np.append(np.ones(8000), np.nan), 16000, "NaN"),
        (np.linspace(-1, 1, 100), 16000, "at least 257 are needed"),
    ],
)
def test_arrays_that_cannot_be_speech_are_refused(
    one: Recognizer, array: np.ndarray, rate: int | None, words: str
) -> None:
    with pytest.raises(AudioError, match=words):
        one.predict(array, rate)


def test_a_file_states_its_own_rate(one: Recognizer, recordings: list[Path]) -> None:
    with pytest.raises(AudioError, match="states its own"):
        one.predict(recordings[0], sampling_rate=8000)


def test_errors_are_raised_behind_what_came_before_or_kept(
    one: Recognizer, recordings: list[Path], tmp_path: Path
) -> None:
    short = tmp_path / "short.wav"
    soundfile.write(short, np.linspace(-0.5, 0.5, 50), 16000)
    paths = [recordings[0], tmp_path / "missing.wav", recordings[1], short]
    done = []
    with pytest.raises(AudioError, match=r"missing\.wav"):
        for path, _ in one.predict_many(paths):
            done.append(path)
    assert done == [recordings[0]]
    kept = dict(one.predict_many(paths, on_error="keep"))
    assert isinstance(kept[short], AudioError) and "short.wav" in str(kept[short])
    assert isinstance(kept[paths[1]], AudioError)
    good = kept[recordings[1]]
    assert isinstance(good, Prediction)
    assert numbers(good) == pytest.approx(numbers(one.predict(recordings[1])), rel=1e-5)


@pytest.mark.parametrize("option", [{"on_error": "skip"}, {"batch_seconds": 0}, {"window_seconds": 0.001}])
def test_options_without_meaning_are_refused_at_once(one: Recognizer, option: dict) -> None:
    with pytest.raises(RecipeError):
        one.predict_many([], **option)


def test_fine_tuned_upstreams_are_each_folds_own_and_refusals_stay_single(tmp_path: Path) -> None:
    run = make_run(tmp_path, *FINE_TUNED)
    recognizer = load_model(run.path)
    wavs = [voices(1)[0], 0.1 * np.ones(LONGEST + 50, dtype=np.float32), voices(1, seed=2)[0]]
    wavs[1][::2] = -0.1
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path, wav in zip(paths, wavs, strict=True):
        soundfile.write(path, wav, 16000, subtype="FLOAT")
    results = [result for _, result in recognizer.predict_many(paths, on_error="keep")]
    assert isinstance(results[1], AudioError) and "1.wav" in str(results[1]) and "longer than" in str(results[1])
    for number in (0, 2):
        folds = [np.concatenate(by_hand(model, wavs[number])) for model in run.models.values()]
        assert np.abs(folds[0] - folds[1]).max() > 1e-3
        result = results[number]
        assert isinstance(result, Prediction)
        assert numbers(result) == pytest.approx(np.mean(folds, axis=0), rel=1e-5)


def test_outputs_that_were_not_trained_are_not_shown(tmp_path: Path, recordings: list[Path]) -> None:
    run = make_run(tmp_path, "model.objective=CrossEntropy")
    prediction = load_model(run.path, fold=1).predict(recordings[0])
    assert prediction.dimensions is None and prediction.probabilities is not None


def test_a_model_of_dimensions_only_has_no_label(tmp_path: Path, recordings: list[Path]) -> None:
    recipe = "model.head=RegressionHead", "model.objective=ConcordanceLoss"
    prediction = load_model(make_run(tmp_path, *recipe).path).predict(recordings[0])
    assert prediction.label is None and prediction.probabilities is None
    assert list(prediction.dimensions or ()) == ["valence", "arousal", "dominance"]


# --- speaker-normalised variants ----------------------------------------------------------------------------------


def extracted(run: TinyRun, key: tuple[str, str], wavs: list[np.ndarray]) -> dict:
    """Frames (L, T, D) by number."""
    upstream = run.models[key].upstream
    return {str(number): upstream(*pad_sequences([torch.from_numpy(wav)]))[0][0] for number, wav in enumerate(wavs)}


def test_enrolment_equals_speaker_normalised_frames_by_hand(run: TinyRun, recordings: list[Path]) -> None:
    frames = extracted(run, ("transductive", "08"), voices(5))
    speaker_of = dict.fromkeys(frames, "anna")
    view = SpeakerNormalised(frames, speaker_of, {"anna": ["1", "2", "3"]})
    stream = Frames(*pad_sequences([view["0"]], dim=1))
    expected = np.concatenate(answer(run.models["transductive", "08"], stream))
    recognizer = load_model(run.path, "08", "transductive")
    anna = recognizer.enrol(recordings[1:4])
    assert numbers(anna.predict(recordings[0])) == pytest.approx(expected, rel=1e-5)
    assert recognizer.predict(recordings[0], enrolment=recordings[1:4]) == anna.predict(recordings[0])
    folds = [load_model(run.path, fold, "transductive").enrol(recordings[1:4]) for fold in ("03", "08")]
    both = load_model(run.path, variant="transductive").enrol(recordings[1:4]).predict(recordings[0])
    mean = np.mean([numbers(fold.predict(recordings[0])) for fold in folds], axis=0)
    assert numbers(both) == pytest.approx(mean, rel=1e-5)


def test_enrolment_equals_speaker_normalised_vectors_by_hand(tmp_path: Path, recordings: list[Path]) -> None:
    level = "variants=[{class_path: Transductive, init_args: {level: utterance}}]"
    run = make_run(tmp_path, level, "model.normalisation=embedding", "model.layer_mix=SingleLayer",
                   variants=("transductive-utterance",))  # fmt: skip
    key = ("transductive-utterance", "03")
    frames = extracted(run, key, voices(5))
    vectors = {name: run.models[key].network.vector(one)[None, None] for name, one in frames.items()}
    view = SpeakerNormalised(vectors, dict.fromkeys(vectors, "anna"), {"anna": ["1", "2", "3"]})
    expected = np.concatenate(answer(run.models[key], Vectors(view["0"][0])))
    recognizer = load_model(run.path, "03", "transductive-utterance")
    assert numbers(recognizer.enrol(recordings[1:4]).predict(recordings[0])) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(RecipeError, match="two recordings"):
        recognizer.enrol(recordings[:1])


def test_a_variant_needs_enrolment_and_the_plain_one_takes_none(
    run: TinyRun, one: Recognizer, recordings: list[Path]
) -> None:
    with pytest.raises(RecipeError, match="enrolment"):
        load_model(run.path, variant="transductive").predict(recordings[0])
    with pytest.raises(RecipeError, match="plain variant"):
        one.predict(recordings[0], enrolment=recordings[1:])
    with pytest.raises(RecipeError, match="list of recordings"):
        load_model(run.path, variant="transductive").enrol([])


def test_load_model_is_at_the_top() -> None:
    assert ser_toolkit.load_model is load_model


def test_upstreams_of_two_rates_are_not_averaged(run: TinyRun) -> None:
    models = build_models(units_of_run(run.path)).models
    models[-1] = copy.deepcopy(models[-1])
    models[-1].upstream.sampling_rate = 8000
    with pytest.raises(RecipeError, match="8000 and 16000 Hz"):
        Ensemble(models, torch.device("cpu"))
    models[-1].upstream.sampling_rate, models[-1].upstream.receptive_samples = 16000, 9999
    assert Ensemble(models, torch.device("cpu")).min_samples == 9999
