"""Scores of a benchmark from k graded samples of each prompt: avg@k, pass@k, majority@k."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from pepo_rlhf.evaluation.bootstrap import bootstrap_interval


@dataclass(frozen=True)
class Sample:
    """A graded response. prediction: its answer in a form that equal answers share; None for no answer."""

    score: float
    prediction: str | None


def pass_at(num_samples: int, num_right: int, k: int) -> float:
    """Unbiased estimate of the chance that one of k samples is right: 1 - C(n - c, k) / C(n, k) (arXiv 2107.03374)."""
    return 1.0 - comb(num_samples - num_right, k) / comb(num_samples, k)


def majority_score(samples: Sequence[Sample]) -> float:
    """Score of the most frequent answer; the mean over answers that tie. 0 if no sample answers."""
    votes = Counter(sample.prediction for sample in samples if sample.prediction is not None)
    if not votes:
        return 0.0
    most = max(votes.values())
    winners = [prediction for prediction, count in votes.items() if count == most]
    by_prediction = {sample.prediction: sample.score for sample in samples}
    return sum(by_prediction[winner] for winner in winners) / len(winners)


def summarise(prompts: Sequence[Sequence[Sample]]) -> dict[str, float]:
    """Means over prompts, each with the same number k of samples scored 0 or 1.

    Returns:
        avg@k with a 95% interval (low, high) by bootstrap over prompts, pass@ 1, 2, 4, ... k, and majority@k.
    """
    k = len(prompts[0])
    averages = np.array([np.mean([sample.score for sample in samples]) for samples in prompts])
    low, high = bootstrap_interval(averages)
    right = [sum(sample.score == 1.0 for sample in samples) for samples in prompts]
    powers = [2**n for n in range(k.bit_length()) if 2**n < k] + [k]
    passes = {f"pass@{n}": float(np.mean([pass_at(k, count, n) for count in right])) for n in powers}
    majority = float(np.mean([majority_score(samples) for samples in prompts]))
    return {f"avg@{k}": float(averages.mean()), "low": low, "high": high, **passes, f"majority@{k}": majority}
