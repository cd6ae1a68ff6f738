"""Inside a Hugging Face encoder: loading, its input, exact padding, packed batches, faster equivalents."""
