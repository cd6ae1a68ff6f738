"""What stored weights were made for: a class order and an upstream."""

from __future__ import annotations

from collections.abc import Sequence

from ser_toolkit.errors import CheckpointError
from ser_toolkit.upstreams.base import Upstream

#: Name under which an upstream's fingerprint stands in checkpoints and weights.
FINGERPRINT = "upstream_fingerprint"


def check_identity(
    own: Sequence[str], upstream: Upstream, classes: Sequence[str] | None, fingerprint: str | None
) -> None:
    """Compare what stored weights were made for with a model.

    Args:
        own: the model's class order.
        upstream: the model's upstream.
        classes: class order of the weights.
        fingerprint: the frozen upstream of the weights; None for a fine-tuned one.

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
            f"These weights were trained on upstream {fingerprint}, this model has {upstream.fingerprint()}. "
            "Use the same upstream weights and settings, or train again."
        )
