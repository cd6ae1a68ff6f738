"""The interface of an upstream: waveform -> frames of every layer."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import STREAM
from ser_toolkit.errors import AudioError, RecipeError, StoreError
from ser_toolkit.parts.finding import Part, check_size, full_name
from ser_toolkit.terms import Precision

#: Attributes that every upstream states about its frames.
STATED = ("feature_dim", "num_layers", "hop_samples", "receptive_samples")


class Upstream(nn.Module, Part):
    """Waveform -> frames of every layer: (B, N), (B,) -> (B, L, T, D), (B,).

    A subclass sets the attributes below in its constructor and implements ``extract``.

    Contract (tested for every upstream): padding never changes a result (relative 1e-5 in float32), frames behind
    ``frame_lengths`` are zero, evaluation is deterministic, and a frozen upstream has no gradient and stays in
    evaluation mode whatever the trainer does.

    Args:
        frozen: no gradients, evaluation mode for ever. ``False`` trains the parameters that the upstream lets train.
    """

    feature_dim: int
    num_layers: int
    #: Distance of two frames, in samples at ``sampling_rate`` (0: one frame for the whole utterance).
    hop_samples: int
    #: Samples that one frame needs: a shorter recording cannot be used.
    receptive_samples: int
    #: Samples of the longest recording that it takes; of more, ``extract`` raises AudioError. None: any length.
    longest_samples: int | None = None
    sampling_rate: int = 16000
    #: Name of the stream of a batch that it computes frames from: waveforms.
    reads: str = STREAM
    #: Whether its option ``layers`` keeps some layers and computes none above them.
    skips_layers: bool = False

    def __init__(self, frozen: bool) -> None:
        super().__init__()
        self.frozen = frozen

    @abstractmethod
    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Frames and their number: (B, N), (B,) -> (B, L, T, D), (B,)."""

    @abstractmethod
    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Number of frames for a number of samples: (B,) -> (B,)."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Everything that features depend on (name, revision or weights hash, settings), as one stable string."""

    @property
    def frame_settings(self) -> dict[str, Any]:
        """Content of the fingerprint besides weights, by name, as far as an upstream can give it."""
        return {}

    @property
    def training_settings(self) -> dict[str, Any]:
        """Settings that change no frame, but how the upstream is fine-tuned; empty for a frozen one."""
        return {}

    def forward(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """``extract``, without gradients when frozen, refused when a recording is shorter than one frame."""
        shortest = int(lengths.min())
        if shortest < self.receptive_samples:
            raise AudioError(
                f"{type(self).__name__} needs at least {self.receptive_samples} samples "
                f"({self.receptive_samples / self.sampling_rate:.3f} s), found a recording of {shortest}. "
                "Remove it from the corpus or set data.min_seconds."
            )
        if self.frozen:
            with torch.no_grad():
                return self._checked(self.extract(wav, lengths))
        return self._checked(self.extract(wav, lengths))

    def _checked(self, found: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Refuse frames of another size than the parts behind are made for."""
        if not isinstance(found, tuple) or len(found) != 2 or getattr(found[0], "ndim", 0) != 4:
            raise RecipeError(
                f"{full_name(type(self))}.extract must return frames (B, L, T, D) and their lengths (B,), found "
                f"{tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__}."
            )
        check_size(self, "num_layers", self.num_layers, found[0], axis=1)
        check_size(self, "feature_dim", self.feature_dim, found[0])
        return found

    def __getattr__(self, name: str) -> Any:
        if name in STATED:
            raise RecipeError(
                f"{full_name(type(self))} does not say its {name}: set self.{name} in __init__. Every upstream states "
                f"{', '.join(STATED)}."
            )
        return super().__getattr__(name)

    @property
    def parts(self) -> tuple[Upstream, ...]:
        """The upstreams that this one consists of, each with a stream of its own: itself, unless it fuses several."""
        return (self,)

    @property
    def batch_dependent(self) -> str | None:
        """Why an utterance's frames depend on the others of its batch, as a sentence; None when they do not."""
        return None

    def at(self, precision: Precision, compiled: bool = False) -> Upstream:
        """This upstream for extraction at a precision: itself for plain float32, otherwise a frozen copy.

        The weights of the copy are cast once, where autocast would cast them in every call. Its frames come in the
        precision it computes in. The original stays as it is, fingerprint included.

        Args:
            precision: of weights and layers; waveforms and their normalisation stay in float32 or better.
            compiled: pass the transformer layers through ``torch.compile``.

        Raises:
            RecipeError: the upstream has no such copy, or there is no compiler.
        """
        if precision not in ("float32", "bfloat16"):
            raise RecipeError(f"features.precision is {precision!r}, expected float32 or bfloat16.")
        if precision != "float32":
            raise RecipeError(f"{type(self).__name__} computes in float32 only; set features.precision=float32.")
        if compiled:
            raise RecipeError(f"{type(self).__name__} has no layers to compile; set features.compile=false.")
        return self

    def train(self, mode: bool = True) -> Upstream:
        """Training mode, unless frozen."""
        return super().train(mode and not self.frozen)

    def freeze(self) -> None:
        """Stop all gradients; called at the end of the constructor of a frozen upstream."""
        self.requires_grad_(False)
        self.eval()


def check_frames(upstream: Upstream, frames: Tensor, found: Tensor, samples: Tensor) -> None:
    """Check that no frame was lost before anything is stored for good.

    Args:
        upstream: that computed them.
        frames: (B, L, T, D).
        found: (B,) frames of each.
        samples: (B,) samples of each.

    Raises:
        StoreError: the numbers are not those of ``frame_lengths``.
    """
    counts, expected = found.tolist(), upstream.frame_lengths(samples).tolist()
    if counts == expected and frames.shape[2] == max(expected):
        return
    wrong = next((row for row, count in enumerate(counts) if count != expected[row]), expected.index(max(expected)))
    raise StoreError(
        f"{type(upstream).__name__} gave {min(counts[wrong], frames.shape[2])} frames for a recording of "
        f"{int(samples[wrong])} samples, where its frame_lengths says {expected[wrong]}. Nothing of this batch is "
        "stored. Run the same command again; if it says the same, frame_lengths of the upstream is wrong."
    )


def weights_hash(module: nn.Module) -> str:
    """SHA-256 (16 hex digits) of all weights and buffers: names, shapes, types and bytes.

    Hashing a large model takes a second, and checkpoints ask for it: the result is remembered until a weight changes.
    """
    state = sorted(module.state_dict().items())
    version = tuple((name, value.data_ptr(), _version(value), _probe(value)) for name, value in state)
    known = module.__dict__.get("_known_hash")
    if known is not None and known[0] == version:
        return str(known[1])
    digest = hashlib.sha256()
    for name, tensor in state:
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{tuple(array.shape)}|{array.dtype}|".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    module.__dict__["_known_hash"] = (version, digest.hexdigest()[:16])
    return digest.hexdigest()[:16]


def _probe(values: Tensor) -> float:
    """Sum of a few entries: it changes with most writes past autograd (``.data``), which tensors do not count."""
    flat = values.detach().reshape(-1)
    return float(flat[:: max(1, len(flat) // 64)].double().sum())


def _version(values: Tensor) -> int:
    """How often a tensor was written to; tensors made in inference mode do not count."""
    return -1 if values.is_inference() else values._version
