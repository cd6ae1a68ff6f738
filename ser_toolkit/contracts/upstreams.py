"""Contract checks of upstreams. ``make(True)`` gives a frozen one; what cannot be trained ignores ``frozen``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ser_toolkit.contracts.common import TOLERANCE, Make, NotApplicable, refusal, require
from ser_toolkit.errors import AudioError


def voice(samples: int, sampling_rate: int = 16000) -> np.ndarray:
    """A voice-like signal: harmonics with a slow formant-like envelope, (N,) float32 in [-1, 1]."""
    rng = np.random.default_rng(0)
    time = np.arange(samples) / sampling_rate
    f0 = 120 * (1 + 0.1 * np.sin(2 * np.pi * 3 * time))
    phase = 2 * np.pi * np.cumsum(f0) / sampling_rate
    signal = sum(np.sin(k * phase) / k for k in range(1, 20)) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))
    signal = signal + 0.01 * rng.standard_normal(samples)
    return (0.5 * signal / np.abs(signal).max()).astype(np.float32)


def speech(upstream: Any) -> tuple[Tensor, Tensor]:
    """Three utterances of different length that start at different places of the voice, each long enough."""
    unit = max(upstream.sampling_rate, 4 * upstream.receptive_samples)
    lengths = [unit, unit * 9001 // 16000, unit * 5003 // 16000]
    sound = voice(unit, upstream.sampling_rate)
    wav = torch.zeros(len(lengths), unit)
    for row, length in enumerate(lengths):
        wav[row, :length] = torch.from_numpy(np.roll(sound, 1000 * row)[:length])
    return wav, torch.tensor(lengths)


def _apart(found: Tensor, expected: Tensor) -> float:
    return float((torch.linalg.norm(found - expected) / torch.linalg.norm(expected)).detach())


def frames_have_the_shape_and_number_that_are_promised(make: Make) -> None:
    """(B, num_layers, max(frame_lengths), feature_dim) in float32, zero behind the end."""
    upstream = make()
    wav, lengths = speech(upstream)
    frames, counts = upstream(wav, lengths)
    wanted = (len(lengths), upstream.num_layers, int(counts.max()), upstream.feature_dim)
    require(frames.shape == wanted, f"frames of shape {tuple(frames.shape)}, expected (B, L, T, D) = {wanted}.")
    require(frames.dtype == torch.float32, f"frames in {frames.dtype}, expected float32.")
    require(frames.isfinite().all(), "frames that are not finite.")
    promised = upstream.frame_lengths(lengths).tolist()
    require(counts.tolist() == promised, f"{counts.tolist()} frames came, frame_lengths promises {promised}.")
    for row, count in enumerate(counts.tolist()):
        require(count >= 1, "an utterance without a frame.")
        require(
            not frames[row, :, count:].any(),
            "frames behind an utterance's end are not zero: "
            "frames.masked_fill(~valid_mask(counts, frames.shape[2])[:, None, :, None], 0).",
        )
        require(frames[row, :, :count].any(), "the frames of an utterance are all zero.")


def frame_lengths_hold_for_any_length(make: Make) -> None:
    """Frames from the shortest recording on; ten hops more give ten frames more, or one frame for the whole."""
    upstream = make()
    hop, shortest = upstream.hop_samples, upstream.receptive_samples
    base = max(4000, shortest)
    sound = torch.from_numpy(voice(base + max(hop, 2), upstream.sampling_rate))
    for length in (shortest, base - 1, base, base + 1, base + max(hop - 1, 1)):
        if length < shortest:
            continue
        frames, counts = upstream(sound[None, :length], torch.tensor([length]))
        promised = int(upstream.frame_lengths(torch.tensor([length])))
        found = {frames.shape[2], int(counts), promised}
        require(
            len(found) == 1,
            f"{length} samples give {frames.shape[2]} frames, a length of {int(counts)}, and frame_lengths {promised}.",
        )
    if hop:
        shorter, longer = upstream.frame_lengths(torch.tensor([base, base + 10 * hop])).tolist()
        require(
            longer == shorter + 10, f"ten hops of {hop} samples add {longer - shorter} frames: hop_samples is wrong."
        )
    else:
        found = upstream.frame_lengths(torch.tensor([base, 40 * base])).tolist()
        require(found == [1, 1], f"hop_samples = 0 says one frame an utterance, frame_lengths gives {found}.")


def an_utterance_is_the_same_alone_batched_permuted_and_padded(make: Make) -> None:
    """Padding and the other utterances of a batch never matter (relative 1e-5)."""
    upstream = make()
    if upstream.batch_dependent is not None:
        raise NotApplicable(f"batch_dependent: {upstream.batch_dependent}")
    wav, lengths = speech(upstream)
    batched, counts = upstream(wav, lengths)
    order = torch.tensor([2, 0, 1])
    permuted, _ = upstream(wav[order], lengths[order])
    wider, _ = upstream(nn.functional.pad(wav, (0, 3000)), lengths)
    for row, (length, count) in enumerate(zip(lengths.tolist(), counts.tolist(), strict=True)):
        alone, _ = upstream(wav[row : row + 1, :length], lengths[row : row + 1])
        place = order.tolist().index(row)
        for how, frames in (("in a batch", batched[row]), ("permuted", permuted[place]), ("padded", wider[row])):
            for layer in range(upstream.num_layers):
                apart = _apart(frames[layer, :count], alone[0, layer])
                require(
                    apart < TOLERANCE,
                    f"frames of layer {layer} {how} differ from those alone by a relative {apart:.2g}: cut each "
                    "utterance to its length, mask in attention and norms, or run them one by one.",
                )


def evaluation_is_deterministic_and_depends_on_the_speech(make: Make) -> None:
    """The same waves give the same bits; others give others."""
    upstream = make()
    wav, lengths = speech(upstream)
    first, counts = upstream(wav, lengths)
    again, _ = upstream(wav, lengths)
    require(torch.equal(first, again), "the same speech gives other frames the second time: leave nothing to chance.")
    shortest = int(counts.min())
    apart = _apart(first[0, :, :shortest], first[1, :, :shortest])
    require(apart > 1e-3, "different speech gives the same frames.")


def the_input_is_left_as_it_was(make: Make) -> None:
    """Waves and lengths are not written to."""
    upstream = make()
    wav, lengths = speech(upstream)
    before = wav.clone(), lengths.clone()
    upstream(wav, lengths)
    require(torch.equal(wav, before[0]) and torch.equal(lengths, before[1]), "waves or lengths were changed in place.")


def the_shortest_recording_passes_and_a_shorter_one_is_refused(make: Make) -> None:
    """``receptive_samples`` is enough, and one less raises AudioError."""
    upstream = make()
    shortest = upstream.receptive_samples
    wav = torch.from_numpy(voice(shortest, upstream.sampling_rate))[None]
    frames, counts = upstream(wav, torch.tensor([shortest]))
    require(int(counts) >= 1 and frames.isfinite().all(), f"{shortest} samples (receptive_samples) give no frame.")
    error = refusal(AudioError, lambda: upstream(wav[:, : shortest - 1], torch.tensor([shortest - 1])))
    require(error, "a recording shorter than receptive_samples is taken: leave forward to the base class.")
    require(f"at least {shortest} samples" in str(error), f"the error does not say how much is needed: {error}")


def a_frozen_one_has_no_gradient_and_stays_in_evaluation_mode(make: Make) -> None:
    """A frozen upstream stays frozen and in evaluation mode, whatever a trainer calls."""
    upstream = make()
    require(upstream.frozen, "frozen=True does not make it frozen: call super().__init__(frozen).")
    waves = speech(upstream)
    before, _ = upstream(*waves)
    nn.Sequential(upstream).train()
    require(not any(module.training for module in upstream.modules()), "train() puts it into training mode.")
    require(
        not any(parameter.requires_grad for parameter in upstream.parameters()),
        "weights require gradients: call self.freeze() at the end of __init__ when frozen.",
    )
    after, _ = upstream(*waves)
    require(not after.requires_grad and torch.equal(before, after), "frames change, or carry a gradient.")


def an_unfrozen_one_trains_and_evaluates_like_the_frozen(make: Make) -> None:
    """Each trainable weight gets a gradient with ``frozen=False``."""
    tuned, upstream = make(False), make()
    if tuned.frozen:
        raise NotApplicable("nothing to train")
    waves = speech(upstream)
    apart = _apart(tuned.eval()(*waves)[0], upstream(*waves)[0])
    require(apart < TOLERANCE, f"in evaluation it differs from the frozen one by a relative {apart:.2g}.")
    frames, _ = tuned.train()(*waves)
    (frames * torch.linspace(-1, 1, frames.shape[-1])).square().sum().backward()
    trained = {name: p.grad for name, p in tuned.named_parameters() if p.requires_grad}
    require(trained, "frozen=False leaves no weight to train.")
    missing = [name for name, gradient in trained.items() if gradient is None]
    require(not missing, f"{missing[:3]} require gradients and get none: requires_grad_(False) for what is not used.")
    found = [gradient for gradient in trained.values() if gradient is not None]
    require(all(g.isfinite().all() for g in found) and any(g.any() for g in found), "gradients are zero or not finite.")


def the_fingerprint_is_one_line_and_stable(make: Make) -> None:
    """The same for each instance of the same weights and settings, before and behind use."""
    upstream = make()
    before = upstream.fingerprint()
    require(before and "\n" not in before, f"fingerprint() gives {before!r}: expected one line.")
    upstream(*speech(upstream))
    require(upstream.train().fingerprint() == before, "the fingerprint changes with use or mode.")
    require(make().fingerprint() == before, "another instance has another fingerprint: random weights need a seed.")


def weights_of_one_make_another_equal(make: Make) -> None:
    """Saved and loaded, it gives the same bits."""
    upstream, other = make(), make()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(upstream.state_dict())
    waves = speech(upstream)
    require(torch.equal(other(*waves)[0], upstream(*waves)[0]), "loaded weights give other frames.")


CHECKS = (
    frames_have_the_shape_and_number_that_are_promised,
    frame_lengths_hold_for_any_length,
    an_utterance_is_the_same_alone_batched_permuted_and_padded,
    evaluation_is_deterministic_and_depends_on_the_speech,
    the_input_is_left_as_it_was,
    the_shortest_recording_passes_and_a_shorter_one_is_refused,
    a_frozen_one_has_no_gradient_and_stays_in_evaluation_mode,
    an_unfrozen_one_trains_and_evaluates_like_the_frozen,
    the_fingerprint_is_one_line_and_stable,
    weights_of_one_make_another_equal,
)
