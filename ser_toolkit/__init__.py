"""Speech emotion recognition that can be trusted.

Nothing heavy is imported here: ``import ser_toolkit`` answers at once, torch comes with the part that needs it. It
also lets a torchaudio whose compiled part does not fit torch be imported (``system/repairs.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ser_toolkit.system import repairs, version

__version__ = version.VERSION
__all__ = ["__version__", "load_model", "load_recipe", "train"]

if TYPE_CHECKING:
    from ser_toolkit.config.recipe import load_recipe
    from ser_toolkit.experiment.experiment import train
    from ser_toolkit.inference.recognizer import load_model

_LAZY = {
    "load_model": "ser_toolkit.inference.recognizer",
    "load_recipe": "ser_toolkit.config.recipe",
    "train": "ser_toolkit.experiment.experiment",
}

repairs.install()


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'ser_toolkit' has no attribute {name!r}")
