"""Features of a frozen upstream: extracted and stored once for every fold, seed and head, normalised per speaker."""

#: Raise it when a change of the toolkit changes features for the same fingerprint: old stores are then left alone.
FEATURE_VERSION = 1
