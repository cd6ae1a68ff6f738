"""Encoders of a spectrogram: Whisper and Wav2Vec2-BERT, with the features of transformers' own extractors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ser_toolkit.data.batch import pad_sequences, valid_mask
from ser_toolkit.errors import AudioError
from ser_toolkit.upstreams.encoders.family import CountT, Family, utterances
from ser_toolkit.upstreams.encoders.masked_norm import zero_behind
from ser_toolkit.upstreams.encoders.packed import SelfAttention


class WhisperFamily(Family):
    """Whisper's encoder, on the published window of 30 s, or on the recording and a margin (``see_own_length``).

    Frames are cut to the recording either way.
    """

    final_norm = True
    #: Samples of silence behind each recording in a window of its own length; None: the published window.
    margin: int | None = None

    def __init__(self, model: Any, extractor: Any) -> None:
        super().__init__(model.get_encoder(), extractor)
        self.model.embed_positions.requires_grad_(False)  # sinusoids; loading forgets that they are fixed

    @property
    def holder(self) -> Any:
        """The encoder itself, with its transformer ``layers``."""
        return self.model

    @property
    def stem(self) -> list[nn.Module]:
        """The two convolutions on the spectrogram."""
        return [self.model.conv1, self.model.conv2]

    @property
    def hop(self) -> int:
        """Samples from one frame to the next: the spectrogram's step times both strides."""
        return int(self.extractor.hop_length * self.model.conv1.stride[0] * self.model.conv2.stride[0])

    @property
    def receptive(self) -> int:
        """Samples in the window of one spectrum."""
        return int(self.extractor.n_fft)

    @property
    def longest(self) -> int | None:
        """Samples that the sinusoidal positions reach: 30 s."""
        return int(self.hop * self.model.config.max_source_positions)

    @property
    def cuts(self) -> bool:
        """Whether longer recordings are cut into pieces: in windows of their own length they are."""
        return self.margin is not None

    @property
    def width(self) -> int:
        """Values of one frame, D."""
        return int(self.model.config.d_model)

    def count(self, samples: CountT) -> CountT:
        """Frames of so many samples, the last of them begun."""
        return (samples + self.hop - 1) // self.hop

    def seen(self, samples: Tensor) -> Tensor:
        """Frames that the layers see: of the published window, or of the recording with its margin: (B,) -> (B,)."""
        positions = int(self.model.config.max_source_positions)
        if self.margin is None:
            return torch.full_like(samples, positions)
        return self.count(samples + self.margin).clamp(max=positions)

    def see_own_length(self, margin_seconds: float) -> None:
        """Let the layers see each recording and ``margin_seconds`` of silence behind it, not a window of 30 s."""
        self.margin = round(margin_seconds * self.extractor.sampling_rate)
        self.packs = True
        for layer in self.model.layers:  # transformers' own attention knows no batch of unequal lengths
            layer.self_attn = SelfAttention(layer.self_attn)

    def embed(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """(B, N) samples -> (B, T, D) frames of the window.

        Raises:
            AudioError: a recording is longer than the positions reach.
        """
        longest, rate = int(self.longest or 0), self.extractor.sampling_rate
        if int(lengths.max()) > longest:
            raise AudioError(
                f"Whisper hears {longest / rate:g} s at most, found a recording of {int(lengths.max()) / rate:.1f} s. "
                f"Take windows: data.train_crop_seconds={longest / rate:g} data.eval_window_seconds={longest / rate:g} "
                "variants=[Plain]; or set model.upstream.window=own, which takes recordings of any length."
            )
        mels = self._log_mel(wav, lengths).to(self.model.conv1.weight)
        hidden = F.gelu(self.model.conv2(F.gelu(self.model.conv1(mels))))
        return hidden.transpose(1, 2)

    def _log_mel(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """Log-mel spectrograms of each window, zero behind it: (B, N), (B,) -> (B, mel bands, 2 T).

        The extractor's floor, 80 dB below the loudest point, is that of the window alone. A window has an even number
        of spectra, so that the second convolution (kernel 3, stride 2) never reaches the first spectrum behind it, and
        the first one meets there the zeros that it pads with itself: an utterance is the same alone and in a batch.
        """
        sizes = (self.seen(lengths) * self.hop).tolist()
        features = [
            _features(self.extractor, row[None], length[None], padding="max_length", max_length=size)[0]
            for row, length, size in zip(wav, lengths, sizes, strict=True)
        ]
        return pad_sequences([each["input_features"][0] for each in features], dim=1)[0]

    def position(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Add sinusoidal positions: (B, T, D) -> (B, T, D), and the mask of each recording's own window."""
        frames = hidden.shape[1]
        hidden = hidden + self.model.embed_positions.weight[:frames]
        mask = None if self.margin is None else valid_mask(self.seen(lengths), frames)[:, None, None, :]
        return F.dropout(hidden, self.model.dropout, self.model.training), {"attention_mask": mask}


class ConformerFamily(Family):
    """Wav2Vec2-BERT: log-mel filter banks, two frames stacked, conformer layers with causal convolutions."""

    #: Window and step of the filter banks, fixed in the extractor's class.
    window, step = 400, 160

    def __init__(self, model: Any, extractor: Any) -> None:
        super().__init__(model, extractor)
        model.adapter = model.intermediate_ffn = None  # they follow the last hidden state

    @property
    def holder(self) -> Any:
        """The encoder, with its conformer ``layers``."""
        return self.model.encoder

    @property
    def stem(self) -> list[nn.Module]:
        """No module: the filter banks are the extractor's."""
        return []

    @property
    def hop(self) -> int:
        """Samples from one frame to the next: the filter banks' step times the number of stacked rows."""
        return int(self.step * self.extractor.stride)

    @property
    def receptive(self) -> int:
        """Samples in the windows of the rows that are stacked into one frame."""
        # The extractor's variance has one degree of freedom less, so two rows are needed even where one is stacked.
        return self.window + self.step * (max(2, self.extractor.stride) - 1)

    def count(self, samples: CountT) -> CountT:
        """Frames of so many samples: rows of filter banks that lie wholly inside, stacked."""
        return ((samples - self.window) // self.step + 1) // self.extractor.stride

    def embed(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """(B, N) samples -> (B, T, D): filter banks of each utterance by itself, stacked and projected."""
        rows = _features(self.extractor, wav, lengths, padding=True, pad_to_multiple_of=self.extractor.stride)
        counts = self.count(lengths).tolist()
        stacked, _ = pad_sequences([row["input_features"][0, :n] for row, n in zip(rows, counts, strict=True)])
        missing = self.count(wav.shape[1]) - stacked.shape[1]
        projection = self.model.feature_projection
        return projection(F.pad(stacked, (0, 0, 0, missing)).to(projection.projection.weight))[0]

    def position(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """(B, T, D) -> (B, T, D), zero behind each utterance, and masks and relative positions of the layers."""
        valid = valid_mask(self.count(lengths), hidden.shape[1])
        hidden = self.holder.dropout(zero_behind(hidden, valid))
        embed = self.holder.embed_positions
        return hidden, {
            "attention_mask": valid[:, None, None, :],
            "relative_position_embeddings": None if embed is None else embed(hidden),
            "conv_attention_mask": valid,
        }


def _features(extractor: Any, wav: Tensor, lengths: Tensor, **settings: object) -> list[Any]:
    """Features of each utterance by itself: in a batch the padding would change them."""
    rate = extractor.sampling_rate
    with torch.autocast("cpu", enabled=False):  # transformers computes some of them with torch, there
        return [extractor(x, sampling_rate=rate, return_tensors="pt", **settings) for x in utterances(wav, lengths)]
