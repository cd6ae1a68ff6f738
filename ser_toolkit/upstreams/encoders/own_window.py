"""Windows of a recording's own length: the margin behind it, and pieces where positions do not reach its end."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ser_toolkit.data.batch import pad_sequences
from ser_toolkit.errors import RecipeError

#: Seconds of silence behind a recording, by default.
OWN_MARGIN = 0.5

#: An upstream's ``extract``: (B, N), (B,) -> (B, L, T, D), (B,).
Extract = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def own_margin(window: str, margin_seconds: float | None, peer_padding: bool) -> float | None:
    """Seconds of silence behind a recording in its own window, None for the published window.

    Raises:
        RecipeError: an unknown window, a margin that is no length or has no meaning, or the peer's padding beside it.
    """
    if window not in ("published", "own"):
        raise RecipeError(f"window is {window!r}, expected published or own.")
    if window == "published":
        if margin_seconds is not None:
            raise RecipeError(f"margin_seconds is {margin_seconds} beside window=published. Set window=own as well.")
        return None
    margin = OWN_MARGIN if margin_seconds is None else float(margin_seconds)
    if not 0 <= margin < float("inf"):
        raise RecipeError(f"margin_seconds is {margin_seconds}, expected seconds from 0 up.")
    if peer_padding:
        raise RecipeError("peer_padding pads as transformers does, window=own does not. Choose one or the other.")
    return margin


def extract_in_pieces(extract: Extract, wav: Tensor, lengths: Tensor, longest: int, hop: int) -> tuple[Tensor, Tensor]:
    """Frames of recordings of any length: (B, N), (B,) -> (B, L, T, D), (B,).

    A recording of more than ``longest`` samples is cut into as few pieces as possible, equally long up to one frame;
    each piece is extracted as a recording by itself.

    Args:
        extract: takes recordings of up to ``longest`` samples.
        wav: waveforms.
        lengths: valid samples of each.
        longest: a multiple of ``hop``, in samples.
        hop: from one frame to the next, in samples.
    """
    pieces = [_cut(row[:length], longest, hop) for row, length in zip(wav, lengths.tolist(), strict=True)]
    waves, sizes = pad_sequences([piece for cut in pieces for piece in cut])
    frames, counts = extract(waves, sizes.to(lengths.device))
    flat = [row[:, :count].transpose(0, 1) for row, count in zip(frames, counts.tolist(), strict=True)]
    joined, start = [], 0
    for cut in pieces:
        joined.append(torch.cat(flat[start : start + len(cut)]))
        start += len(cut)
    totals = [len(row) for row in joined]
    # not pad_sequences, which writes in place: these frames may carry gradients
    padded = [F.pad(row, (0, 0, 0, 0, 0, max(totals) - len(row))) for row in joined]
    return torch.stack(padded).transpose(1, 2), torch.tensor(totals, device=lengths.device)


def _cut(signal: Tensor, longest: int, hop: int) -> list[Tensor]:
    """Pieces of a waveform (N,), all but the last of a whole number of frames."""
    number = -(-len(signal) // longest)
    size = -(-len(signal) // (number * hop)) * hop
    return [signal[start : start + size] for start in range(0, len(signal), size)]
