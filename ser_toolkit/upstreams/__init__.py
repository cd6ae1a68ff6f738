"""Waveform -> frames of every layer: one file a family, found by a walk."""

import sys

from ser_toolkit.parts.finding import import_siblings

import_siblings(sys.modules[__name__])
