"""Round numbers for the report's data."""

from __future__ import annotations

import math
from collections.abc import Iterable


def rounded(value: float) -> float | None:
    """Return `value` to four significant digits, to keep the file small; None if not finite, which JSON cannot hold."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def rounded_list(values: Iterable[float]) -> list[float | None]:
    """Return each of `values` to four significant digits, None where not finite."""
    return [rounded(value) for value in values]
