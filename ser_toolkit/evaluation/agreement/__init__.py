"""Raters: their answers, their agreement, and how models compare with listeners."""
