"""Layer mix: the hidden states of all layers -> one sequence of frames."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ser_toolkit.data.batch import Moments, layer_pairs
from ser_toolkit.errors import RecipeError
from ser_toolkit.parts.finding import Part


class LayerMix(nn.Module, Part):
    """All layers -> one sequence: (B, L, T, D) -> (B, T, D').

    Where ``layer_norm`` is set, the frames that come in are layer-normalised already (``normalised_layers``): by the
    model behind its upstream, or in the store. Everything that is fitted to features, such as the statistics of a
    speaker, comes behind it, and the mix itself stays linear.

    Args:
        num_layers: L, injected from the upstream.
        feature_dim: D, injected from the upstream.
        layer_norm: normalise each frame of each layer to mean 0 and variance 1 over D first, without parameters, so
            that layers of large magnitude do not dominate.
    """

    #: Whether the map is linear in the frames of each layer (then moments are enough behind it).
    linear: bool = True
    #: Whether the variance of the mixed frames needs second moments across layers, not of each layer alone.
    crosses_layers: bool = True

    def __init__(self, num_layers: int, feature_dim: int, layer_norm: bool = False) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.output_dim = feature_dim
        self.layer_norm = layer_norm

    @property
    def weights(self) -> Tensor | None:
        """Share of each layer in the mix, (L,), sums to 1; None where layers are not summed."""
        return None

    @property
    def used_layers(self) -> tuple[int, ...]:
        """Layers that the result depends on, in order."""
        return tuple(range(self.num_layers))

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """(B, L, T, D) -> (B, T, D')."""

    def from_moments(self, moments: Moments) -> tuple[Tensor, Tensor | None]:
        """Moments of every layer -> moments of the mixed frames; exact, because the mix is linear.

        Args:
            moments: of a batch; a variance needs ``cross`` where the mix crosses layers, else ``variance``.

        Returns:
            Mean (B, D') and population variance (B, D'), None where only means are there.

        Raises:
            RecipeError: this mix is not linear in the frames, or ``cross`` is needed and missing.
        """
        weights = self.weights
        if not self.linear or weights is None:
            raise RecipeError(
                f"{type(self).__name__} is not a weighted sum of layers, so it cannot be computed from stored moments. "
                "Store frames instead (features.keep=frames)."
            )
        mean = weights @ moments.mean
        if moments.cross is None:
            return mean, None
        first, second = (index.to(weights.device) for index in layer_pairs(self.num_layers))
        # a pair of two layers stands for both of its orders
        shares = weights[first] * weights[second] * torch.where(first == second, 1.0, 2.0)
        return mean, shares @ moments.cross


def normalised_layers(frames: Tensor) -> Tensor:
    """Each frame of each layer to mean 0 and variance 1 over D, without parameters: (..., D) -> (..., D)."""
    return F.layer_norm(frames, frames.shape[-1:])


class SingleLayer(LayerMix):
    """The frames of one layer.

    Args:
        num_layers: L, injected from the upstream.
        feature_dim: D, injected from the upstream.
        layer: index of the layer; 0 is the input of the first block, -1 the last layer.
        layer_norm: layer-normalise each frame first, without parameters.

    Raises:
        RecipeError: the upstream has no such layer.
    """

    crosses_layers = False
    one_hot: Tensor

    def __init__(self, num_layers: int, feature_dim: int, layer: int = -1, layer_norm: bool = False) -> None:
        super().__init__(num_layers, feature_dim, layer_norm)
        if not -num_layers <= layer < num_layers:
            raise RecipeError(
                f"SingleLayer: layer {layer} was asked for, but the upstream has {num_layers} layers. "
                f"Set layer between {-num_layers} and {num_layers - 1} (negative counts from the last)."
            )
        self.layer = layer % num_layers
        # It follows the device of the model, but is no weight: the recipe determines it.
        self.register_buffer("one_hot", F.one_hot(torch.tensor(self.layer), num_layers).float(), persistent=False)

    @property
    def weights(self) -> Tensor:
        """1 at the chosen layer, 0 elsewhere: (L,)."""
        return self.one_hot

    @property
    def used_layers(self) -> tuple[int, ...]:
        """Index of the single layer that is used."""
        return (self.layer,)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, L, T, D) -> (B, T, D)."""
        return frames[:, self.layer]

    def from_moments(self, moments: Moments) -> tuple[Tensor, Tensor | None]:
        """(B, L, D) -> (B, D) each: those of the layer."""
        variances = moments.variances
        return moments.mean[:, self.layer], None if variances is None else variances[:, self.layer]


class WeightedSum(LayerMix):
    """The sum of all layers with learnt weights that are positive and sum to 1.

    Weights are the softmax of one learnt score per layer; all scores start at 0, so the start is the average of layers.

    Source: Yang et al. 2021, "SUPERB: Speech processing Universal PERformance Benchmark", section 2.2.

    Args:
        num_layers: L, injected from the upstream.
        feature_dim: D, injected from the upstream.
        layer_norm: layer-normalise each frame of each layer first, without parameters, so that layers of large
            magnitude do not dominate.
    """

    def __init__(self, num_layers: int, feature_dim: int, layer_norm: bool = False) -> None:
        super().__init__(num_layers, feature_dim, layer_norm)
        self.scores = nn.Parameter(torch.zeros(num_layers))

    @property
    def weights(self) -> Tensor:
        """Softmax of the scores: (L,)."""
        return self.scores.softmax(dim=0)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, L, T, D) -> (B, T, D)."""
        # A product of (L,) and (B, L, T * D) reads the frames once; scaling every layer would copy them all.
        return (self.weights @ frames.flatten(2)).unflatten(1, frames.shape[2:])


class ConcatenateLayers(LayerMix):
    """The frames of all layers side by side: D' = L * D, layer by layer.

    Args:
        num_layers: L, injected from the upstream.
        feature_dim: D, injected from the upstream.
        layers: indices of the layers to take, in this order, negative counted from the last; all when null.
        layer_norm: layer-normalise each frame of each layer first, without parameters.

    Raises:
        RecipeError: the upstream has no such layer.
    """

    crosses_layers = False

    def __init__(
        self, num_layers: int, feature_dim: int, layers: list[int] | None = None, layer_norm: bool = False
    ) -> None:
        super().__init__(num_layers, feature_dim, layer_norm)
        wrong = [layer for layer in layers or [] if not -num_layers <= layer < num_layers]
        if wrong or layers == []:
            raise RecipeError(
                f"ConcatenateLayers: layers {wrong or layers} were asked for, but the upstream has {num_layers}. "
                f"Give indices between {-num_layers} and {num_layers - 1}."
            )
        self.layers = list(range(num_layers)) if layers is None else [layer % num_layers for layer in layers]
        self.output_dim = len(self.layers) * feature_dim

    @property
    def used_layers(self) -> tuple[int, ...]:
        """Indices of the layers that are put side by side."""
        return tuple(sorted(set(self.layers)))

    def forward(self, frames: Tensor) -> Tensor:
        """(B, L, T, D) -> (B, T, len(layers) * D)."""
        return frames[:, self.layers].transpose(1, 2).flatten(2)

    def from_moments(self, moments: Moments) -> tuple[Tensor, Tensor | None]:
        """(B, L, D) -> (B, L' * D) each: every layer with its own mean and variance."""
        variances = moments.variances
        return (
            moments.mean[:, self.layers].flatten(1),
            None if variances is None else variances[:, self.layers].flatten(1),
        )
