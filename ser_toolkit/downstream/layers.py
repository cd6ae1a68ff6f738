"""Layer mix: the hidden states of all layers -> one sequence of frames."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ser_toolkit.errors import RecipeError


class LayerMix(nn.Module, ABC):
    """All layers -> one sequence: (B, L, T, D) -> (B, T, D').

    Args:
        num_layers: L, injected from the upstream.
        feature_dim: D, injected from the upstream.
    """

    #: Whether the map is linear in the frames of each layer (then moments are enough behind it).
    linear: bool = True

    def __init__(self, num_layers: int, feature_dim: int) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.output_dim = feature_dim

    @property
    def weights(self) -> Tensor | None:
        """Share of each layer in the mix, (L,), sums to 1; None where layers are not summed."""
        return None

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """(B, L, T, D) -> (B, T, D')."""

    def from_moments(self, mean: Tensor, second: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Moments of every layer -> moments of the mixed frames; exact, because the mix is linear.

        Args:
            mean: (B, L, D) mean over time.
            second: (B, L, L, D) centred cross-layer second moments, divided by the number of frames.

        Returns:
            Mean (B, D') and population variance (B, D'), None without ``second``.

        Raises:
            RecipeError: this mix is not linear in the frames.
        """
        weights = self.weights
        if not self.linear or weights is None:
            raise RecipeError(
                f"{type(self).__name__} as configured is not a weighted sum of layers, so it cannot be computed from "
                "stored moments. Store frames instead, or choose SingleLayer or WeightedSum(layer_norm=false)."
            )
        mixed_mean = torch.einsum("l,bld->bd", weights, mean)
        if second is None:
            return mixed_mean, None
        return mixed_mean, torch.einsum("l,m,blmd->bd", weights, weights, second)


class SingleLayer(LayerMix):
    """The frames of one layer.

    Args:
        num_layers: L, injected from the upstream.
        feature_dim: D, injected from the upstream.
        layer: index of the layer; 0 is the input of the first block, -1 the last layer.

    Raises:
        RecipeError: the upstream has no such layer.
    """

    one_hot: Tensor

    def __init__(self, num_layers: int, feature_dim: int, layer: int = -1) -> None:
        super().__init__(num_layers, feature_dim)
        if not -num_layers <= layer < num_layers:
            raise RecipeError(
                f"SingleLayer: layer {layer} was asked for, but the upstream has {num_layers} layers. "
                f"Set layer between {-num_layers} and {num_layers - 1} (negative counts from the last)."
            )
        self.layer = layer % num_layers
        # It follows the device of the model, but is no weight: it says nothing that the recipe does not say.
        self.register_buffer("one_hot", F.one_hot(torch.tensor(self.layer), num_layers).float(), persistent=False)

    @property
    def weights(self) -> Tensor:
        """1 at the chosen layer, 0 elsewhere: (L,)."""
        return self.one_hot

    def forward(self, frames: Tensor) -> Tensor:
        """(B, L, T, D) -> (B, T, D)."""
        return frames[:, self.layer]


class WeightedSum(LayerMix):
    """The sum of all layers with learnt weights that are positive and sum to 1.

    Weights are the softmax of one learnt score per layer; all scores start at 0, so the start is the average of layers.

    Source: Yang et al. 2021, "SUPERB: Speech processing Universal PERformance Benchmark", section 2.2.

    Args:
        num_layers: L, injected from the upstream.
        feature_dim: D, injected from the upstream.
        layer_norm: normalise each frame of each layer to mean 0 and variance 1 over D first, without parameters, so
            that layers of large magnitude do not dominate. Makes the mix non-linear: stored moments no longer suffice.
    """

    def __init__(self, num_layers: int, feature_dim: int, layer_norm: bool = False) -> None:
        super().__init__(num_layers, feature_dim)
        self.layer_norm = layer_norm
        self.linear = not layer_norm
        self.scores = nn.Parameter(torch.zeros(num_layers))

    @property
    def weights(self) -> Tensor:
        """Softmax of the scores: (L,)."""
        return self.scores.softmax(dim=0)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, L, T, D) -> (B, T, D)."""
        if self.layer_norm:
            frames = F.layer_norm(frames, frames.shape[-1:])
        # A product of (L,) and (B, L, T * D) reads the frames once; scaling every layer would copy them all.
        return (self.weights @ frames.flatten(2)).unflatten(1, frames.shape[2:])


class ConcatenateLayers(LayerMix):
    """The frames of all layers side by side: D' = L * D, layer by layer.

    Args:
        num_layers: L, injected from the upstream.
        feature_dim: D, injected from the upstream.
        layers: indices of the layers to take, in this order, negative counted from the last; all when null.

    Raises:
        RecipeError: the upstream has no such layer.
    """

    def __init__(self, num_layers: int, feature_dim: int, layers: list[int] | None = None) -> None:
        super().__init__(num_layers, feature_dim)
        wrong = [layer for layer in layers or [] if not -num_layers <= layer < num_layers]
        if wrong or layers == []:
            raise RecipeError(
                f"ConcatenateLayers: layers {wrong or layers} were asked for, but the upstream has {num_layers}. "
                f"Give indices between {-num_layers} and {num_layers - 1}."
            )
        self.layers = list(range(num_layers)) if layers is None else [layer % num_layers for layer in layers]
        self.output_dim = len(self.layers) * feature_dim

    def forward(self, frames: Tensor) -> Tensor:
        """(B, L, T, D) -> (B, T, len(layers) * D)."""
        return frames[:, self.layers].transpose(1, 2).flatten(2)

    def from_moments(self, mean: Tensor, second: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(B, L, D), (B, L, L, D) -> (B, L' * D), (B, L' * D): each layer keeps its own variance."""
        means = mean[:, self.layers].flatten(1)
        if second is None:
            return means, None
        # diagonal puts the layer last: (B, D, L).
        variances = second.diagonal(dim1=1, dim2=2).transpose(1, 2)
        return means, variances[:, self.layers].flatten(1)
