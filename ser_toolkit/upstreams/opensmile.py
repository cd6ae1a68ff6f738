"""openSMILE: expert-designed acoustic features, one vector an utterance or one every 10 ms."""

from __future__ import annotations

from importlib.metadata import version
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ser_toolkit.errors import AudioError, RecipeError
from ser_toolkit.system.interrupts import held
from ser_toolkit.upstreams._one_by_one import arrays_one_by_one
from ser_toolkit.upstreams.base import Upstream

#: Frames a second. With a rate that is no multiple of it, their number follows no simple rule.
STEPS = 100
USUAL_RATE = 16000
#: How many 10 ms steps fewer than a recording has openSMILE writes, because its longest window (60 ms for the pitch of
#: GeMAPS and ComParE, 40 ms in emobase) must fit. Measured with openSMILE 3.0 (package 2.6) for every length from 480
#: to 1200 samples at 16 kHz, and for some at 8 to 48 kHz.
STEPS_LOST = {"eGeMAPSv02": 4, "GeMAPSv01b": 4, "ComParE_2016": 4, "emobase": 2}
#: A shorter recording gives NaN everywhere (measured in the same way); samples at 16 kHz.
SHORTEST_SAMPLES = {"eGeMAPSv02": 960, "GeMAPSv01b": 960, "ComParE_2016": 960, "emobase": 640}
LARGEST_SAMPLE = 32767 / 32768


class OpenSmile(Upstream):
    """OpenSMILE feature sets: functionals of an utterance (88 in eGeMAPS) or low-level descriptors every 10 ms.

    There is nothing to train and no gradient; features are computed on the CPU, one utterance after the other, so a
    feature store pays off. Needs the extra ``ser-toolkit[opensmile]``, whose C library has its own licence: free for
    research, not for commercial products. Values that openSMILE cannot define (the pitch of an unvoiced utterance)
    are zeros by its own convention; what is not a finite number is refused, never replaced. Samples are clipped to full
    scale and quantised to 16 bits, as openSMILE does.

    Source: Eyben, Wöllmer & Schuller, openSMILE, ACM Multimedia 2010; Eyben et al., The Geneva Minimalistic Acoustic
    Parameter Set, IEEE Trans. Affective Computing 7(2), 2016; Schuller et al., ComParE, Interspeech 2016.

    Args:
        feature_set: ``eGeMAPSv02`` (88 functionals or 25 descriptors), ``GeMAPSv01b`` (62 or 18), ``ComParE_2016``
            (6373 or 65) or ``emobase`` (988 or 26).
        level: ``functionals``, one frame an utterance, or ``lld``, low-level descriptors.
        sampling_rate: to which recordings are brought, in hertz; a multiple of 100. A corpus's own rate, such as 44100,
            gives other features: spectral ones reach up to half of it.

    Raises:
        RecipeError: the package is not installed, the names are unknown, or the rate is no multiple of 100.
    """

    def __init__(
        self,
        feature_set: Literal["eGeMAPSv02", "GeMAPSv01b", "ComParE_2016", "emobase"] = "eGeMAPSv02",
        level: Literal["functionals", "lld"] = "functionals",
        sampling_rate: int = USUAL_RATE,
    ) -> None:
        super().__init__(frozen=True)
        if feature_set not in STEPS_LOST or level not in ("functionals", "lld"):
            raise RecipeError(
                f"OpenSmile got feature_set={feature_set!r}, level={level!r}: expected one of {', '.join(STEPS_LOST)} "
                "and functionals or lld."
            )
        if sampling_rate < 8000 or sampling_rate % STEPS:
            raise RecipeError(
                f"OpenSmile got sampling_rate={sampling_rate}: expected 8000 Hz or more, and a multiple of {STEPS}."
            )
        try:
            import opensmile
        except ImportError as error:
            raise RecipeError(
                "OpenSmile needs the package opensmile, which is not installed: pip install 'ser-toolkit[opensmile]'. "
                "Its licence allows research, not commercial products. Or choose another model.upstream."
            ) from error
        self.feature_set = feature_set
        self.level = level
        self.sampling_rate = sampling_rate
        levels = opensmile.FeatureLevel
        self._smile = opensmile.Smile(
            opensmile.FeatureSet[feature_set],
            levels.Functionals if level == "functionals" else levels.LowLevelDescriptors,
        )
        self.feature_dim = len(self.feature_names)
        self.num_layers = 1
        self.hop_samples = 0 if level == "functionals" else sampling_rate // STEPS
        self.receptive_samples = SHORTEST_SAMPLES[feature_set] * sampling_rate // USUAL_RATE
        self.freeze()

    @property
    def feature_names(self) -> list[str]:
        """Names of the D features, as openSMILE calls them."""
        return list(self._smile.feature_names)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """(B,) samples -> (B,) frames: 1 for functionals."""
        if self.level == "functionals":
            return torch.ones_like(lengths)
        return torch.div(lengths, self.hop_samples, rounding_mode="floor") - STEPS_LOST[self.feature_set]

    def fingerprint(self) -> str:
        """Feature set, level and version of openSMILE, and the rate where it is not the usual one."""
        rate = "" if self.sampling_rate == USUAL_RATE else f"|{self.sampling_rate} Hz"
        return f"OpenSmile|{self.feature_set}|{self.level}{rate}|opensmile={version('opensmile')}"

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N), (B,) -> (B, 1, T, D), (B,); T = 1 for functionals.

        Raises:
            AudioError: a recording, or a feature of it, is not finite.
        """
        return arrays_one_by_one("openSMILE", self._features, wav, lengths)

    def _features(self, signal: np.ndarray) -> np.ndarray:
        """One utterance: (N,) -> (T, D) float32."""
        # the package casts to 16-bit integers, where full scale would wrap around to a click of the other sign
        with held():  # a frame comes by a callback from C, which an exception would make it lose
            values = self._smile(np.clip(signal, -1.0, LARGEST_SAMPLE), self.sampling_rate)
        values = np.asarray(values, dtype=np.float32).reshape(self.feature_dim, -1).T.copy()
        expected = int(self.frame_lengths(torch.tensor(len(signal))))
        if len(values) != expected:  # something else than Ctrl-C was raised in its callback, such as a lack of memory
            raise AudioError(
                f"openSMILE returned {len(values)} of {expected} frames of a recording of {len(signal)} samples. "
                "The recording need not be the reason: run the same command again."
            )
        broken = [self.feature_names[index] for index in np.flatnonzero(~np.isfinite(values).all(axis=0))]
        if broken:
            raise AudioError(
                f"openSMILE {self.feature_set} has no finite value for {len(broken)} of {self.feature_dim} features "
                f"(first {broken[0]}) of a recording of {len(signal)} samples. Remove it from the corpus."
            )
        return values
