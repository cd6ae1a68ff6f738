"""Fixtures of the feature tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def one_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upstreams of these tests that count, wait or fail stand for the one that they are made of: one store for all."""
    monkeypatch.setattr("ser_toolkit.features.plan.source_identity", lambda part: "")
