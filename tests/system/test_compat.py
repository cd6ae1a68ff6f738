"""In a process that only predicts, what transformers does not need waits, and is then imported once."""

from __future__ import annotations

import subprocess
import sys

BELOW = """
import sys
from ser_toolkit.system.dependencies import loading_transformers, only_predicts
only_predicts()
with loading_transformers():
    from scipy.optimize._numdiff import approx_derivative
import scipy.optimize
import scipy.optimize._differentiable_functions as another
module = sys.modules["scipy.optimize._numdiff"]
print(another.approx_derivative is approx_derivative is module.approx_derivative)
print(module.__spec__.origin == module.__file__, callable(scipy.optimize.minimize))
print([entry for entry in sys.meta_path if getattr(entry, "__name__", "") == "_BelowLater"])
"""


def test_what_lies_below_a_module_that_waits_is_imported_once() -> None:
    done = subprocess.run([sys.executable, "-c", BELOW], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["True", "True True", "[]"], done.stderr
