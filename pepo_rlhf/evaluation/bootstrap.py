"""Confidence intervals by bootstrap."""

from __future__ import annotations

import numpy as np

_NUM_RESAMPLES = 2000


def bootstrap_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95% percentile interval of the mean of independent `values` ([N]), with a fixed seed.

    One value has no spread, and is both ends of its interval.
    """
    from scipy.stats import bootstrap  # imported late: it takes a second

    if len(values) == 1:
        return float(values[0]), float(values[0])
    result = bootstrap(
        (values,), np.mean, n_resamples=_NUM_RESAMPLES, method="percentile", rng=np.random.default_rng(0)
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
