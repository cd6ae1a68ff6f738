"""Independent analysers must find in the audio what the synthesiser was told, and the task must be neither trivial nor
hopeless: otherwise the corpus is no laboratory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.linalg import solve_toeplitz
from scipy.signal import stft
from sklearn.metrics import recall_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from ser_toolkit.corpora.synthesis.synthesiser import AcousticTarget, synthesise
from ser_toolkit.corpora.synthetic import Synthetic

STEADY = AcousticTarget(
    syllables=("ma", "la", "na", "la", "ma"),
    vocal_tract_cm=17.0,
    f0_hz=120.0,
    f0_sd_semitones=0.5,
    syllables_per_second=4.0,
    level_dbfs=-25.0,
    tilt_db=10.0,
    jitter=0.002,
    shimmer=0.01,
    open_quotient=0.6,
    aspiration=0.005,
)


def say(**changes: object) -> np.ndarray:
    return synthesise(replace(STEADY, **changes), np.random.default_rng(0))


def egemaps(corpus: Synthetic, root: Path) -> pd.DataFrame:
    opensmile = pytest.importorskip("opensmile")
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    rows = corpus.utterances(root)
    found = [smile.process_signal(*soundfile.read(root / row.path, dtype="float32")).iloc[0] for row in rows]
    return pd.DataFrame(found, index=[row.id for row in rows])


@pytest.fixture(scope="module")
def corpus() -> Synthetic:
    return Synthetic(utterances_per_class=3)


@pytest.fixture(scope="module")
def rendered(corpus, tmp_path_factory) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Programmed and measured values, by utterance."""
    root = tmp_path_factory.mktemp("recovery")
    return corpus.programmed(root), egemaps(corpus, root)


def correlation(first: pd.Series, second: pd.Series) -> float:
    return float(np.corrcoef(first, second)[0, 1])


def test_opensmile_recovers_mean_and_range_of_f0(rendered):
    programmed, measured = rendered
    f0 = 27.5 * 2 ** (measured["F0semitoneFrom27.5Hz_sma3nz_amean"] / 12)
    assert correlation(f0, programmed.f0_hz) > 0.95
    assert (f0 / programmed.f0_hz - 1).abs().median() < 0.03
    assert correlation(measured["F0semitoneFrom27.5Hz_sma3nz_stddevNorm"], programmed.f0_sd_semitones) > 0.7


def test_opensmile_recovers_tilt(rendered):
    programmed, measured = rendered
    assert correlation(measured["alphaRatioV_sma3nz_amean"], programmed.tilt_db) < -0.6
    assert correlation(measured["hammarbergIndexV_sma3nz_amean"], programmed.tilt_db) > 0.6


def test_opensmile_recovers_jitter(rendered):
    programmed, measured = rendered
    # By rank: where the tracker slips by an octave, its jitter is an outlier.
    assert correlation(measured["jitterLocal_sma3nz_amean"].rank(), programmed.jitter.rank()) > 0.45


def test_opensmile_recovers_level(rendered):
    programmed, measured = rendered
    assert correlation(measured["equivalentSoundLevel_dBp"], programmed.level_dbfs) > 0.98


@pytest.mark.parametrize("f0", [90.0, 140.0, 230.0, 330.0])
def test_pyin_finds_the_programmed_f0(f0):
    pitch, voiced, _ = librosa.pyin(say(f0_hz=f0), fmin=60, fmax=500, sr=16000, hop_length=512)
    assert np.exp(np.log(pitch[voiced]).mean()) == pytest.approx(f0, rel=0.03)


