"""Who is trained on and who is tested: folds, split protocols, published ones by their names, and the leakage audit.

One file a source of published protocols, found by a walk.
"""

import sys

from ser_toolkit.parts.finding import import_siblings

import_siblings(sys.modules[__name__])
