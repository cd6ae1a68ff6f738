"""Figures as tables, sentences, plots and pages: what a reader of a report sees."""
