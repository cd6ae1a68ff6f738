"""Identity of stored weights: the class order and the upstream that they were made for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ser_toolkit.errors import CheckpointError
from ser_toolkit.terms import listed
from ser_toolkit.upstreams.base import Upstream

#: Name under which an upstream's fingerprint stands in checkpoints and weights.
FINGERPRINT = "upstream_fingerprint"
#: Name under which the settings that the fingerprint is made of stand there.
SETTINGS = "upstream_settings"
#: Settings that a message lists, at most.
MOST_SETTINGS = 6


def plain_settings(upstream: Upstream) -> dict[str, Any]:
    """Settings that an upstream's frames depend on besides its weights, as plain data."""
    return dict(json.loads(json.dumps(upstream.frame_settings, default=str)))


def difference(upstream: Upstream, settings: Mapping[str, Any] | None) -> str:
    """Settings in which an upstream differs from a stored one, in words.

    Args:
        upstream: the one that is here.
        settings: of the stored one; None where it states none.
    """
    if not settings:
        return "what differs was not recorded"
    here = plain_settings(upstream)
    keys = sorted(key for key in here.keys() | settings.keys() if here.get(key) != settings.get(key))
    if not keys:
        return "its settings are the same, its weights differ"
    named = [f"{key} was {settings.get(key)}, is {here.get(key)}" for key in keys]
    return listed(named, MOST_SETTINGS, "; ")


def check_identity(
    own: Sequence[str],
    upstream: Upstream,
    classes: Sequence[str] | None,
    fingerprint: str | None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Compare what stored weights were made for with a model.

    Args:
        own: the model's class order.
        upstream: the model's upstream.
        classes: class order of the weights.
        fingerprint: the frozen upstream of the weights; None for a fine-tuned one.
        settings: of the upstream of the weights; None where they state none.

    Raises:
        CheckpointError: the class order or the upstream differs; both are named.
    """
    if classes is None or tuple(classes) != own:
        raise CheckpointError(
            f"These weights were trained for the class order {list(classes or [])}, this model has "
            f"{list(own)}. Predictions would be misnamed; use the run's own config.yaml."
        )
    if upstream.frozen != (fingerprint is not None):
        stored, here = ("frozen", "fine-tuned") if fingerprint is not None else ("fine-tuned", "frozen")
        raise CheckpointError(
            f"These weights were trained with a {stored} upstream, this model's is {here}. "
            "Use the config.yaml that lies beside the weights."
        )
    if fingerprint is not None and fingerprint != upstream.fingerprint():
        raise CheckpointError(
            f"These weights were trained on upstream {fingerprint}, this model has {upstream.fingerprint()}: "
            f"{difference(upstream, settings)}. Use the same upstream weights and settings (where they lie "
            "now is said with --upstream PATH), or train again."
        )
    if fingerprint is None and settings and settings != plain_settings(upstream):
        raise CheckpointError(
            f"These weights hold a fine-tuned upstream with other settings than this model's: "
            f"{difference(upstream, settings)}. Use the same settings, or train again."
        )
