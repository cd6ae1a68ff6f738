"""The plan of feature stores: which upstream is run over which recordings, what is stored of its frames, how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import torch

from ser_toolkit.data.audio.channels import channel_index
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.reduction import FRAMES, Reduction
from ser_toolkit.features.estimate import Storage, plan_line, readable, storage
from ser_toolkit.features.key import StoreKey, precision_label
from ser_toolkit.features.settings import FeatureSettings
from ser_toolkit.features.store import FeatureStore
from ser_toolkit.parts.own_sources import source_identity
from ser_toolkit.upstreams.base import Upstream


@dataclass(frozen=True, eq=False)
class StoreSpec:
    """One store of features: everything that extraction into it needs.

    Args:
        upstream: frozen; fuses no others.
        manifest: the utterances, with the channel of their recordings that is read.
        reduction: what is stored of the frames, and why no less is enough.
        settings: precision, types and batches.
        device: where the upstream runs.
        allow_silent: whether digitally silent recordings are used.
        root: folder of stores; ``cache_root() / "features"`` when None.
    """

    upstream: Upstream
    manifest: Manifest
    reduction: Reduction
    settings: FeatureSettings
    device: torch.device | str
    allow_silent: bool
    root: Path | None

    @cached_property
    def store(self) -> FeatureStore:
        """The store on disk, which need not exist yet."""
        channel = channel_index(self.manifest.channel)
        key = store_key(self.upstream, self.reduction, self.settings, self.device, channel)
        return FeatureStore(key, self.root)

    @property
    def missing(self) -> pd.DataFrame:
        """Rows of the manifest that are not stored as of the last look at the disk, each sound once."""
        rows = self.manifest.table.drop_duplicates("audio_hash")
        return rows[rows["audio_hash"].isin(self.store.missing(rows["audio_hash"].tolist()))]

    @property
    def seconds_missing(self) -> float:
        """Audio seconds that are still to be extracted, from a new look at the disk."""
        self.store.refresh()
        return float(self.missing["duration"].sum())

    def storage(self, rows: pd.DataFrame | None = None) -> Storage:
        """Disk that features of rows of the manifest take; of all of them when None."""
        table = self.manifest.table if rows is None else rows
        return storage(self.upstream, table, self.reduction, self.settings.dtype)

    @property
    def line(self) -> str:
        """Reduction that is stored, its size, and why no smaller one is enough, in one line."""
        return plan_line(self.upstream, self.reduction, self.storage())

    def forecast(self) -> tuple[str, str]:
        """``line``, and a line on the work that is left, with the folder that it goes into."""
        left, whole = self.storage(self.missing), self.storage()
        return self.line, (
            f"  {left.seconds / 60:.1f} of {whole.seconds / 60:.1f} minutes to extract, {readable(left.size)} more in "
            f"{self.store.folder}"
        )


def store_specs(
    upstream: Upstream,
    manifest: Manifest,
    reductions: Sequence[Reduction] | None = None,
    settings: FeatureSettings | None = None,
    device: torch.device | str = "cpu",
    allow_silent: bool = False,
    root: Path | None = None,
) -> list[StoreSpec]:
    """Stores of an upstream's features: one, or one for each of the upstreams that it fuses.

    Args:
        upstream: frozen.
        manifest: the utterances.
        reductions: what is stored under each upstream, as ``model.feature_plan.reductions`` finds; frames when None.
        settings: precision, types and batches; the defaults when None.
        device: where the upstream runs.
        allow_silent: whether digitally silent recordings are used.
        root: folder of stores; ``cache_root() / "features"`` when None.
    """
    chosen = reductions or [FRAMES] * len(upstream.parts)
    return [
        StoreSpec(part, manifest, reduction, settings or FeatureSettings(), device, allow_silent, root)
        for part, reduction in zip(upstream.parts, chosen, strict=True)
    ]


def store_key(
    upstream: Upstream,
    reduction: Reduction,
    settings: FeatureSettings,
    device: torch.device | str,
    channel: int | None = None,
) -> StoreKey:
    """Key that an upstream's features are stored under."""
    precision, name = precision_label(settings.precision, device), type(upstream).__name__
    source = source_identity(type(upstream))
    return StoreKey(upstream.fingerprint(), reduction, settings.dtype, precision, name, source, channel)
