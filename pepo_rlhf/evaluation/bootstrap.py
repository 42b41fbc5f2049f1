"""Confidence intervals by bootstrap."""

from __future__ import annotations

import numpy as np

_RESAMPLES = 2000


def bootstrap_interval(values: np.ndarray) -> tuple[float, float]:
    """95% percentile interval of the mean of independent `values`, from 2000 resamples with a fixed seed."""
    chosen = np.random.default_rng(0).integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.percentile(values[chosen].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
