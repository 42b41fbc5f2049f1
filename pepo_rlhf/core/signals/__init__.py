"""Signals, one a file: NAME.py holds SIGNAL, its description, and its formula; no other file lists it.

A weighting names those that it needs (`TokenWeighting.signals`), and a policy computes no others. Names are known
without an import of torch, so that a wrong one is told before anything starts.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from pepo_rlhf.core.signal import Signal

BUILT_IN = tuple(sorted(module.name for module in iter_modules(__path__)))


def describe(name: str) -> Signal:
    """Return the description of a signal out of BUILT_IN."""
    signal: Signal = import_module(f"{__name__}.{name}").SIGNAL
    return signal
