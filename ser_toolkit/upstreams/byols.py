"""BYOL-S: a small convolutional encoder of speech, self-supervised on the speech of AudioSet."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.errors import CheckpointError, RecipeError
from ser_toolkit.upstreams._local_weights import load_exactly, weights_file
from ser_toolkit.upstreams.base import Upstream, weights_hash
from ser_toolkit.upstreams.signal.mel import centred_frames, mel_filterbank, power_spectrum, standardise

N_FFT = 1024
HOP = 160
NUM_MELS = 64
BAND_HZ = (60.0, 7800.0)
CHANNELS = 64
NUM_BLOCKS = 3
POOLED_FRAMES = 2**NUM_BLOCKS
#: Mean and standard deviation of log mel values that the BYOL-A authors publish with their example of use. They ask
#: for the statistics of one's own data where these are known. Source: README of the BYOL-A reference implementation.
PUBLISHED_MEAN = -5.4919195
PUBLISHED_STD = 5.0389895
#: Checkpoints that fit, as messages name them.
FAMILY = "a BYOL-S or BYOL-A convolutional (AudioNTT2020) checkpoint"
#: Where the weights of the recipes are published, for messages.
WHERE = "the recipes' one is in SERAB/checkpoints of github.com/Neclow/SERAB, MIT, 2.4 MB"
#: Size of a frame behind the last block: channels x remaining mel bands.
FLAT = CHANNELS * NUM_MELS // POOLED_FRAMES


class BYOLS(Upstream):
    """BYOL-S (or BYOL-A) convolutional encoder: one 512-d frame every 80 ms, from a local checkpoint.

    Log mel spectrogram of 16 kHz speech (64 bands, 64 ms window, 10 ms hop), standardised; three blocks of 3 x 3
    convolution, batch norm, ReLU and 2 x 2 max-pooling; two linear layers with ReLU on every remaining frame. The
    published models end in mean + max over time: here that is a pooling's job. In training, batch norm keeps its
    stored statistics (batch statistics would depend on the padding and on who else is in the batch).

    Source: Scheidwasser-Clow et al., SERAB, ICASSP 2022; Niizumi et al., BYOL-A, IJCNN 2021.

    Args:
        checkpoint: state dict file (``.pth``); ``~`` and ``${VARIABLE}`` are expanded, other paths are looked for in
            the working directory, ``SER_WEIGHTS`` and the further folders of ``places.weight_folders``.
        frozen: keep the weights, or train them.
        normalisation: of the log mel values: ``utterance`` to mean 0 and standard deviation 1 over the utterance (the
            recording level vanishes), ``fixed`` with ``mean`` and ``std``, ``none`` as they are.
        mean: mean that ``fixed`` subtracts, in natural-log power; default published with BYOL-A.
        std: standard deviation that ``fixed`` divides by, above 0; default published with BYOL-A.
        layers: ``last`` gives the encoder's output; ``all`` gives five layers: the three blocks (each max-pooled to
            the last one's resolution, 64 channels x 8 bands) and the two linear layers. Needs a 512-d checkpoint,
            because all layers of an upstream have one size.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe or holds another model.
        RecipeError: ``std`` is not positive, or ``normalisation`` is unknown.
    """

    def __init__(
        self,
        checkpoint: str,
        frozen: bool = True,
        normalisation: Literal["utterance", "fixed", "none"] = "utterance",
        mean: float = PUBLISHED_MEAN,
        std: float = PUBLISHED_STD,
        layers: Literal["last", "all"] = "last",
    ) -> None:
        super().__init__(frozen)
        if normalisation not in ("utterance", "fixed", "none"):
            raise RecipeError(f"BYOLS got normalisation={normalisation!r}: expected utterance, fixed or none.")
        if std <= 0:
            raise RecipeError(f"BYOLS got std={std}: expected a number above 0. Omit std for the published value.")
        self.normalisation = normalisation
        self.mean, self.std = mean, std
        self.layers = layers
        self.num_layers = NUM_BLOCKS + 2 if layers == "all" else 1
        self.hop_samples = HOP * POOLED_FRAMES
        self.receptive_samples = HOP * (POOLED_FRAMES - 1)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        self.register_buffer("filters", mel_filterbank(NUM_MELS, N_FFT, self.sampling_rate, *BAND_HZ), persistent=False)
        self.window: Tensor
        self.filters: Tensor

        path = weights_file("BYOLS", checkpoint, f"a BYOL-S or BYOL-A state dict (.pth; {WHERE})")
        weights = _read_state_dict(path)
        self.feature_dim = _width(weights, path)
        if layers == "all" and self.feature_dim != FLAT:
            raise RecipeError(
                f"BYOLS layers=all needs a {FLAT}-d checkpoint, {str(path)!r} has {self.feature_dim}. Use layers=last."
            )
        self.features = _convolutions()
        self.fc = _per_frame_layers(self.feature_dim)
        load_exactly("BYOLS", self, weights, path, f"{FAMILY} with 64 mel bands")
        if frozen:
            self.freeze()

    def train(self, mode: bool = True) -> BYOLS:
        """Training mode, unless frozen; batch norm stays in evaluation mode."""
        super().train(mode)
        for module in self.features:
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """(B,) samples -> (B,) frames: an eighth of the mel frames, rounded down."""
        return torch.div(centred_frames(lengths, HOP), POOLED_FRAMES, rounding_mode="floor")

    def fingerprint(self) -> str:
        """Weights and input normalisation."""
        setting = f"fixed({self.mean!r},{self.std!r})" if self.normalisation == "fixed" else self.normalisation
        layers = "" if self.layers == "last" else f"|layers={self.layers}"
        return f"BYOLS|weights={weights_hash(self)}|normalisation={setting}{layers}"

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N), (B,) -> (B, L, T, D), (B,) with T = mel frames // 8."""
        # in half precision the power of soft speech would vanish
        with torch.autocast(wav.device.type, enabled=False):
            hidden = self._log_mel(wav.float(), lengths).transpose(1, 2)[:, None]
        counts = centred_frames(lengths, HOP)
        blocks = []
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                # it pads an utterance that is alone with zeros, so it must see zeros behind one in a batch
                hidden = hidden * valid_mask(counts, hidden.shape[-1])[:, None, None, :]
            hidden = layer(hidden)
            if isinstance(layer, nn.MaxPool2d):
                counts = torch.div(counts, 2, rounding_mode="floor")
                blocks.append(hidden)
        steps = [_flatten(hidden)]
        for layer in self.fc:
            steps.append(layer(steps[-1]))
        if self.layers == "all":
            early = [_flatten(nn.functional.max_pool2d(block, 2 ** (2 - i))) for i, block in enumerate(blocks[:2])]
            frames = torch.stack([*early, steps[0], steps[2], steps[-1]], dim=1)
        else:
            frames = steps[-1][:, None]
        return frames * valid_mask(counts, frames.shape[2])[:, None, :, None], counts

    def _log_mel(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """Standardised log mel spectrogram: (B, N), (B,) -> (B, T, 64)."""
        power = power_spectrum(wav, lengths, N_FFT, self.window, HOP) @ self.filters
        log_mel = (power + torch.finfo(torch.float32).eps).log()
        if self.normalisation == "utterance":
            return standardise(log_mel, centred_frames(lengths, HOP), per_feature=False)
        return (log_mel - self.mean) / self.std if self.normalisation == "fixed" else log_mel


def _convolutions() -> nn.Sequential:
    """The three blocks; their names in the state dict are those of the published checkpoints."""
    layers: list[nn.Module] = []
    for block in range(NUM_BLOCKS):
        layers += [
            nn.Conv2d(1 if block == 0 else CHANNELS, CHANNELS, kernel_size=3, padding=1),
            nn.BatchNorm2d(CHANNELS),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers)


def _flatten(hidden: Tensor) -> Tensor:
    """Channels and bands of one time step side by side: (B, C, F, T) -> (B, T, F * C)."""
    return hidden.permute(0, 3, 2, 1).flatten(start_dim=2)


def _per_frame_layers(width: int) -> nn.Sequential:
    """Two linear layers with the dropout of BYOL-A between them."""
    return nn.Sequential(nn.Linear(FLAT, width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, width), nn.ReLU())


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    """Weights by name; nothing in the file is executed."""
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"BYOLS checkpoint {str(path)!r} is not a plain file of weights and was refused, because anything else "
            "in it could run code when read. Save the state dict alone with torch.save(model.state_dict(), path)."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise CheckpointError(
            f"BYOLS checkpoint {str(path)!r} is damaged or cannot be read ({reason}). Download it again."
        ) from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(
            f"BYOLS checkpoint {str(path)!r} holds a {type(weights).__name__} that is not a state dict: expected "
            "tensors by name (features.0.weight, ..., fc.3.bias). Save the model's state dict alone."
        )
    return weights


def _width(weights: dict[str, Tensor], path: Path) -> int:
    """Size of the frames, which the published checkpoints differ in (512, 1024, 2048)."""
    last = weights.get("fc.3.bias")
    if last is None:
        names = ", ".join(list(weights)[:3]) or "nothing"
        raise CheckpointError(
            f"BYOLS checkpoint {str(path)!r} is of another model: found {names}, ..., expected features.0.weight, ..., "
            f"fc.3.bias. Give {FAMILY}."
        )
    return len(last)
