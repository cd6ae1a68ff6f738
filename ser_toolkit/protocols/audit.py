"""The leakage audit: overlap of training, dev and test, printed before training and stored with the result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ser_toolkit.protocols.folds import Fold, Protocol, rows_of
from ser_toolkit.protocols.lookalikes import lookalikes
from ser_toolkit.terms import counted, listed

#: Kinds of things that parts can share, and their columns.
SHARED = {"speakers": "speaker", "dialogues": "dialogue", "sentences": "sentence", "audio": "audio_hash"}
#: Bias-corrected Cramer's V between speaker and emotion from which on the audit names it.
CONFOUNDED = 0.3
_SHOWN = 3


def audit(table: pd.DataFrame, folds: Sequence[Fold]) -> pd.DataFrame:
    """Count, for each fold, the contents of its parts and what they share.

    Args:
        table: a manifest's table; columns that are unknown throughout count as 0.
        folds: of a protocol.

    Returns:
        One row per fold, with the columns ``fold``; ``train``, ``dev``, ``test`` (utterances); for each kind of
        ``SHARED``: ``speakers_train``, ``speakers_dev``, ``speakers_test`` (different ones in each part),
        ``speakers_shared_test`` (those of the test part that also occur in train or dev) and ``speakers_shared_dev``
        (those of the dev part that also occur in train); and ``train:CLASS``, ``dev:CLASS``, ``test:CLASS``.
    """
    row = {name: number for number, name in enumerate(table["id"])}
    nothing = (np.full(len(table), -1), pd.Index([]))
    codes: dict[str, tuple[np.ndarray, pd.Index]] = {
        kind: pd.factorize(table[column]) if column in table.columns else nothing for kind, column in SHARED.items()
    }
    label, classes = pd.factorize(table["label"], sort=True)
    found = []
    for fold in folds:
        parts = {name: rows_of(getattr(fold, name), row) for name in ("train", "dev", "test")}
        counts: dict[str, object] = {"fold": fold.name, **{name: len(rows) for name, rows in parts.items()}}
        for kind, (code, values) in codes.items():
            there = {name: _count(code[rows], len(values)) > 0 for name, rows in parts.items()}
            counts.update({f"{kind}_{name}": int(seen.sum()) for name, seen in there.items()})
            counts[f"{kind}_shared_test"] = int((there["test"] & (there["train"] | there["dev"])).sum())
            counts[f"{kind}_shared_dev"] = int((there["dev"] & there["train"]).sum())
        for name, rows in parts.items():
            per_class = _count(label[rows], len(classes))
            counts.update({f"{name}:{one}": int(n) for one, n in zip(classes, per_class, strict=True)})
        found.append(counts)
    return pd.DataFrame(found)


def audit_sentences(table: pd.DataFrame, folds: Sequence[Fold], protocol: Protocol | None = None) -> list[str]:
    """The audit in short sentences, for the terminal and the report.

    Args:
        table: see ``audit``.
        folds: see ``audit``.
        protocol: that made the folds; leaks and selection of a published one come first.
    """
    counts = audit(table, folds)
    sentences = [*(protocol.remarks(table) if protocol is not None else ()), _size(counts)]
    for kind, column in SHARED.items():
        if kind != "audio":
            known = int(table[column].notna().sum()) if column in table.columns else 0
            partly = f", {counted(len(table) - known, 'utterance')} without" if 0 < known < len(table) else ""
            sentences.append(_overlap(counts, kind) + partly if known else f"{kind}: not known")
    sentences.extend(_identical_audio(table, counts))
    sentences.extend(_missing_from_test(counts))
    sentences.extend(f"warning: {sentence}" for sentence in lookalikes(table))
    return sentences


def corpora_left_out(table: pd.DataFrame, folds: Sequence[Fold]) -> list[str]:
    """A warning where a corpus of several is in no part of any fold, although the result bears its name.

    Args:
        table: a whole manifest's, with the utterances to which the label rule gives no target.
        folds: of a protocol.
    """
    used = table["id"].isin({name for fold in folds for part in (fold.train, fold.dev, fold.test) for name in part})
    lost = sorted(set(table["corpus"].dropna()) - set(table.loc[used, "corpus"].dropna()))
    if not lost:
        return []
    return [
        f"warning: no utterance of {', '.join(lost)} takes part: the label rule gives none a target, or the protocol "
        "leaves all of them out"
    ]


def confounding(table: pd.DataFrame) -> float:
    """How well the speaker predicts the emotion: bias-corrected Cramer's V, from 0 (not at all) to 1.

    Utterances without speaker or label are left out; with fewer than two speakers or classes it is 0.

    Source:
        W. Bergsma, "A bias-correction for Cramer's V and Tschuprow's T", J. Korean Statistical Society 42(3), 2013,
        323-328: phi2+ = max(0, phi2 - (r-1)(c-1)/(n-1)), r~ = r - (r-1)^2/(n-1), c~ likewise,
        V~ = sqrt(phi2+ / min(r~ - 1, c~ - 1)).
    """
    known = table[table["speaker"].notna() & table["label"].notna()]
    observed = pd.crosstab(known["speaker"], known["label"]).to_numpy(dtype=float)
    if min(observed.shape, default=0) < 2:
        return 0.0
    n = observed.sum()
    expected = observed.sum(axis=1, keepdims=True) * observed.sum(axis=0, keepdims=True) / n
    phi2 = float(((observed - expected) ** 2 / expected).sum() / n)
    r, c = observed.shape
    corrected = max(0.0, phi2 - (r - 1) * (c - 1) / (n - 1))
    free = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return float(min(1.0, np.sqrt(corrected / free))) if free > 0 else 0.0


def _count(codes: np.ndarray, size: int) -> np.ndarray:
    """How often each of the codes 0..size-1 occurs; -1 stands for unknown."""
    return np.bincount(codes + 1, minlength=size + 1)[1:]


def _size(counts: pd.DataFrame) -> str:
    parts = ", ".join(f"{_span(counts[part])} {part}" for part in ("train", "dev", "test"))
    return f"folds: {len(counts)}, with {parts} utterances"


def _span(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low}" if low == high else f"{low}-{high}"


def _overlap(counts: pd.DataFrame, kind: str) -> str:
    """One sentence on one kind, about the fold that shares most."""
    sentences = []
    for part, others in (("test", "training or dev"), ("dev", "training")):
        shared = counts[f"{kind}_shared_{part}"]
        if (shared > 0).any():
            worst = int(shared.to_numpy().argmax())
            present = counts[f"{kind}_{part}"]
            upto = "" if shared.nunique() == 1 and present.nunique() == 1 else "up to "
            what = {"sentences": "prompts"}.get(kind, kind)
            sentences.append(
                f"{upto}{shared.iloc[worst]} of {present.iloc[worst]} {part} {what} also occur in {others}"
            )
    if not sentences:
        return f"{kind}: none shared"
    return f"{kind}: {'; '.join(sentences)}{' (scripted speech)' if kind == 'sentences' else ''}"


def _identical_audio(table: pd.DataFrame, counts: pd.DataFrame) -> list[str]:
    """Sentences on recordings that occur under several ids, and on those that stand on both sides of a split."""
    if "audio_hash" not in table.columns or table["audio_hash"].isna().all():
        return ["identical audio: not known"]
    repeated = table[table["audio_hash"].notna() & table["audio_hash"].duplicated(keep=False)]
    if repeated.empty:
        return ["identical audio: none"]
    groups = repeated.groupby("audio_hash", sort=False)
    contradictory = groups["label"].nunique() > 1
    appear = "appears" if groups.ngroups == 1 else "appear"
    recordings = counted(groups.ngroups, "recording")
    sentences = [f"identical audio: {recordings} {appear} under several ids: {_named(groups['id'])}"]
    if contradictory.any():
        bad = repeated[repeated["audio_hash"].map(contradictory)].groupby("audio_hash", sort=False)
        sentences.append(f"warning: {bad.ngroups} of them have different labels: {_named(bad['id'])}")
    for part, others in (("test", "training or dev"), ("dev", "training")):
        shared = counts[f"audio_shared_{part}"]
        if (shared > 0).any():
            sentences.append(
                f"warning: identical audio stands in {part} and in {others} in {int((shared > 0).sum())} of "
                f"{counted(len(counts), 'fold')} (up to {counted(int(shared.max()), 'recording')})"
            )
    return sentences


def _named(groups: pd.api.typing.SeriesGroupBy) -> str:
    return listed((" = ".join(sorted(ids)) for _, ids in groups), _SHOWN, "; ")


def _missing_from_test(counts: pd.DataFrame) -> list[str]:
    """A sentence on classes that test parts lack: recall over such a fold is over fewer classes."""
    columns = [name for name in counts.columns if name.startswith("test:")]
    lacking = [
        f"{name.removeprefix('test:')} in fold {fold}"
        for name in columns
        for fold, count in zip(counts["fold"], counts[name], strict=True)
        if count == 0
    ]
    if not lacking:
        return []
    return [f"classes without a test utterance: {listed(lacking, _SHOWN)}"]
