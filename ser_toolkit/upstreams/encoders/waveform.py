"""Encoders of the waveform: wav2vec 2.0 and its relatives, WavLM, SEW."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.upstreams.encoders.family import CountT, Family
from ser_toolkit.upstreams.encoders.fast_stem import applies, fast_stem
from ser_toolkit.upstreams.encoders.masked_norm import masked_first_layer, normalise_waves, zero_behind
from ser_toolkit.upstreams.encoders.packed import SelfAttention
from ser_toolkit.upstreams.encoders.wavlm_attention import GatedRelativeAttention


class WaveformFamily(Family):
    """wav2vec 2.0 and its relatives: convolutions on the waveform, a positional convolution, transformer layers."""

    packs = True
    #: Class of the module that replaces the layers' own attention.
    attend: type[SelfAttention] = SelfAttention

    def __init__(self, model: Any, extractor: Any) -> None:
        super().__init__(model, extractor)
        for layer in model.encoder.layers:
            layer.attention = self.attend(layer.attention)
        self.final_norm = bool(getattr(model.config, "do_stable_layer_norm", False))
        if getattr(model, "adapter", None) is not None:  # it follows the last hidden state
            model.adapter = None

    @property
    def holder(self) -> Any:
        """The encoder, with its transformer ``layers``."""
        return self.model.encoder

    @property
    def stem(self) -> list[nn.Module]:
        """The convolutions on the waveform."""
        return [self.model.feature_extractor]

    @property
    def hop(self) -> int:
        """Samples from one frame to the next: the product of the convolutions' strides."""
        hop = 1
        for stride in self.model.config.conv_stride:
            hop *= stride
        return hop

    @property
    def receptive(self) -> int:
        """Samples in the window of one frame, over all convolutions."""
        samples, step = 1, 1
        for kernel, stride in zip(self.model.config.conv_kernel, self.model.config.conv_stride, strict=True):
            samples += (kernel - 1) * step
            step *= stride
        return samples

    def count(self, samples: CountT) -> CountT:
        """Frames of so many samples: windows that lie wholly inside, convolution by convolution."""
        for kernel, stride in zip(self.model.config.conv_kernel, self.model.config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def cast(self, dtype: torch.dtype) -> None:
        """Cast all but the first convolution, whose input and normalisation need the waveform's precision."""
        layers = self.model.feature_extractor.conv_layers
        first, layers[0] = layers[0], nn.Identity()
        super().cast(dtype)
        layers[0] = first

    def embed(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """(B, N) samples, normalised per utterance where the checkpoint asks for it -> (B, T, D) frames."""
        if self.extractor.do_normalize:
            wav = normalise_waves(wav, lengths)
        layers = list(self.model.feature_extractor.conv_layers)
        if applies(layers, wav):
            return self.project(fast_stem(layers, wav, lengths, WaveformFamily.count(self, wav.shape[1])))
        return self.project(self._convolve(wav, lengths).transpose(1, 2))

    def project(self, features: Tensor) -> Tensor:
        """(B, T, C) features of the convolutions -> (B, T, D)."""
        out = self.model.feature_projection(features)
        return out[0] if isinstance(out, tuple) else out

    def position(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Add positional convolutions: (B, T, D) -> (B, T, D), zero behind each utterance before them."""
        valid = valid_mask(self.count(lengths), hidden.shape[1])
        hidden = zero_behind(hidden, valid)
        hidden = hidden + self._positions(hidden, valid)
        if not self.final_norm:
            hidden = self.holder.layer_norm(hidden)
        return self.holder.dropout(hidden), self.context(hidden, valid)

    def context(self, hidden: Tensor, valid: Tensor) -> dict[str, Any]:
        """Further arguments of every layer besides its input, for valid frames (B, T)."""
        return {"attention_mask": None if _whole(valid) else valid[:, None, None, :]}

    def _convolve(self, wav: Tensor, lengths: Tensor) -> Tensor:
        first, *others = self.model.feature_extractor.conv_layers
        if isinstance(getattr(first, "layer_norm", None), nn.GroupNorm):
            hidden = first.activation(masked_first_layer(first.conv, first.layer_norm, wav, lengths))
        else:
            hidden = first(wav[:, None, :])
        for layer in others:
            hidden = layer(hidden.to(layer.conv.weight.dtype))
        return hidden

    def _positions(self, hidden: Tensor, valid: Tensor) -> Tensor:
        """Positional convolutions of frames (B, T, D) that are zeroed beyond each utterance's end before every one."""
        convolution = self.holder.pos_conv_embed
        values, mask = hidden.transpose(1, 2), valid[:, None, :]
        if hasattr(convolution, "layers"):  # data2vec: several, each on the output of the one before
            for layer in convolution.layers:
                values = layer(values.masked_fill(~mask, 0))
            return values.transpose(1, 2)
        if getattr(convolution, "batch_norm", None) is not None:  # its shift makes padding non-zero
            values = convolution.batch_norm(values).masked_fill(~mask, 0)
            return convolution.activation(convolution.padding(convolution.conv(values))).transpose(1, 2)
        return convolution(hidden)


class WavLMFamily(WaveformFamily):
    """WavLM: the first layer's relative position bias is computed once and given to every layer."""

    attention = "eager"
    attend = GatedRelativeAttention

    def context(self, hidden: Tensor, valid: Tensor) -> dict[str, Any]:
        """Valid frames (B, T) or None, and the position bias (1, H, T, T) of the first layer."""
        context: dict[str, Any] = {"attention_mask": None if _whole(valid) else valid}
        if len(self.holder.layers):
            context["position_bias"] = self.holder.layers[0].attention.position_bias(hidden.shape[1])
        return context


class SqueezedFamily(WaveformFamily):
    """SEW: transformer layers at half the frame rate; hidden states are those of the layers, before upsampling."""

    def __init__(self, model: Any, extractor: Any) -> None:
        super().__init__(model, extractor)
        model.encoder.upsample = nn.Identity()

    @property
    def hop(self) -> int:
        """Samples from one frame to the next, after squeezing."""
        return super().hop * self.model.config.squeeze_factor

    @property
    def receptive(self) -> int:
        """Samples in the windows of the frames that are squeezed into one."""
        return super().receptive + super().hop * (self.model.config.squeeze_factor - 1)

    def count(self, samples: CountT) -> CountT:
        """Frames of so many samples, after squeezing."""
        return self.embedded(samples) // self.model.config.squeeze_factor

    def embedded(self, samples: CountT) -> CountT:
        """Frames of so many samples before squeezing, where SpecAugment works."""
        return super().count(samples)

    def project(self, features: Tensor) -> Tensor:
        """(B, T, C) features of the convolutions -> (B, T, D), normalised first."""
        features = self.model.layer_norm(features)
        if self.model.project_features:
            features = self.model.feature_projection(features)
        return self.model.feature_dropout(features)

    def position(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Squeeze frames, add positions: (B, T, D) -> (B, T // squeeze factor, D), and the attention mask."""
        valid = valid_mask(self.embedded(lengths), hidden.shape[1])
        hidden = zero_behind(hidden, valid).transpose(1, 2)
        pooled, positions = self.holder.pool(hidden), self.holder.pos_conv_embed(hidden)
        frames = min(pooled.shape[-1], positions.shape[-1])
        hidden = (pooled[..., :frames] + positions[..., :frames]).transpose(1, 2)
        hidden = self.holder.dropout(self.holder.layer_norm(hidden))
        return hidden, self.context(hidden, valid_mask(self.count(lengths), frames))


def _whole(valid: Tensor) -> bool:
    """Whether no frame is padding. False on a GPU, which would have to wait, and in a trace, which would freeze it."""
    return valid.device.type == "cpu" and not torch.jit.is_tracing() and bool(valid.all())
