"""The synthetic corpus: script, voices, phones, source-filter synthesis, rendering to disk."""
