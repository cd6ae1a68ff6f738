"""One model or several: waveforms -> the mean of their probabilities and dimensions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ser_toolkit.data.audio.decode import windows
from ser_toolkit.data.batch import (
    CONDITION,
    DIMENSIONS,
    MISSING_LABEL,
    Batch,
    Stored,
    Stream,
    Targets,
    Vectors,
    Waves,
    pad_sequences,
    stack_stored,
)
from ser_toolkit.data.conditions import condition_vector
from ser_toolkit.downstream.heads import trained_outputs
from ser_toolkit.errors import AudioError, RecipeError
from ser_toolkit.features.normalise import Statistics, parallel_statistics, standardised
from ser_toolkit.model.network import EmotionNetwork

#: A speaker's statistics: of each upstream's frames, or of the pooled vectors.
SpeakerStatistics = tuple[Statistics, ...]


def predicted_by(
    models: Sequence[EmotionNetwork], trained: Collection[str] | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Classes and dimensions that models predict: a head may give more than was trained, which is random numbers.

    Args:
        models: with the same class order and objective.
        trained: outputs that their objective looked at; None takes all that their heads give. Of the dimensions, those
            count of which every model had ratings in training.
    """
    given = models[0].head.outputs
    found = given if trained is None else trained_outputs(given, trained)
    rated = tuple(name for name in DIMENSIONS if all(name in model.trained_dimensions for model in models))
    return models[0].classes if "logits" in found else (), rated if "dimensions" in found else ()


