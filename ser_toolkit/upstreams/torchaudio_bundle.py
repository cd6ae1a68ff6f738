"""torchaudio's bundles of speech encoders: wav2vec 2.0, HuBERT, XLS-R and WavLM, from local weights or a download."""

from __future__ import annotations

import hashlib
import importlib
import json
import pickle
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ser_toolkit.errors import CheckpointError, RecipeError, nearest
from ser_toolkit.system.places import find_weights, searched
from ser_toolkit.upstreams._one_by_one import one_by_one
from ser_toolkit.upstreams.base import Upstream, weights_hash
from ser_toolkit.upstreams.huggingface import _indices


class TorchaudioBundle(Upstream):
    """A bundle of torchaudio.pipelines (WAV2VEC2_BASE, HUBERT_LARGE, WAVLM_BASE_PLUS, ...) from local weights.

    The bundle's name gives architecture and input normalisation. The hidden states are the input of the first
    transformer layer and the output of every layer, the last one behind the final layer norm where the model has one:
    those of ``HuggingFaceUpstream`` on the same weights (torchaudio itself leaves out the first, and that norm).
    Utterances are run one by one, so padding never changes a result. Of bundles for speech recognition the output
    layer is left out.

    Source: Yang et al., "TorchAudio: Building Blocks for Audio and Speech Processing", ICASSP 2022.

    Args:
        bundle: name in ``torchaudio.pipelines``.
        weights: local state dict (``.pth``, ``.pt`` or ``.safetensors``); relative paths are looked for in the working
            directory, ``SER_WEIGHTS`` and the further folders of ``places.weight_folders``. Without it torchaudio
            downloads the bundle's own weights into torch's cache.
        frozen: no gradients and evaluation mode for ever; False fine-tunes, without layer drop.
        freeze_encoder: keep the convolutional feature encoder fixed while fine-tuning.
        layers: "all" hidden states, the "last" one, or a list of indices (0: input of the first layer). Layers above
            the highest one are not computed and not kept.

    Raises:
        RecipeError: torchaudio is not installed, or has no such bundle.
        CheckpointError: weights that are missing, damaged, unsafe, of another model, or cannot be downloaded.
    """

    def __init__(
        self,
        bundle: str,
        weights: str | None = None,
        frozen: bool = True,
        freeze_encoder: bool = True,
        layers: Literal["all", "last"] | list[int] = "all",
    ) -> None:
        super().__init__(frozen)
        found = _bundle(bundle)
        self._params = {**found._params, "aux_num_out": None}
        self._normalize: bool = found._normalize_waveform
        self._kind: str = found._model_type
        self.sampling_rate = int(found.sample_rate)
        self.model = _model(self._kind, self._params)
        _load(self.model, _state(bundle, found, weights), bundle, weights)
        depth = len(self._transformer.layers)
        self._chosen = _indices(layers, depth)
        self._complete = max(self._chosen) == depth
        self._transformer.layers = self._transformer.layers[: max(self._chosen)]
        self.num_layers = len(self._chosen)
        self.feature_dim = int(self._transformer.pos_conv_embed.embed_dim)
        self._convolutions = [(int(c.kernel_size), int(c.stride)) for c in self.model.feature_extractor.conv_layers]
        self.hop_samples, self.receptive_samples = 1, 1
        for kernel, stride in reversed(self._convolutions):
            self.receptive_samples = (self.receptive_samples - 1) * stride + kernel
            self.hop_samples *= stride
        self._settle_gradients(freeze_encoder)

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Frames of the chosen hidden states: (B, N), (B,) -> (B, L, T, D), (B,)."""
        return one_by_one(self._states, wav, lengths)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Number of frames for a number of samples: (B,) -> (B,)."""
        for kernel, stride in self._convolutions:
            lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
        return lengths

    def fingerprint(self) -> str:
        """Architecture, weights, input normalisation and layers."""
        settings = json.dumps([self._kind, self._params, self._normalize, self._chosen], sort_keys=True, default=str)
        digest = hashlib.sha256(settings.encode()).hexdigest()[:16]
        return f"torchaudio:{weights_hash(self.model)}:{digest}"

    @property
    def _transformer(self) -> Any:
        return self.model.encoder.transformer

    def _states(self, signal: Tensor) -> Tensor:
        """Chosen hidden states of one utterance: (N,) -> (L, T, D)."""
        if self._normalize:
            signal = nn.functional.layer_norm(signal, signal.shape)
        features, _ = self.model.feature_extractor(signal[None], None)
        hidden = self._transformer._preprocess(self.model.encoder.feature_projection(features))
        states, position_bias = [hidden], None
        for layer in self._transformer.layers:
            hidden, position_bias = layer(hidden, None, position_bias=position_bias)
            states.append(hidden)
        if self._has_final_norm:
            states[-1] = self._transformer.layer_norm(states[-1])
        return torch.cat([states[index] for index in self._chosen])

    @property
    def _has_final_norm(self) -> bool:
        # torchaudio's "layer_norm_first" is about the input of the first layer: the other models norm at the end
        return self._complete and not self._transformer.layer_norm_first

    def _settle_gradients(self, freeze_encoder: bool) -> None:
        if not self._transformer.layer_norm_first and not self._complete:
            self._transformer.layer_norm.requires_grad_(False)
        if freeze_encoder:
            self.model.feature_extractor.requires_grad_(False)
        if self.frozen:
            self.freeze()


