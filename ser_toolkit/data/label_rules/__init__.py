"""Label rules that change what another rule of ``data.labels`` reads: one file a rule, found by a walk."""

import sys

from ser_toolkit.parts.finding import import_siblings

import_siblings(sys.modules[__name__])
