"""Scores from k graded samples of each prompt, for the command and for evaluations during training.

Samples of one prompt are not independent, so that intervals come from a bootstrap over prompts.
"""

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


def average(prompts: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Return avg@k and its 95% interval (mean, low, high).

    Args:
        prompts: scores, k for each prompt.
    """
    means = np.array([np.mean(scores) for scores in prompts])
    return float(means.mean()), *bootstrap_interval(means)


def best(prompts: Sequence[Sequence[float]]) -> float:
    """Return pass@k from exactly k scores of each prompt: the mean over prompts of the largest score."""
    return float(np.mean([max(scores) for scores in prompts]))


def pass_at(num_samples: int, num_right: int, k: int) -> float:
    """Return the unbiased estimate of the chance that one of k samples is right (arXiv 2107.03374).

    It is 1 - C(n - c, k) / C(n, k), with c right ones among n samples.
    """
    return 1.0 - comb(num_samples - num_right, k) / comb(num_samples, k)


def majority_score(samples: Sequence[Sample]) -> float:
    """Return the score of the most frequent answer: the mean over answers that tie, and 0 if no sample answers."""
    votes = Counter(sample.prediction for sample in samples if sample.prediction is not None)
    if not votes:
        return 0.0
    most = max(votes.values())
    winners = [prediction for prediction, count in votes.items() if count == most]
    by_prediction = {sample.prediction: sample.score for sample in samples}
    return sum(by_prediction[winner] for winner in winners) / len(winners)


def summarise(prompts: Sequence[Sequence[Sample]]) -> dict[str, float]:
    """Return avg@k with its interval (low, high), pass@ 1, 2, 4, ... k, and majority@k, means over prompts.

    Args:
        prompts: graded samples, as many for each prompt; pass@n counts those that score 1.
    """
    k = len(prompts[0])
    mean, low, high = average([[sample.score for sample in samples] for samples in prompts])
    right = [sum(sample.score == 1.0 for sample in samples) for samples in prompts]
    powers = [2**n for n in range(k.bit_length()) if 2**n < k] + [k]
    passes = {f"pass@{n}": float(np.mean([pass_at(k, count, n) for count in right])) for n in powers}
    majority = float(np.mean([majority_score(samples) for samples in prompts]))
    return {f"avg@{k}": mean, "low": low, "high": high, **passes, f"majority@{k}": majority}
