"""Objectives: outputs and targets of a batch -> loss that training minimises."""

import sys

from ser_toolkit.parts.finding import import_siblings

import_siblings(sys.modules[__name__])
