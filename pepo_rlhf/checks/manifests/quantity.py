"""Kubernetes' way to write amounts."""

from __future__ import annotations

import math
import re

_UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
_UNITS |= {unit: 1000.0**power for power, unit in enumerate("MGTPE", start=2)}
_UNITS |= {f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", start=1)}
_QUANTITY = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)([numkMGTPE]|[KMGTPE]i)?")


def quantity(text: str | float) -> float:
    """Number of a Kubernetes quantity, such as 500m or 16Gi; ValueError for what is none, or beyond floats."""
    match = _QUANTITY.fullmatch(str(text))
    number = float(match[1]) * _UNITS[match[2] or ""] if match else math.inf
    if number == math.inf:
        raise ValueError(f"{text!r} is no Kubernetes quantity, such as 8, 500m or 16Gi")
    return number
