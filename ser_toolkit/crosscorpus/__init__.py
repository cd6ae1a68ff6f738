"""Runs on other corpora: one run on one corpus (``single``), every run on every run's corpus (``matrix``)."""