def test_a_shorter_vocal_tract_raises_the_formants():
    def first_formant(tract: float) -> float:
        # A low voice, so that harmonics sample the envelope densely; /a/ has F1 = 730 Hz at 17.5 cm.
        wave = say(syllables=("la",) * 6, f0_hz=60.0, tilt_db=0.0, vocal_tract_cm=tract, aspiration=0.0)
        emphasised = np.append(wave[0], wave[1:] - 0.95 * wave[:-1])
        lags = np.fft.irfft(np.abs(np.fft.rfft(emphasised, 1 << 16)) ** 2)[:19]
        predictor = solve_toeplitz(lags[:-1], lags[1:])
        roots = [root for root in np.roots([1.0, *-predictor]) if root.imag > 0 and abs(root) > 0.9]
        hertz = np.sort(np.angle(roots) * 16000 / (2 * np.pi))
        return float(hertz[hertz > 300][0])

    assert first_formant(17.5) == pytest.approx(730.0, rel=0.12)
    assert first_formant(14.0) / first_formant(17.5) == pytest.approx(17.5 / 14.0, rel=0.08)


def test_tilt_attenuates_3_khz_by_the_programmed_decibels():
    def balance(tilt: float) -> float:
        power = np.abs(np.fft.rfft(say(tilt_db=tilt, aspiration=0.0), 1 << 16)) ** 2
        hertz = np.fft.rfftfreq(1 << 16, 1 / 16000)
        band = [power[(hertz > low) & (hertz < high)].sum() for low, high in ((2800, 3200), (100, 140))]
        return float(10 * np.log10(band[0] / band[1]))

    assert balance(0.0) - balance(12.0) == pytest.approx(12.0, abs=1.5)


def test_moving_formants_make_no_clicks():
    wave = say(syllables=("li", "la", "lu", "li", "la"), tilt_db=20.0, aspiration=0.0)
    # Above 6 kHz a soft voice has next to nothing; a click would stand out there.
    spectrum = np.abs(stft(wave, nperseg=256, noverlap=192)[2])
    high, total = (spectrum[96:] ** 2).sum(axis=0), (spectrum**2).sum(axis=0)
    assert 10 * np.log10(high.max() / total.max()) < -40


def unweighted_recall(features: np.ndarray, labels: np.ndarray, speakers: np.ndarray) -> float:
    model = make_pipeline(StandardScaler(), SVC(kernel="linear", C=0.1))
    found = cross_val_predict(model, features, labels, groups=speakers, cv=LeaveOneGroupOut())
    return 100 * float(recall_score(labels, found, average="macro"))


def plain_and_normalised(features: np.ndarray, labels: np.ndarray, speakers: np.ndarray) -> tuple[float, float]:
    """Unweighted recall of left-out speakers on features (N, D) as they are, and standardised per speaker."""
    table = pd.DataFrame(features)
    groups = table.groupby(speakers)
    normalised = (table - groups.transform("mean")) / (groups.transform("std") + 1e-8)
    plain = unweighted_recall(features, labels, speakers)
    return plain, unweighted_recall(normalised.to_numpy(), labels, speakers)


@pytest.mark.slow
def test_the_default_task_is_neither_trivial_nor_hopeless_and_speakers_matter(tmp_path):
    corpus = Synthetic()
    rows, features = corpus.utterances(tmp_path), egemaps(corpus, tmp_path).to_numpy()
    labels, speakers = np.array([row.label for row in rows]), np.array([row.speaker for row in rows])
    plain, normalised = plain_and_normalised(features, labels, speakers)
    assert 55 < plain < 72
    assert plain + 8 < normalised < 90


@pytest.mark.parametrize(("confounding", "gain"), [(0.0, (5, 30)), (0.75, (-50, -10)), (1.0, (-80, -30))])
def test_speaker_normalisation_helps_until_speakers_and_emotions_are_confounded(confounding, gain):
    # On the programmed cues themselves: what an ideal analyser would measure.
    corpus = Synthetic(num_speakers=24, utterances_per_class=6, speaker_emotion_confounding=confounding)
    lines = corpus._script()
    cues = np.array([line.expression.cues for line in lines])
    labels, speakers = np.array([line.emotion for line in lines]), np.array([line.number for line in lines])
    plain, normalised = plain_and_normalised(cues, labels, speakers)
    assert gain[0] < normalised - plain < gain[1]
