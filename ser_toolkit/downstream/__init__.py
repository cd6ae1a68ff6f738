"""Behind the upstream: layer mix, frame stage, pooling, head."""

import sys

from ser_toolkit.parts.finding import import_siblings

import_siblings(sys.modules[__name__])
