"""Stages of one unit of work, each a step that writes its file: fit, choose, tune, score."""
