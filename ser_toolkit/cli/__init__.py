"""The commands, one file each: ``ser-train`` is ``train.py``. Files with an underscore are helpers, not commands."""
