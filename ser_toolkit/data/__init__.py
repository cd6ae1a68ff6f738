"""From a corpus to batches: manifest, labels, splits, audio, streams."""