def _bundle(name: str) -> Any:
    """Description of a bundle, as torchaudio gives it."""
    try:
        pipelines = importlib.import_module("torchaudio.pipelines")
    except (ImportError, OSError) as error:  # OSError: it does not fit torch, and repairs are switched off
        raise RecipeError(
            f"TorchaudioBundle needs the package torchaudio, which cannot be imported ({error}): "
            "pip install torchaudio. Or choose another model.upstream, such as HuggingFaceUpstream."
        ) from error
    known = {key: value for key, value in vars(pipelines).items() if isinstance(value, pipelines.Wav2Vec2Bundle)}
    if name not in known:
        raise RecipeError(f"torchaudio has no speech encoder {name!r}. {nearest(name, known)}")
    return known[name]


def _model(kind: str, params: dict[str, Any]) -> Any:
    models = importlib.import_module("torchaudio.models")
    return {"Wav2Vec2": models.wav2vec2_model, "WavLM": models.wavlm_model}[kind](**params)


def _state(name: str, bundle: Any, weights: str | None) -> dict[str, Tensor]:
    """The state dict of a local file, or torchaudio's own download; tensors only."""
    if weights is None:
        try:
            return bundle._get_state_dict({"weights_only": True, "map_location": "cpu"})
        except (OSError, RuntimeError, pickle.UnpicklingError) as error:
            raise CheckpointError(
                f"The weights of {name} cannot be downloaded ({_in_short(error)}). Download them where there is a "
                "connection and give the file: model.upstream.weights=FILE."
            ) from error
    path = find_weights(weights)
    if path is None or not path.is_file():
        raise CheckpointError(
            f"Weights {weights!r} of {name} are not a file (looked in {searched()}). Give the path of a state dict."
        )
    return _read(path, name)


def _read(path: Path, name: str) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError, SafetensorError) as error:
        raise CheckpointError(
            f"Weights {str(path)!r} of {name} cannot be read ({_in_short(error)}). Expected safetensors, or a "
            "PyTorch file that holds tensors only."
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{str(path)!r} holds {type(state).__name__}, expected a state dict of {name}.")
    return state


def _load(model: nn.Module, state: dict[str, Tensor], name: str, weights: str | None) -> None:
    """Copy all weights; an error names those that do not fit."""
    found = {key: value for key, value in state.items() if not key.startswith("aux.")}
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    # weight_norm was stored under other names before torch 2.0; torch translates them while loading
    translated = {_translated(key): tuple(getattr(value, "shape", ())) for key, value in found.items()}
    wrong = sorted(key for key in shapes.keys() | translated.keys() if shapes.get(key) != translated.get(key))
    if wrong:
        raise CheckpointError(
            f"{'The downloaded weights' if weights is None else repr(weights)} do not fit {name}: {len(wrong)} tensors "
            f"differ, first {wrong[0]} (found {translated.get(wrong[0], 'none')}, expected "
            f"{shapes.get(wrong[0], 'none')}). Give the state dict of this bundle."
        )
    model.load_state_dict(found)


def _translated(key: str) -> str:
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        if key.endswith(f".conv.{old}"):
            return f"{key.removesuffix(old)}parametrizations.weight.{new}"
    return key


def _in_short(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
