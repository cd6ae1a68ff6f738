"""Disk space and hours that features of a corpus of any size will take, before there is such a corpus."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch

from ser_toolkit.data.reduction import ORDER, Reduction, What
from ser_toolkit.errors import RecipeError
from ser_toolkit.features.estimate import of_frames
from ser_toolkit.features.settings import FeatureSettings, StoredType
from ser_toolkit.upstreams.base import Upstream

#: Parts for which each reduction is enough; ``downstream.branch.reduction`` derives the same from the parts.
ENOUGH_FOR: dict[What, str] = {
    "means": "SUPERB head (weighted sum, linear projection, mean); one layer or concatenation, mean",
    "variances": "one layer or concatenation, statistics (mean and std); means with speaker-normalised variants",
    "covariances": "weighted sum, statistics (mean and std)",
    "frames": "attentive or maximum pooling, ReLU or an encoder before the pooling, heads that judge frames",
}
#: Seconds that a measurement takes, roughly.
PATIENCE = 3.0
_TYPES: tuple[StoredType, StoredType] = ("float32", "float16")


@dataclass(frozen=True)
class StoreForecast:
    """One row of a forecast.

    Args:
        what: stored of the frames.
        float32: bytes on disk.
        float16: bytes on disk; as many as in float32 for moments, which are always float32.
        enough_for: parts behind the upstream that need no more.
    """

    what: What
    float32: float
    float16: float
    enough_for: str


def forecast(upstream: Upstream, hours: float, clip_seconds: float = 4.0) -> list[StoreForecast]:
    """Disk space of the features of so much speech, from the smallest reduction to the frames.

    Args:
        upstream: one that fuses no others.
        hours: of speech.
        clip_seconds: length of an utterance: moments take as much for a short one as for a long one.

    Raises:
        RecipeError: the hours or the clips are not above 0, or a clip is too short for the upstream.
    """
    if not (math.isfinite(hours) and hours > 0 and math.isfinite(clip_seconds) and clip_seconds > 0):
        raise RecipeError(f"Hours ({hours}) and seconds of a clip ({clip_seconds}) should be above 0.")
    utterances = math.ceil(hours * 3600 / clip_seconds)
    frames = float(utterances) * int(upstream.frame_lengths(torch.tensor([_samples(upstream, clip_seconds)])))
    rows = []
    # an utterance that is one vector has nothing less than that
    for what in ORDER if upstream.hop_samples else ("frames",):
        exact, half = (_size(upstream, utterances, frames, what, dtype) for dtype in _TYPES)
        rows.append(StoreForecast(what, exact, half, ENOUGH_FOR[what] if upstream.hop_samples else "everything"))
    return rows


def measured_rate(
    upstream: Upstream,
    clip_seconds: float = 4.0,
    device: torch.device | str = "cpu",
    settings: FeatureSettings | None = None,
    patience: float = PATIENCE,
) -> float:
    """Seconds of audio that go through an upstream in a second, here and now, in batches as extraction makes them.

    Reading the recordings is left out: extraction reads ahead while the upstream is at work.

    Args:
        upstream: runs on noise in clips.
        clip_seconds: length of a clip.
        device: where it runs.
        settings: precision and size of batches; the defaults when None.
        patience: seconds to spend, roughly; a single batch may take longer.

    Raises:
        RecipeError: a clip is too short for the upstream, or it has no such precision.
    """
    settings = settings or FeatureSettings()
    samples = _samples(upstream, clip_seconds)
    running = upstream.at(settings.precision, settings.compile).to(device)
    noise = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(0)).to(device)
    _timed(running, noise, 1)  # the first call also compiles and allocates
    alone = _timed(running, noise, 1)
    clips = max(1, min(int(settings.batch_seconds / clip_seconds), int(patience / alone)))
    if torch.device(device).type == "cuda":
        clips = max(1, int(settings.batch_seconds / clip_seconds))
        _timed(running, noise, clips)
    spent, passed = 0.0, 0.0
    while spent == 0.0 or spent < patience / 2:
        spent += _timed(running, noise, clips)
        passed += clips * clip_seconds
    return passed / spent


def _size(upstream: Upstream, utterances: int, frames: float, what: What, dtype: StoredType) -> float:
    return of_frames(upstream, utterances, 0.0, frames, Reduction(what), dtype).size


def _samples(upstream: Upstream, seconds: float) -> int:
    samples = round(seconds * upstream.sampling_rate)
    if samples < upstream.receptive_samples:
        raise RecipeError(
            f"Clips of {seconds} s are too short for {type(upstream).__name__}, which needs "
            f"{upstream.receptive_samples / upstream.sampling_rate:.3f} s."
        )
    if upstream.longest_samples is not None and samples > upstream.longest_samples:
        raise RecipeError(
            f"Clips of {seconds} s are too long for {type(upstream).__name__}, which takes "
            f"{upstream.longest_samples / upstream.sampling_rate:g} s at most."
        )
    return samples


@torch.inference_mode()
def _timed(upstream: Upstream, noise: torch.Tensor, clips: int) -> float:
    """Seconds that a batch takes."""
    wav = noise.expand(clips, -1).contiguous()
    lengths = torch.full((clips,), wav.shape[1], device=noise.device)
    started = time.perf_counter()
    frames, _ = upstream(wav, lengths)
    float(frames[0, 0, 0, 0])  # a GPU has finished when this number is on the CPU
    return time.perf_counter() - started
