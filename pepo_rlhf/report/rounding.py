"""Numbers as the report stores them."""

from __future__ import annotations

import math
from collections.abc import Iterable


def rounded(value: float) -> float | None:
    """`value` to four significant digits, which keeps the file small; None if not finite, which JSON cannot hold."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def rounded_list(values: Iterable[float]) -> list[float | None]:
    """Each of `values` to four significant digits, None where not finite."""
    return [rounded(value) for value in values]
