"""Speech encoders of the Hugging Face hub, padding-exact and with hidden states as SUPERB defines them."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.errors import RecipeError
from ser_toolkit.system.processes import together
from ser_toolkit.terms import Precision
from ser_toolkit.upstreams.base import Upstream, weights_hash
from ser_toolkit.upstreams.encoders import settings as _hf_settings
from ser_toolkit.upstreams.encoders.frozen_copy import compile_layers, frozen_copy
from ser_toolkit.upstreams.encoders.own_window import extract_in_pieces, own_margin
from ser_toolkit.upstreams.encoders.packed import Packed
from ser_toolkit.upstreams.spec_augment import SpecAugment


class HuggingFaceUpstream(Upstream):
    """wav2vec2, HuBERT, WavLM, data2vec, UniSpeech-SAT, SEW, Whisper's encoder or Wav2Vec2-BERT, hub or folder.

    The hidden states are the input of the first transformer layer and the output of every layer; where the model
    ends with a layer norm (the "stable" large models, Whisper) the last entry is taken behind it, as SUPERB does.
    The waveform is normalised as the checkpoint's own feature extractor says, over the valid samples only. SEW's
    states are those of its layers, at half the frame rate. Whisper pads every recording to its 30 s window and refuses
    longer ones (``window`` says otherwise); the frames are cut to the recording. Weights of any precision compute in
    float32.

    Source: Yang et al., "SUPERB", Interspeech 2021, section 3.2 (hidden states and their weighted sum).

    Args:
        name: hub id such as ``microsoft/wavlm-base-plus``, or a local folder; a relative one is looked for in the
            working directory, ``SER_WEIGHTS`` and the further folders of ``places.weight_folders``.
        revision: branch, tag or commit on the hub; name one to make a result repeatable.
        frozen: no gradients and evaluation mode for ever; False fine-tunes.
        freeze_encoder: keep the convolutional feature encoder fixed while fine-tuning.
        layers: "all" hidden states, the "last" one, or a list of indices (0: input of the first layer). Layers above
            the highest one are not computed and not kept.
        spec_augment: masks spans of frames and channels while fine-tuning; off by default.
        layerdrop: probability to pass a layer's input on in its place, drawn once per layer and step while
            fine-tuning. The number of hidden states stays the same.
        random_init: draw the weights instead of loading them; only the configuration is read.
        peer_padding: reproduce transformers' own padding, whose results depend on the batch, to match published
            numbers.
        gradient_checkpointing: compute layers again in the backward pass: less memory, more time.
        normalize_input: overrules whether the checkpoint normalises waveforms to zero mean and unit variance.
        window: of Whisper: "published" pads each recording to 30 s, "own" shows the encoder the recording and a margin
            only: spectrum, its floor and positions are those of the recording, at a fraction of the cost. Longer
            recordings than 30 s are cut into equal pieces there.
        margin_seconds: silence behind the recording in its "own" window, 0.5 unless said; its frames are cut off.

    Raises:
        RecipeError: no such folder or hub entry, an unsupported family, or contradictory settings.
        CheckpointError: weights that are missing, incomplete, damaged or unsafe.
    """

    skips_layers = True

    def __init__(
        self,
        name: str,
        revision: str | None = None,
        frozen: bool = True,
        freeze_encoder: bool = True,
        layers: Literal["all", "last"] | list[int] = "all",
        spec_augment: SpecAugment | None = None,
        layerdrop: float = 0.0,
        random_init: bool = False,
        peer_padding: bool = False,
        gradient_checkpointing: bool = False,
        normalize_input: bool | None = None,
        window: Literal["published", "own"] = "published",
        margin_seconds: float | None = None,
    ) -> None:
        from ser_toolkit.upstreams.encoders.loading import load_family

        super().__init__(frozen)
        if not 0 <= layerdrop < 1:
            raise RecipeError(f"layerdrop is {layerdrop}, expected a probability in [0, 1).")
        if peer_padding and (spec_augment is not None or layerdrop or gradient_checkpointing):
            raise RecipeError(
                "peer_padding runs transformers' own forward pass, where spec_augment, layerdrop and "
                "gradient_checkpointing are off. Choose one or the other."
            )
        self._family = load_family(name, revision, random_init)
        self.model: nn.Module = self._family.model
        self.spec_augment = spec_augment
        self.layerdrop = layerdrop
        self.peer_padding = peer_padding
        self.gradient_checkpointing = gradient_checkpointing
        self._override_normalisation(name, normalize_input)
        self._own_margin = own_margin(window, margin_seconds, peer_padding)
        if self._own_margin is not None:
            self._family.see_own_length(self._own_margin)
        self._compiled = False
        self._chosen = _indices(layers, len(self.transformer_layers))
        self._keep_layers_below(max(self._chosen))
        self.feature_dim = self._family.width
        self.num_layers = len(self._chosen)
        self.hop_samples = self._family.hop
        self.receptive_samples = self._family.receptive
        self.longest_samples = None if self._family.cuts else self._family.longest
        self.sampling_rate = int(self._family.extractor.sampling_rate)
        self._settle_gradients(freeze_encoder)

    @property
    def transformer_layers(self) -> nn.ModuleList:
        """The transformer layers, lowest first."""
        return self._family.holder.layers

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Frames of the chosen hidden states: (B, N), (B,) -> (B, L, T, D), (B,)."""
        longest = self._family.longest
        if longest is not None and self._family.cuts and int(lengths.max()) > longest:
            return extract_in_pieces(self.extract, wav, lengths, longest, self.hop_samples)
        counts, frames = self.frame_lengths(lengths), self._family.count(wav.shape[1])
        packed = self._packed(wav, self._family.seen(lengths))
        states = self._peer_states(wav, lengths) if self.peer_padding else self._states(wav, lengths, packed)
        if packed is not None:
            return packed.unpack([states[index] for index in self._chosen], frames, counts), counts
        out = torch.stack([states[index][:, :frames] for index in self._chosen], dim=1)
        if out.shape[2] < frames:  # the window ends before the padding does
            out = nn.functional.pad(out, (0, 0, 0, frames - out.shape[2]))
        return out.masked_fill_(~valid_mask(counts, frames)[:, None, :, None], 0), counts

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Number of frames for a number of samples: (B,) -> (B,)."""
        return self._family.count(lengths)

    def fingerprint(self) -> str:
        """Family, weights (as float32), and every setting of model and feature extractor that changes the frames."""
        window = "" if self._own_margin is None else f":own+{self._own_margin!r}s"
        made = _hf_settings.digest(self.frame_settings)
        return f"huggingface:{self._config.model_type}:{weights_hash(self.model)}:{made}{window}"

    @property
    def frame_settings(self) -> dict[str, Any]:
        """Settings that frames depend on besides the weights, by name."""
        found = _hf_settings.frame_settings(self._config.to_diff_dict(), self._family.extractor.to_dict())
        window = {} if self._own_margin is None else {"own_margin_seconds": self._own_margin}
        return found | {"layers": self._chosen, "peer_padding": self.peer_padding} | window

    @property
    def training_settings(self) -> dict[str, Any]:
        """Dropout and the like of the configuration, which matter while the upstream learns."""
        return {} if self.frozen else _hf_settings.training_settings(self._config.to_diff_dict())

    @property
    def batch_dependent(self) -> str | None:
        """Reason where padding is done as transformers does it: frames then depend on the padding of the batch."""
        return "peer_padding reproduces transformers' own padding" if self.peer_padding else None

    def at(self, precision: Precision, compiled: bool = False) -> Upstream:
        """This upstream for extraction at a precision: itself for plain float32, otherwise a frozen copy.

        Waveforms, their normalisation and, with a waveform encoder, the whole first convolution stay in float32. The
        copy's frames come in ``precision``.

        Args:
            precision: of weights and layers.
            compiled: pass every transformer layer through ``torch.compile``, once for batches of any shape.

        Raises:
            RecipeError: there is no compiler, or the upstream follows transformers' own forward pass.
        """
        if precision == "float32" and not compiled:
            return self
        if self.peer_padding or precision not in ("float32", "bfloat16"):
            return super().at(precision, compiled)
        twin = frozen_copy(self)
        if precision == "bfloat16":
            twin._family.cast(torch.bfloat16)
        if compiled:
            compile_layers(twin.transformer_layers)
            twin._compiled = True
        return twin

    def train(self, mode: bool = True) -> HuggingFaceUpstream:
        """Training mode, unless frozen. Batch norm keeps its statistics: a few utterances cannot replace them."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self

    @property
    def _config(self) -> Any:
        return self.model.config

    def _packed(self, wav: Tensor, seen: Tensor) -> Packed | None:
        """How the layers get the batch without padding: where that is quicker, on a CPU and without gradients.

        Compiled layers would be compiled again for every composition of a batch.
        """
        able = self._family.packs and not self.peer_padding and not self._compiled
        # a traced or compiled model serves other lengths too
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if not able or wav.device.type != "cpu" or torch.is_grad_enabled() or traced:
            return None
        return Packed(tuple(seen.tolist()))

    def _states(self, wav: Tensor, lengths: Tensor, packed: Packed | None) -> list[Tensor]:
        """Every hidden state, (B, T, D) each or packed; behind the end they hold anything finite."""
        hidden = self._family.embed(wav, lengths)
        if self.spec_augment is not None and self.training:
            hidden = self.spec_augment(hidden, self._family.embedded(lengths), self._mask_vector(hidden))
        hidden, context = self._family.position(hidden, lengths)
        if packed is not None:
            hidden, context = packed.pack(hidden), context | {"attention_mask": packed}
        states = [hidden]
        for layer in self.transformer_layers:
            states.append(self._through(layer, states[-1], context))
        states[-1] = self._finish(states[-1])
        return states

    def _through(self, layer: nn.Module, hidden: Tensor, context: dict[str, Any]) -> Tensor:
        """One layer, or its input where the layer is dropped."""
        dropped = self.training and self.layerdrop > 0 and float(torch.rand(())) < self.layerdrop
        if dropped and not together():
            return hidden

        def run(values: Tensor) -> Tensor:
            out = layer(values, **context)
            return out[0] if isinstance(out, tuple) else out

        if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
            out = checkpoint(run, hidden, use_reentrant=False)
        else:
            out = run(hidden)
        # Distributed training needs a gradient, if only zero, for every parameter in every step.
        return hidden + 0 * out if dropped else out

    def _finish(self, hidden: Tensor) -> Tensor:
        return self._family.finish(hidden) if self._complete else hidden

    def _peer_states(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """Hidden states of transformers' own forward pass on transformers' own padded input."""
        from ser_toolkit.upstreams.encoders.family import utterances

        # "longest" except for Whisper, whose extractor pads to its window by default
        padding = {} if self._config.model_type == "whisper" else {"padding": True}
        inputs = self._family.extractor(
            utterances(wav, lengths), sampling_rate=self.sampling_rate, return_tensors="pt", **padding
        )
        inputs = {key: value.to(wav.device) for key, value in inputs.items()}
        out = self.model(**inputs, output_hidden_states=True)
        states = list(out.hidden_states)
        if self._family.final_norm and self._complete:
            states[-1] = out.last_hidden_state
        return states

    def _mask_vector(self, hidden: Tensor) -> Tensor:
        """Vector (D,) in place of a masked frame: the model's own learnt one, or zeros where it has none."""
        learnt = getattr(self.model, "masked_spec_embed", None)
        return hidden.new_zeros(hidden.shape[-1]) if learnt is None else learnt

    def _override_normalisation(self, name: str, normalize_input: bool | None) -> None:
        if normalize_input is None:
            return
        if self._config.model_type in ("whisper", "wav2vec2-bert"):
            raise RecipeError(f"normalize_input is for encoders of waveforms, {name!r} hears a spectrogram. Remove it.")
        self._family.extractor.do_normalize = normalize_input

    def _keep_layers_below(self, highest: int) -> None:
        self._complete = highest == len(self.transformer_layers)
        # transformers' own forward pass reports hidden states only where there is a layer.
        self._family.holder.layers = self.transformer_layers[: max(highest, int(self.peer_padding))]

    def _settle_gradients(self, freeze_encoder: bool) -> None:
        """Decide which parameters learn: those that reach a hidden state and that nobody wants fixed."""
        learnt = getattr(self.model, "masked_spec_embed", None)
        if learnt is not None:
            learnt.requires_grad_(self.spec_augment is not None and self.spec_augment.time_prob > 0)
        if self._family.final_norm and not self._complete:
            self._family.holder.layer_norm.requires_grad_(False)
        if freeze_encoder:
            for module in self._family.stem:
                module.requires_grad_(False)
        if self.frozen:
            self.freeze()


def _indices(layers: Literal["all", "last"] | list[int], depth: int) -> list[int]:
    """Which of the ``depth + 1`` hidden states are meant."""
    if layers == "all":
        return list(range(depth + 1))
    if layers == "last":
        return [depth]
    if isinstance(layers, str) or not layers or not all(-depth - 1 <= index <= depth for index in layers):
        raise RecipeError(f'layers is {layers!r}, expected "all", "last" or indices from 0 to {depth}.')
    return [index % (depth + 1) for index in layers]
