"""Features derived from a richer store of the same upstream, without running the upstream again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ser_toolkit.data.batch import Moments, StoredPart
from ser_toolkit.data.reduction import ORDER, Reduction
from ser_toolkit.errors import StoreError
from ser_toolkit.features.key import StoreKey
from ser_toolkit.features.store import FeatureStore


class Derived:
    """Features that can be made from other stores of the same upstream, precision and kind of frames.

    Only float32 frames serve: rounded ones would give other moments.

    Args:
        key: of the store that is to be filled.
        root: where stores lie.
    """

    def __init__(self, key: StoreKey, root: Path | None) -> None:
        self._reduction = key.reduction
        self._stores = []
        for reduction in _richer(key.reduction):
            store = FeatureStore(replace(key, reduction=reduction, dtype="float32"), root)
            if len(store) and store.key.identity != key.identity:
                self._stores.append(store)

    def covers(self, keys: Sequence[str]) -> bool:
        """Whether the features of all these audio hashes can be derived."""
        return any(not store.missing(keys) for store in self._stores)

    def make(self, keys: Sequence[str]) -> dict[str, StoredPart]:
        """Features of these audio hashes, derived from a richer store.

        Raises:
            StoreError: the richer store is damaged or gone.
        """
        for store in self._stores:
            if not store.missing(keys):
                normalise = self._reduction.layer_norm and not store.key.reduction.layer_norm
                return {key: self._derived(part, normalise) for key, part in store.load(keys).items()}
        raise StoreError("A store that features were to be made from has gone. Run the same command again.")

    def _derived(self, part: StoredPart, normalise: bool) -> StoredPart:
        if isinstance(part, Moments):
            return self._reduction.less(part)
        return self._reduction.of(part, normalise)


def _richer(needed: Reduction) -> list[Reduction]:
    """Reductions from which the needed one can be derived, the smallest first."""
    found = [Reduction(what, layer_norm) for what in ORDER for layer_norm in (needed.layer_norm, False)]
    return [reduction for reduction in dict.fromkeys(found) if reduction.covers(needed)]
