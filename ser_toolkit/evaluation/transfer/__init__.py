"""Figures of runs on other corpora: common classes, dimensions, variants, the matrix train x test."""
