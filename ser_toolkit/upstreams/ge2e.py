"""GE2E speaker encoder: one vector an utterance that separates voices (a d-vector)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.errors import CheckpointError, RecipeError
from ser_toolkit.upstreams._local_weights import load_exactly, weights_file
from ser_toolkit.upstreams.base import Upstream, weights_hash

WINDOW = 400
HOP = 160
NUM_MELS = 40
#: Mel frames of one partial utterance: 1.6 s.
PARTIAL_FRAMES = 160
WIDTH = 256
NUM_LAYERS = 3
#: Weights of the training loss alone (scale and offset of similarities); a checkpoint may hold them.
LOSS_WEIGHTS = ("similarity_weight", "similarity_bias")


class GE2E(Upstream):
    """GE2E speaker encoder: one 256-d speaker embedding an utterance, from a local checkpoint.

    Power mel spectrogram (not its logarithm; 40 Slaney filters, 25 ms window, 10 ms hop) of 16 kHz speech; three LSTM
    layers of 256 read a partial utterance of 1.6 s; its embedding is the last hidden state through a linear layer and
    ReLU, at length 1. The utterance's embedding is the mean of its partial ones, brought to length 1.

    Partial utterances begin every ``round(100 / rate)`` mel frames (77 frames, 0.77 s, at 1.3). What an utterance lacks
    of a whole one is silence; a last one of which the utterance fills less than ``min_coverage`` is left out, unless it
    is the only one.

    Levels and partial utterances are those of Resemblyzer 0.1.4, whose weights are the usual ones. Its
    ``preprocess_wav`` also cuts long pauses out with a voice activity detector (webrtcvad), which is not done here.

    Source: Wan et al. 2018, "Generalized end-to-end loss for speaker verification", ICASSP, section 3.

    Args:
        checkpoint: safetensors file, or a folder with ``model.safetensors``; ``~`` and ``${VARIABLE}`` are expanded,
            other paths are looked for in the working directory, ``SER_WEIGHTS`` and the further folders of
            ``places.weight_folders``.
        frozen: keep the weights, or train them.
        raise_to_dbfs: a recording whose root mean square lies below this level (in dB of full scale) is raised to it;
            louder ones stay. null leaves all as they are.
        rate: partial utterances a second, 0.625 to 100.
        min_coverage: share of the last partial utterance that speech has to fill, above 0 and at most 1.

    Raises:
        CheckpointError: the file is missing, damaged or holds another model.
        RecipeError: ``rate`` or ``min_coverage`` is out of range.
    """

    def __init__(
        self,
        checkpoint: str,
        frozen: bool = True,
        raise_to_dbfs: float | None = -30.0,
        rate: float = 1.3,
        min_coverage: float = 0.75,
    ) -> None:
        super().__init__(frozen)
        if not 0.625 <= rate <= 100 or not 0 < min_coverage <= 1:
            raise RecipeError(
                f"GE2E got rate={rate}, min_coverage={min_coverage}: expected 0.625 to 100 partial utterances a second "
                "(1.3 is usual) and a share above 0, at most 1."
            )
        self.raise_to_dbfs = raise_to_dbfs
        self.step_frames = round(self.sampling_rate / rate / HOP)
        self.min_coverage = min_coverage
        self.feature_dim, self.num_layers = WIDTH, 1
        self.hop_samples = 0
        self.receptive_samples = WINDOW
        self.lstm = nn.LSTM(NUM_MELS, WIDTH, NUM_LAYERS, batch_first=True)
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("filters", _slaney_filters(self.sampling_rate), persistent=False)
        self.window: Tensor
        self.filters: Tensor
        expected = "a GE2E speaker encoder (.safetensors: lstm.weight_ih_l0, ..., linear.bias)"
        path = weights_file("GE2E", checkpoint, expected, inside="model.safetensors")
        try:
            weights = load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"GE2E checkpoint {str(path)!r} is not a readable safetensors file ({error}). Give {expected}."
            ) from error
        weights = {name: value for name, value in weights.items() if name not in LOSS_WEIGHTS}
        load_exactly("GE2E", self, weights, path, expected)
        if frozen:
            self.freeze()

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """(B,) samples -> (B,) frames: 1, the whole utterance."""
        return torch.ones_like(lengths)

    def fingerprint(self) -> str:
        """Weights, level and partial utterances."""
        level = "as recorded" if self.raise_to_dbfs is None else f"at least {self.raise_to_dbfs!r} dBFS"
        return f"GE2E|weights={weights_hash(self)}|level={level}|step={self.step_frames}|coverage={self.min_coverage!r}"

    def partial_starts(self, samples: int) -> range:
        """First mel frames of the partial utterances of a recording of so many samples."""
        frames = samples // HOP + 1
        starts = range(0, max(1, frames - PARTIAL_FRAMES + self.step_frames + 1), self.step_frames)
        covered = (samples - starts[-1] * HOP) / (PARTIAL_FRAMES * HOP)
        return starts[:-1] if covered < self.min_coverage and len(starts) > 1 else starts

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N), (B,) -> (B, 1, 1, 256) of length 1, (B,) ones."""
        starts = [self.partial_starts(length) for length in lengths.tolist()]
        # powers of soft speech and states carried over 160 steps need all digits
        with torch.autocast(wav.device.type, enabled=False):
            speech = wav.float() * valid_mask(lengths, wav.shape[1])
            if self.raise_to_dbfs is not None:
                speech = raise_level(speech, lengths, self.raise_to_dbfs)
            partial = self._partial_embeddings(self._mel(speech, max(row[-1] for row in starts)), starts)
            means = torch.stack([rows.mean(dim=0) for rows in partial.split([len(row) for row in starts])])
            return _at_length_one(means)[:, None, None], torch.ones_like(lengths)

    def _mel(self, speech: Tensor, last_start: int) -> Tensor:
        """Power mel spectrogram with silence before and behind: (B, N) -> (B, last_start + 160, 40)."""
        frames = last_start + PARTIAL_FRAMES
        padded = nn.functional.pad(speech, (WINDOW // 2, max(0, frames * HOP + WINDOW - speech.shape[1])))
        spectrum = torch.stft(padded, WINDOW, HOP, WINDOW, self.window, center=False, return_complex=True)
        power = spectrum.real**2 + spectrum.imag**2
        return power[..., :frames].transpose(1, 2) @ self.filters

    def _partial_embeddings(self, mel: Tensor, starts: Sequence[range]) -> Tensor:
        """Embeddings of all partial utterances, one recording after the other: (B, T, 40) -> (P, 256) of length 1."""
        parts = [mel[row, start : start + PARTIAL_FRAMES] for row, found in enumerate(starts) for start in found]
        _, (hidden, _) = self.lstm(torch.stack(parts))
        return _at_length_one(self.linear(hidden[-1]).relu())


def raise_level(speech: Tensor, lengths: Tensor, dbfs: float) -> Tensor:
    """Raise each recording whose root mean square is below a level to that level: (B, N), (B,) -> (B, N).

    Args:
        speech: waveforms, zeros behind ``lengths``; one that is all zeros stays so.
        lengths: number of samples.
        dbfs: level in dB, 0 where the root mean square is 1.
    """
    rms = (speech.square().sum(dim=1, keepdim=True) / lengths[:, None]).sqrt()
    gain = torch.where(rms > 0, 10 ** (dbfs / 20) / rms.clamp(min=torch.finfo(rms.dtype).tiny), 1.0)
    return speech * gain.clamp(min=1.0)


def _at_length_one(vectors: Tensor) -> Tensor:
    """Rows of Euclidean length 1: (N, D) -> (N, D)."""
    return nn.functional.normalize(vectors, dim=1)


def _slaney_filters(sampling_rate: int) -> Tensor:
    """Triangles of equal area on Slaney's mel scale, as librosa makes them: (201, 40)."""
    from librosa.filters import mel  # not at the top: it brings numba, which takes a second

    return torch.from_numpy(mel(sr=sampling_rate, n_fft=WINDOW, n_mels=NUM_MELS)).T.contiguous()
