"""The interface of a family of Hugging Face speech encoders, which are run layer by layer.

The submodules of the transformers models are called one by one rather than through the model's own ``forward``:
that is what makes padding exact, keeps the number of hidden states fixed under layer drop, and lets every projection
be wrapped by an adapter. A family defines how waveforms become the input of the first layer, the further arguments of
every layer, and the norm of the last output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ser_toolkit.errors import RecipeError

CountT = TypeVar("CountT", int, Tensor)


class Family(ABC):
    """One family of encoders.

    Args:
        model: the bare transformers model; parts that no hidden state depends on are removed from it.
        extractor: the checkpoint's transformers feature extractor.
    """

    #: ``attn_implementation`` to load the model with.
    attention = "sdpa"
    #: Whether the output of the last layer passes a final layer norm, which no other hidden state does.
    final_norm = False
    #: Whether the layers take a ``Packed`` batch.
    packs = False

    def __init__(self, model: Any, extractor: Any) -> None:
        self.model = model
        self.extractor = extractor

    @property
    @abstractmethod
    def holder(self) -> Any:
        """The module that holds ``layers``, the transformer layers, and the layer norm around them."""

    @property
    @abstractmethod
    def stem(self) -> list[nn.Module]:
        """The convolutional feature encoder, which fine-tuning usually keeps fixed."""

    @property
    @abstractmethod
    def hop(self) -> int:
        """Samples from one frame to the next."""

    @property
    @abstractmethod
    def receptive(self) -> int:
        """Samples that the first frame needs."""

    @property
    def longest(self) -> int | None:
        """Samples of the longest waveform that the positions reach; None: any length."""
        return None

    @property
    def cuts(self) -> bool:
        """Whether recordings beyond ``longest`` are cut into pieces, where others are refused."""
        return False

    @property
    def width(self) -> int:
        """Values of one frame."""
        return int(self.model.config.hidden_size)

    @abstractmethod
    def count(self, samples: CountT) -> CountT:
        """Frames (as they leave the upstream) of so many samples."""

    def embedded(self, samples: CountT) -> CountT:
        """Frames between feature encoder and positions, where SpecAugment works."""
        return self.count(samples)

    def seen(self, samples: Tensor) -> Tensor:
        """Frames that the layers see of so many samples, those behind the recording included: (B,) -> (B,)."""
        return self.count(samples)

    def see_own_length(self, margin_seconds: float) -> None:
        """Let the layers see each recording's own length in place of a window of one length for all.

        Args:
            margin_seconds: silence behind the recording.

        Raises:
            RecipeError: the family has no such window.
        """
        raise RecipeError(
            f"window=own is for Whisper's encoder, which pads every recording to 30 s; {self.model.config.model_type} "
            "sees each recording in its own length anyway. Remove model.upstream.window and margin_seconds."
        )

    @abstractmethod
    def embed(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """(B, N) samples -> (B, T, D) projected frames, without positions."""

    @abstractmethod
    def position(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Projected frames (B, T, D) -> input of the first layer (B, T, D), and further arguments of every layer."""

    def cast(self, dtype: torch.dtype) -> None:
        """Give the weights another precision; ``embed`` still takes float32."""
        self.model.to(dtype)

    def finish(self, hidden: Tensor) -> Tensor:
        """Pass the output of the last layer through the final norm, where there is one: (B, T, D) -> (B, T, D)."""
        return self.holder.layer_norm(hidden) if self.final_norm else hidden


def utterances(wav: Tensor, lengths: Tensor) -> list[Any]:
    """The recordings of a batch without their padding, as float32 arrays."""
    return [row[:n].detach().float().cpu().numpy() for row, n in zip(wav, lengths.tolist(), strict=True)]