class Ensemble:
    """Models whose outputs are averaged, in evaluation mode and without gradients.

    Models that hold the same upstream object one behind the other get its frames from one run of it.

    Args:
        models: at least one; all with the same class order and objective.
        device: where they run.
        speaker_level: what a speaker's statistics standardise: the frames of each layer, or the pooled vectors.
        trained: outputs that the models' objective looked at; None takes all that their heads give.
    """

    def __init__(
        self,
        models: Sequence[EmotionNetwork],
        device: torch.device,
        speaker_level: Literal["frames", "utterance"] = "frames",
        trained: Collection[str] | None = None,
    ) -> None:
        rates = sorted({model.upstream.sampling_rate for model in models})
        if len(rates) > 1:  # folds may choose upstreams of their own
            raise RecipeError(
                f"The upstreams of these models hear {' and '.join(map(str, rates))} Hz, so no recording goes to "
                "all of them. Choose the model of one fold: fold=NAME."
            )
        self._models = [model.to(device).eval() for model in models]
        self._device = device
        self.speaker_level = speaker_level
        self.classes, self.dimensions = predicted_by(models, trained)
        self._columns = [DIMENSIONS.index(name) for name in self.dimensions]

    def __len__(self) -> int:
        """Number of models in the ensemble."""
        return len(self._models)

    @property
    def sampling_rate(self) -> int:
        """Sampling rate of the waveforms, in hertz."""
        return self._models[0].upstream.sampling_rate

    @property
    def min_samples(self) -> int:
        """The shortest waveform that can be used."""
        return max(model.upstream.receptive_samples for model in self._models)

    @property
    def max_samples(self) -> int | None:
        """The longest waveform that can be used as a whole; None: any."""
        found = [model.upstream.longest_samples for model in self._models]
        return min((most for most in found if most is not None), default=None)

    def within_limit_seconds(self, window_seconds: float | None) -> float | None:
        """Length of windows, cut to the longest that can be used, in seconds; None stays None."""
        if window_seconds is None or self.max_samples is None:
            return window_seconds
        return min(window_seconds, self.max_samples / self.sampling_rate)

    def within_limit(self, wav: np.ndarray) -> list[np.ndarray]:
        """A waveform (N,), or the windows that cover it where it is longer than ``max_samples``."""
        size = self.max_samples or len(wav)
        return [wav[start:end] for start, end in windows(len(wav), size, size)]

    def run(
        self,
        waves: Sequence[np.ndarray],
        max_samples: float,
        speaker: Sequence[SpeakerStatistics] | None = None,
        known: Mapping[str, str] | None = None,
    ) -> list[np.ndarray | AudioError]:
        """Outputs of many waveforms, those of similar length together.

        Args:
            waves: each (N,) float32.
            max_samples: padded samples in a batch, at most (one waveform may have more).
            speaker: result of ``statistics``, for each model, when features are standardised per speaker.
            known: what is known of all of them besides the sound ("sex": "female"), for models that are conditioned.

        Returns:
            For each waveform (C + D,): mean probabilities, then the mean of each of ``dimensions``, as far as there
            are any; or why the upstream refuses it.
        """
        order = sorted(range(len(waves)), key=lambda row: len(waves[row]))
        found: dict[int, np.ndarray | AudioError] = {}
        for rows in _batches(order, waves, max_samples):
            found.update(zip(rows, self._try([waves[row] for row in rows], speaker, known or {}), strict=True))
        return [found[row] for row in range(len(waves))]

    def check_known(self, known: Mapping[str, str]) -> None:
        """Refuse facts that the models are not conditioned on.

        Raises:
            RecipeError: a key or a value is unknown to them.
        """
        for model in self._models:
            condition_vector(model.conditions, known)

    @torch.no_grad()
    def statistics(self, waves: Sequence[np.ndarray]) -> list[SpeakerStatistics]:
        """Mean and standard deviation over a speaker's waveforms, each (N,), for each model.

        Statistics are of frames, (L, D), or of pooled vectors, (1, E), by ``speaker_level``.
        """
        found: list[SpeakerStatistics] = []
        for index, model in enumerate(self._models):
            if self._same_upstream(index) and self.speaker_level == "frames":
                found.append(found[-1])
                continue
            frames = (self._frames(model, [wav])[0] for wav in waves)
            pooled = self.speaker_level == "utterance"
            found.append(parallel_statistics(_vector(model, one) if pooled else one for one in frames))
        return found

    def _try(
        self, waves: list[np.ndarray], speaker: Sequence[SpeakerStatistics] | None, known: Mapping[str, str]
    ) -> list[np.ndarray | AudioError]:
        """Outputs of a batch; when the upstream refuses one of its recordings, each is run alone."""
        try:
            outputs = self._outputs(waves, speaker, known)
        except AudioError as error:
            if len(waves) == 1:
                return [error]
            return [result for wav in waves for result in self._try([wav], speaker, known)]
        broken = AudioError("the model gives no finite number for this recording; leave it out.")
        return [row if np.isfinite(row).all() else broken for row in outputs]

    @torch.no_grad()
    def _outputs(
        self, waves: Sequence[np.ndarray], speaker: Sequence[SpeakerStatistics] | None, known: Mapping[str, str]
    ) -> np.ndarray:
        """Waveforms, each (N,) -> (B, C + D)."""
        total = np.zeros((len(waves), len(self.classes) + len(self.dimensions)))
        frames: list[Stored] = []
        for index, model in enumerate(self._models):
            if not self._same_upstream(index):
                frames = self._frames(model, waves)
            streams = self._streams(model, frames, None if speaker is None else speaker[index])
            if model.conditions:
                streams[CONDITION] = Vectors(condition_vector(model.conditions, known).expand(len(waves), -1))
            outputs = model(_batch(streams, len(waves)).to(self._device))
            parts = [outputs.logits.float().softmax(dim=1)] if self.classes else []
            parts += [outputs.dimensions.float()[:, self._columns]] if self.dimensions else []
            total += torch.cat(parts, dim=1).cpu().numpy()
        return total / len(self._models)

    def _streams(
        self, model: EmotionNetwork, frames: Sequence[Stored], speaker: SpeakerStatistics | None
    ) -> dict[str, Stream]:
        """Frames, each (L, T, D) for each upstream -> streams that the model takes."""
        if speaker is None:
            return stack_stored(frames)
        if self.speaker_level == "frames":
            return stack_stored([standardised(one, speaker) for one in frames])
        vectors = [speaker[0].apply(_vector(model, one)) for one in frames]
        return stack_stored([vector[0, 0] for vector in vectors if isinstance(vector, Tensor)])

    def _frames(self, model: EmotionNetwork, waves: Sequence[np.ndarray]) -> list[Stored]:
        """Waveforms, each (N,) -> frames, each (L, T, D) for each upstream."""
        padded = Waves(*pad_sequences([torch.from_numpy(wav) for wav in waves])).to(self._device)
        rows = []
        for stream in model.upstream_frames(padded):
            rows.append([row[:, :n] for row, n in zip(stream.values, stream.lengths.tolist(), strict=True)])
        return [found if len(found) > 1 else found[0] for found in zip(*rows, strict=True)]

    def _same_upstream(self, index: int) -> bool:
        """Whether a model takes the frames that the model before it takes."""
        if index == 0:
            return False
        before, model = self._models[index - 1], self._models[index]
        normalised = [[reduction.layer_norm for reduction in one.reductions] for one in (before, model)]
        return model.upstream is before.upstream and normalised[0] == normalised[1]


def _batches(order: Sequence[int], waves: Sequence[np.ndarray], max_samples: float) -> Iterator[list[int]]:
    """Rows in batches within a budget of padded samples; ``order`` goes from the shortest to the longest."""
    batch: list[int] = []
    for row in order:
        if batch and len(waves[row]) * (len(batch) + 1) > max_samples:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _vector(model: EmotionNetwork, frames: Stored) -> Tensor:
    """The pooled vector as one frame of one layer, as statistics take it: (L, T, D) -> (1, 1, E)."""
    return model.vector(frames)[None, None]


def _batch(streams: dict[str, Stream], count: int) -> Batch:
    """Streams of ``count`` rows as a batch without targets."""
    targets = Targets(
        torch.full((count,), MISSING_LABEL),
        torch.full((count, 0), torch.nan),
        torch.full((count, len(DIMENSIONS)), torch.nan),
    )
    return Batch(streams, targets, [str(row) for row in range(count)])
