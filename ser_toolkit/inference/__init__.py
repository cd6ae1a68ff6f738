"""Trained models at work: recordings -> emotions, with or without a corpus at hand."""

from __future__ import annotations
