"""A trained run at work: a recording -> emotion, alone or in batches, by one model or the mean of a run's folds."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, overload

import numpy as np
import torch

from ser_toolkit.errors import AudioError, RecipeError, RunWarning
from ser_toolkit.inference.ensemble import Ensemble, SpeakerStatistics
from ser_toolkit.inference.prediction import Prediction, prediction_from
from ser_toolkit.inference.stored import RunInfo, build_models, units_of_run
from ser_toolkit.inference.waveforms import (
    USUAL,
    Reading,
    Recording,
    check_window,
    chunks,
    recording_from_array,
    recording_from_file,
    windows_of,
)
from ser_toolkit.system.interrupts import stop_if_interrupted
from ser_toolkit.terms import PLAIN

#: Audio seconds that go through the upstream at once; padding never changes a result, so this is only speed.
BATCH_SECONDS = 60.0
#: So many batches of recordings are read ahead, so that those of similar length can go together.
READ_AHEAD = 8

AudioPath = str | Path


def load_model(
    run: str | Path,
    fold: str | int | None = None,
    variant: str | None = None,
    seed: int | None = None,
    device: str | torch.device = "cpu",
    upstream: str | Path | None = None,
    trust_code: bool = False,
) -> Recognizer:
    """Load what ``ser-train`` has trained; neither the corpus nor its labels are needed.

    Without ``fold`` and ``seed`` the probabilities (and dimensions) of all complete models of the run are averaged: the
    natural choice for new speakers. A frozen upstream is held and run once for all of them; a fine-tuned one is part
    of each model, so that memory and time grow with the folds. Parts of one's own are those that the run was trained
    with: where their code has changed since, ``trust_code=True`` loads the copy that the run keeps, with a warning.

    Args:
        run: a run directory (``runs/<recipe>/<hash>``), or a folder in it such as ``plain/fold=03/seed=0``.
        fold: name or number (from 1) of one fold.
        variant: ``plain`` (default), or a speaker-normalised variant of the run, which needs enrolment audio.
        seed: one seed.
        device: where it runs: ``cpu``, ``cuda`` or ``cuda:1``.
        upstream: where the upstream's folder or file of weights lies now, if not where the run had it.
        trust_code: let the run execute code that is not yours: the copy of own parts that it keeps, and classes of
            other packages that it names. Only where you trust whoever made the run with everything on this machine.

    Raises:
        ResultError: there is no run, no complete model in it, or weights of a complete unit are gone.
        RecipeError: the fold, variant or device is unknown, or a class is not trusted.
        CheckpointError: weights are damaged, or belong to other classes or another upstream.
    """
    found = units_of_run(run, fold, variant, seed)
    found = replace(found, upstream=None if upstream is None else str(upstream), trust_code=trust_code)
    target = _device(device)
    loaded = build_models(found)
    info, configuration = replace(found.info, notes=(*found.info.notes, *loaded.notes)), loaded.configuration
    for note in info.notes:
        warnings.warn(note, RunWarning, stacklevel=2)
    ensemble = Ensemble(loaded.models, target, loaded.speaker_level, loaded.trained)
    reading = Reading(configuration.allow_silent, configuration.channel)
    return Recognizer(ensemble, info, reading, configuration.window_seconds)


class Recognizer:
    """Recordings -> predictions, in evaluation mode, without gradients, in float32.

    Args:
        ensemble: the models.
        info: where they come from.
        reading: how the run read its recordings.
        window_seconds: windows that the run was tested with; None when it was tested on whole utterances.
    """

    def __init__(
        self, ensemble: Ensemble, info: RunInfo, reading: Reading = USUAL, window_seconds: float | None = None
    ) -> None:
        self.info = info
        self._ensemble = ensemble
        self._reading, self._window_seconds = reading, ensemble.within_limit_seconds(window_seconds)
        self._speaker: list[SpeakerStatistics] | None = None
        self._known: Mapping[str, str] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Class order; empty for a system without classes."""
        return self._ensemble.classes

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Dimensions (valence, arousal, dominance) that had ratings in training; empty for a system without."""
        return self._ensemble.dimensions

    @property
    def sampling_rate(self) -> int:
        """Rate that recordings are brought to, in hertz."""
        return self._ensemble.sampling_rate

    # --- what a user asks for ------------------------------------------------------------------------------------

    def predict(
        self,
        audio: str | Path | np.ndarray,
        sampling_rate: int | None = None,
        window_seconds: float | None = None,
        enrolment: Sequence[AudioPath] | None = None,
    ) -> Prediction:
        """Recognise the emotion of one recording.

        Recordings of up to a minute are taken as a whole. Longer ones are cut into windows of 30 s whose outputs are
        averaged, or earlier where the upstream takes less (Whisper's published window: 30 s); ``Prediction.windows``
        is their number. A run that was tested on windows keeps its own.

        Args:
            audio: a file, or an array (N,), (channels, N) or (N, channels) of floats in [-1, 1]; channels are averaged.
            sampling_rate: of an array, in hertz; a file states its own.
            window_seconds: cut recordings that are longer than this into windows of this length; ``math.inf`` never.
            enrolment: other recordings of the same speaker, for a speaker-normalised variant (see ``enrol``).

        Raises:
            AudioError: the recording cannot be used; the message gives the reason.
            RecipeError: enrolment audio is missing, or given where it has no meaning.
        """
        if enrolment is not None:
            return self.enrol(enrolment).predict(audio, sampling_rate, window_seconds)
        self._check(window_seconds)
        if isinstance(audio, str | Path):
            if sampling_rate is not None:
                raise AudioError(f"{audio}: a file states its own sampling rate; give sampling_rate with arrays only.")
            recording = self._read(Path(audio))
        else:
            recording = recording_from_array(
                audio, sampling_rate, self.sampling_rate, self._ensemble.min_samples, self._reading
            )
        [result] = self._predict_chunk([recording], BATCH_SECONDS, window_seconds)
        if isinstance(result, AudioError):
            raise result
        return result

    @overload
    def predict_many(
        self,
        paths: Iterable[AudioPath],
        batch_seconds: float = ...,
        window_seconds: float | None = ...,
        on_error: Literal["raise"] = ...,
    ) -> Iterator[tuple[Path, Prediction]]: ...

    @overload
    def predict_many(
        self,
        paths: Iterable[AudioPath],
        batch_seconds: float = ...,
        window_seconds: float | None = ...,
        *,
        on_error: Literal["keep"],
    ) -> Iterator[tuple[Path, Prediction | AudioError]]: ...

    def predict_many(
        self,
        paths: Iterable[AudioPath],
        batch_seconds: float = BATCH_SECONDS,
        window_seconds: float | None = None,
        on_error: Literal["raise", "keep"] = "raise",
    ) -> Iterator[tuple[Path, Prediction | AudioError]]:
        """Recognise many recordings, lazily and in the order given; those of similar length go through together.

        Args:
            paths: files.
            batch_seconds: padded audio that goes through the upstream at once; changes speed and memory, no result.
            window_seconds: as in ``predict``.
            on_error: at a recording that cannot be used, ``raise`` its error behind the results of those before it, or
                ``keep`` it as the result and go on.

        Yields:
            (path, prediction), or (path, error) for a recording that cannot be used.
        """
        if on_error not in ("raise", "keep") or not batch_seconds > 0:
            raise RecipeError(
                f"predict_many got on_error={on_error!r}, batch_seconds={batch_seconds}: expected raise or keep, and "
                "a number above 0."
            )
        self._check(window_seconds)
        return self._predict_lazily(paths, batch_seconds, window_seconds, stop=on_error == "raise")

    def enrol(self, recordings: Sequence[AudioPath]) -> Recognizer:
        """A recogniser for one speaker, of a run's speaker-normalised variant.

        Features are standardised with their mean and standard deviation over these recordings, as those of the training
        speakers were with their own.

        Args:
            recordings: files of the speaker alone, as the variant demands: for ``transductive`` all that there are,
                for ``enrolment-5`` any five, for ``neutral`` neutral speech.

        Raises:
            RecipeError: the variant uses no enrolment, or there are no recordings.
            AudioError: a recording cannot be used.
        """
        if self.info.variant == PLAIN:
            raise RecipeError(
                "The plain variant knows nothing of a speaker and takes no enrolment audio; choose a "
                "speaker-normalised variant of the run, such as variant=transductive."
            )
        if isinstance(recordings, str | Path) or not recordings:
            raise RecipeError("Enrolment needs a list of recordings of the speaker, one at least.")
        if self._ensemble.speaker_level == "utterance" and len(recordings) < 2:
            raise RecipeError(
                f"Variant {self.info.variant} standardises pooled vectors: enrol two recordings at least."
            )
        found = [self._read(Path(path)) for path in recordings]
        waves = [piece for recording in found for piece in self._ensemble.within_limit(recording.wave())]
        enrolled = copy.copy(self)
        enrolled._speaker = self._ensemble.statistics(waves)
        return enrolled

    def condition(self, known: Mapping[str, str]) -> Recognizer:
        """A recogniser with facts that are known besides the sound; facts that are not given are unknown to the model.

        Args:
            known: for models with ``model.conditioning``, by column of the manifest: ``{"sex": "female"}``.

        Raises:
            RecipeError: the model is not conditioned on it, or does not know the value.
        """
        self._ensemble.check_known(known)
        conditioned = copy.copy(self)
        conditioned._known = dict(known)
        return conditioned

    # --- how it is done ------------------------------------------------------------------------------------------

    def _check(self, window_seconds: float | None) -> None:
        check_window(window_seconds, self.sampling_rate, self._ensemble.min_samples)
        if self.info.variant != PLAIN and self._speaker is None:
            raise RecipeError(
                f"Variant {self.info.variant} standardises features per speaker (or corpus): give other audio of the "
                "same one (enrolment=[files], or --enrol FILE on the command line), or use variant=plain."
            )

    def _read(self, path: Path) -> Recording:
        return recording_from_file(path, self.sampling_rate, self._ensemble.min_samples, self._reading)

    def _predict_lazily(
        self, paths: Iterable[AudioPath], batch_seconds: float, window_seconds: float | None, stop: bool
    ) -> Iterator[tuple[Path, Prediction | AudioError]]:
        recordings = (self._read(Path(path)) for path in paths)
        ahead = READ_AHEAD * batch_seconds * self.sampling_rate
        for chunk in chunks(recordings, ahead, stop):
            results = self._predict_chunk(chunk, batch_seconds, window_seconds)
            stop_if_interrupted()
            for recording, result in zip(chunk, results, strict=True):
                if stop and isinstance(result, AudioError):
                    raise result
                yield recording.path, result

    def _predict_chunk(
        self, recordings: Sequence[Recording], batch_seconds: float, window_seconds: float | None
    ) -> list[Prediction | AudioError]:
        """Cut, run in batches, and average the windows of each recording."""
        size = window_seconds if window_seconds is not None else self._window_seconds
        most = self._ensemble.max_samples
        cuts = [windows_of(recording, self.sampling_rate, size, most) for recording in recordings]
        waves = [piece for found in cuts if not isinstance(found, AudioError) for piece in found]
        outputs = iter(self._ensemble.run(waves, batch_seconds * self.sampling_rate, self._speaker, self._known))
        return [
            found if isinstance(found, AudioError) else self._result(recording, [next(outputs) for _ in found])
            for recording, found in zip(recordings, cuts, strict=True)
        ]

    def _result(self, recording: Recording, outputs: Sequence[np.ndarray | AudioError]) -> Prediction | AudioError:
        """The mean of a recording's windows, or the error of one of them."""
        values = []
        for output in outputs:
            if isinstance(output, AudioError):
                return AudioError(f"{recording.path}: {output}")
            values.append(output)
        seconds = len(recording.wave()) / self.sampling_rate
        names = (self.classes, self.dimensions)
        return prediction_from(np.mean(values, axis=0), *names, seconds, len(values), self.info.dimension_range)


def _device(name: str | torch.device) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n", 1)[0]
        raise RecipeError(f"Device {str(name)!r} cannot be used here ({reason}). Use cpu, cuda or cuda:N.") from error
    return device
