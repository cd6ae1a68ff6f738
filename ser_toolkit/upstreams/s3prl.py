"""Every upstream of s3prl, the toolkit behind SUPERB, by its own name and with its own code."""

from __future__ import annotations

import hashlib
import json
import warnings
from importlib.metadata import version
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.errors import RecipeError
from ser_toolkit.upstreams._one_by_one import one_by_one
from ser_toolkit.upstreams._s3prl_frames import measure_framing
from ser_toolkit.upstreams._s3prl_hub import build_expert
from ser_toolkit.upstreams.base import Upstream, weights_hash
from ser_toolkit.upstreams.huggingface import _indices

_STATES = "hidden_states"


class S3prlUpstream(Upstream):
    """Any entry of s3prl's hub (hubert, wavlm_large, xls_r_300m, tera, fbank, ...) or a local s3prl checkpoint.

    The hidden states are s3prl's: the input of the first transformer layer and the output of every layer, for
    wav2vec2, HuBERT and WavLM equal to those of ``HuggingFaceUpstream`` on the same weights. In a padded batch s3prl's
    own results depend on the other utterances (its padding mask calls 50 frames valid where 49 exist, and group
    normalisation hears the padding), therefore utterances are run one by one: exact, and slower in large batches.
    ``fbank`` and ``mfcc`` are standardised per utterance: the mean of their frames is zero, so mean pooling behind a
    linear projection learns nothing from them; take ``fbank_no_cmvn``.
    Names without an ending download their weights to ``~/.cache/s3prl``. Checkpoints are
    read as tensors and plain settings: code in them is refused.
    s3prl takes seconds to import.

    Source: Yang et al., "SUPERB", Interspeech 2021, section 3.2.

    Args:
        name: entry of ``s3prl.hub``, such as ``wavlm_base_plus`` or ``fbank``; with ``checkpoint`` one that ends in
            ``_local``, ``_custom`` or ``_url`` (``wavlm_local``, ``hubert_local``, ``wav2vec2_custom``,
            ``hf_hubert_custom``).
        checkpoint: file, transformers folder (``hf_*``) or address; relative paths are looked for in the working
            directory, ``SER_WEIGHTS`` and the further folders of ``places.weight_folders``.
        frozen: no gradients and evaluation mode for ever; False fine-tunes what s3prl lets train (the convolutional
            encoder of wav2vec2, HuBERT and WavLM stays fixed there), without layer drop and SpecAugment.
        layers: "all" hidden states, the "last" one, or a list of indices (0: input of the first layer).
        padding: "exact", or "s3prl" to reproduce its padded batches and its number of frames (samples / hop, rounded):
            results then depend on the batch; for matching published numbers only.

    Raises:
        RecipeError: s3prl is not installed, the name is unknown, or its frames have no steady rate or one size.
        CheckpointError: weights that are missing, damaged or unsafe, or cannot be downloaded.
    """

    def __init__(
        self,
        name: str,
        checkpoint: str | None = None,
        frozen: bool = True,
        layers: Literal["all", "last"] | list[int] = "all",
        padding: Literal["exact", "s3prl"] = "exact",
    ) -> None:
        super().__init__(frozen)
        if padding not in ("exact", "s3prl"):
            raise RecipeError(f"S3prlUpstream got padding={padding!r}: expected exact or s3prl.")
        self.name = name
        self.padding = padding
        self._checkpoint, self._layers = checkpoint, layers
        self.expert, self._source = build_expert(name, checkpoint)
        self.expert.eval()
        self._chosen: list[int] = []
        with torch.no_grad():
            probe = self._probe(layers)
            self._framing = measure_framing(lambda signal: self._states([signal])[0], self._claimed_hop(), name)
        self.num_layers, _, self.feature_dim = probe.shape
        self.hop_samples = self._framing.hop
        self.receptive_samples = self._framing.receptive
        if frozen:
            self.freeze()
        else:
            self._settle_gradients()

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Frames of the chosen hidden states: (B, N), (B,) -> (B, L, T, D), (B,)."""
        if self.padding == "s3prl":
            return self._extract_padded(wav, lengths)
        frames, found = one_by_one(lambda signal: self._states([signal])[0], wav, lengths)
        counts = self.frame_lengths(lengths)
        if not torch.equal(found, counts):
            row = int((found != counts).nonzero()[0])
            raise RecipeError(
                f"s3prl's {self.name} made {int(found[row])} frames of {int(lengths[row])} samples, expected "
                f"{int(counts[row])}: its frame rate is not steady. Choose another upstream."
            )
        return frames, counts

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Number of frames for a number of samples: (B,) -> (B,). With s3prl's padding it depends on the longest."""
        counts = self._framing.count(lengths)
        if self.padding == "exact":
            return counts
        claimed = (lengths.double() / self.hop_samples).round().long().clamp(min=1)
        return claimed.clamp(max=int(counts.max()))

    def fingerprint(self) -> str:
        """Entry, version of s3prl, weights, settings stored with the weights, layers and padding."""
        settings = json.dumps([self._source.digest, self._chosen, self.padding])
        digest = hashlib.sha256(settings.encode()).hexdigest()[:16]
        return f"s3prl:{version('s3prl')}:{self.name}:{weights_hash(self.expert)}:{digest}"

    @property
    def training_settings(self) -> dict[str, Any]:
        """Dropout and the like of a transformers folder, which matter while the upstream learns."""
        return {} if self.frozen else dict(self._source.training)

    @property
    def batch_dependent(self) -> str | None:
        """Reason where padding is done as s3prl does it: frames then depend on the padding of the batch."""
        return None if self.padding == "exact" else "padding=s3prl reproduces s3prl's own padding"

    def train(self, mode: bool = True) -> S3prlUpstream:
        """Training mode, unless frozen. Batch norm keeps its statistics: one utterance cannot replace them."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> S3prlUpstream:
        """Built anew with the same weights: a plain copy's hooks would write into the original's hidden states."""
        twin = S3prlUpstream(self.name, self._checkpoint, self.frozen, self._layers, self.padding)
        tensor = next(iter(self.state_dict().values()), torch.empty(0))
        twin.to(tensor.device).load_state_dict(self.state_dict())
        for original, copied in zip(self.parameters(), twin.parameters(), strict=True):
            copied.requires_grad_(original.requires_grad)
        memo[id(self)] = twin
        return twin.train(self.training)

    def _extract_padded(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """All utterances at once, as s3prl pads them."""
        counts = self.frame_lengths(lengths)
        signals = [signal[:length] for signal, length in zip(wav, lengths.tolist(), strict=True)]
        frames = self._states(signals)[:, :, : int(counts.max())]
        return frames * valid_mask(counts, frames.shape[2])[:, None, :, None], counts

    def _states(self, signals: list[Tensor]) -> Tensor:
        """Chosen hidden states as s3prl gives them: waveforms (N_i,) -> (B, L, T, D)."""
        states = self._run(signals)
        return torch.stack([states[index] for index in self._chosen], dim=1)

    def _run(self, signals: list[Tensor]) -> Any:
        """All hidden states, without the remarks that s3prl's older code draws from torch."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.expert(signals).get(_STATES)

    def _probe(self, layers: Literal["all", "last"] | list[int]) -> Tensor:
        """Choose layers with the help of a second of noise: (L, T, D) of the chosen."""
        noise = 0.1 * torch.randn(self.sampling_rate, generator=torch.Generator().manual_seed(0))
        states = self._run([noise])
        if not isinstance(states, list | tuple) or not all(isinstance(state, Tensor) for state in states):
            raise RecipeError(f"s3prl's {self.name} gives no hidden states. Choose another upstream.")
        self._chosen = _indices(layers, len(states) - 1)
        shapes = {tuple(states[index].shape) for index in self._chosen}
        if len(shapes) > 1 or len(next(iter(shapes))) != 3:
            raise RecipeError(
                f"The hidden states of s3prl's {self.name} have shapes {sorted(shapes)} for one second, expected one "
                "shape (batch, frames, size). Choose layers that share one: model.upstream.layers=[...]."
            )
        return torch.stack([states[index][0] for index in self._chosen])

    def _claimed_hop(self) -> int:
        rates = self.expert.get_downsample_rates(_STATES)  # type: ignore[operator]
        return int(rates if isinstance(rates, int) else rates[self._chosen[0]])

    def _settle_gradients(self) -> None:
        """Let those parameters learn that reach a chosen hidden state: s3prl cuts some of them off."""
        signal = 0.1 * torch.randn(2 * self.receptive_samples, generator=torch.Generator().manual_seed(0))
        states = self._states([signal])
        if not states.requires_grad:
            raise RecipeError(f"s3prl's {self.name} has nothing to train at these layers: set frozen=true.")
        states.square().sum().backward()
        for parameter in self.parameters():
            parameter.requires_grad_(parameter.grad is not None)
            parameter.grad = None
