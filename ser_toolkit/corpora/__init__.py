"""Where speech comes from: one file a corpus, found by a walk."""

import sys

from ser_toolkit.parts.finding import import_siblings

import_siblings(sys.modules[__name__])
