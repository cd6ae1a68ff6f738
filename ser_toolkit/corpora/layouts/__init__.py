"""Layouts that several corpora share: named files, columns of a table, audformat, Hugging Face datasets."""
