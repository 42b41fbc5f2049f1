"""How well signals find the tokens that depend on the image, and what token weightings make of them.

Every number is taken within a response, averaged over the responses to a prompt, and then over prompts, whose
bootstrap gives its 95% interval: the tokens of a response, and the responses to a prompt, are not independent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import rankdata

from pepo_rlhf.core.signal import response_values
from pepo_rlhf.core.weighting import BUILT_IN, load_weighting
from pepo_rlhf.credit.responses import ScoredResponse
from pepo_rlhf.evaluation.bootstrap import bootstrap_interval

TOP_FRACTION = 0.2  # of a response's tokens, by the target, that a signal should find
_NUM_WORDS, _MIN_COUNT = 6, 3


class Estimate(NamedTuple):
    """A mean over prompts and its 95% interval; nan where no prompt has a value."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


class MethodMeasure(NamedTuple):
    """What a weighting with its default settings makes of the signals.

    Attributes:
        p20, p80: of the weights of all tokens.
        share: of a response's advantage that lands on the top tokens; even weights give their share of the tokens.
    """

    p20: float
    p80: float
    share: Estimate


def rank_correlation(signal: np.ndarray, target: np.ndarray) -> float:
    """Return Spearman's rank correlation of [T] and [T]; nan where one of them is constant."""
    a, b = rankdata(signal), rankdata(target)
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else float("nan")


def top_tokens(target: np.ndarray) -> np.ndarray:
    """Return 1 for the TOP_FRACTION of the tokens with the largest target, at least one, and 0 for others; [T].

    Tokens of equal target at the edge count in part.
    """
    _, level, counts = np.unique(-target, return_inverse=True, return_counts=True)  # largest target first
    room = max(1, round(TOP_FRACTION * len(target))) - (np.cumsum(counts) - counts)
    return np.clip(room / counts, 0.0, 1.0)[level]


def roc_area(signal: np.ndarray, target: np.ndarray) -> float:
    """Return the area under the ROC of a signal for the top tokens: the chance that it ranks one above another token.

    It is nan where all tokens have one target.
    """
    if np.ptp(target) == 0:
        return float("nan")
    top = top_tokens(target)
    _, level = np.unique(signal, return_inverse=True)
    others = np.bincount(level, weights=1 - top)
    below = np.cumsum(others) - others / 2  # of those with the same signal one half
    return float(top @ below[level] / (top.sum() * others.sum()))


def over_prompts(responses: Sequence[ScoredResponse], value: Callable[[int, ScoredResponse], float]) -> Estimate:
    """Return the mean over prompts of `value`, a function of a response's number and the response; nan is left out."""
    values = defaultdict(list)
    for number, response in enumerate(responses):
        values[response.question].append(value(number, response))
    of_prompt = [np.mean([one for one in each if one == one]) for each in values.values() if any(v == v for v in each)]
    if not of_prompt:
        return Estimate(*[float("nan")] * 3)
    return Estimate(float(np.mean(of_prompt)), *bootstrap_interval(np.array(of_prompt)))


def signal_table(responses: Sequence[ScoredResponse]) -> dict[str, tuple[Estimate, Estimate]]:
    """Return rank correlation with the target and area under the ROC of each signal, by name."""

    def both(name: str) -> tuple[Estimate, Estimate]:
        return (
            over_prompts(responses, lambda _, response: rank_correlation(response.signals[name], response.target)),
            over_prompts(responses, lambda _, response: roc_area(response.signals[name], response.target)),
        )

    return {name: both(name) for name in sorted(responses[0].signals)}


def captured_share(responses: Sequence[ScoredResponse], name: str) -> Estimate:
    """Return the share of the whole target that lies on the top tokens by a signal.

    A noisy target does not bias it, as it would where the top tokens by the target are chosen. It is a ratio of means
    over prompts, since the sum over one response may be 0, and linearised for its interval; nan if the mean sum is not
    above 0.
    """

    def captured(response: ScoredResponse) -> float:
        return float(top_tokens(response.signals[name]) @ response.target)

    total = over_prompts(responses, lambda _, response: float(response.target.sum())).mean
    if not total > 0:
        return Estimate(*[float("nan")] * 3)
    share = over_prompts(responses, lambda _, response: captured(response)).mean / total
    return over_prompts(
        responses, lambda _, response: share + (captured(response) - share * float(response.target.sum())) / total
    )


def agreement(responses: Sequence[ScoredResponse], name: str) -> tuple[Estimate, Estimate]:
    """Return how well the target ranks the top tokens by a signal, and which share of the top tokens both have."""

    def shared(_: int, response: ScoredResponse) -> float:
        top, other = top_tokens(response.target), top_tokens(response.signals[name])
        return float(top @ other / top.sum()) if np.ptp(response.target) > 0 else float("nan")

    return over_prompts(responses, lambda _, each: roc_area(each.target, each.signals[name])), over_prompts(
        responses, shared
    )


def method_table(
    responses: Sequence[ScoredResponse], target_of: Callable[[ScoredResponse], np.ndarray]
) -> dict[str, MethodMeasure]:
    """Return what each built-in weighting makes of the signals of all responses, taken as one batch.

    Args:
        responses: with all of their tokens.
        target_of: returns the [T] target of a response, nan at tokens that are left out of the shares.
    """

    def padded(rows: Sequence[np.ndarray | torch.Tensor]) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence([torch.as_tensor(row) for row in rows], batch_first=True)

    mask = padded([np.ones(len(response.target), dtype=bool) for response in responses])
    signals = {name: padded([response.signals[name] for response in responses]) for name in responses[0].signals}
    measures = {}
    for method in BUILT_IN:
        weighting = load_weighting(method, {})
        own = [response_values(weighting.response_signals, response.text) for response in responses]
        texts = {name: padded([values[name] for values in own]) for name in weighting.response_signals}
        weights = weighting(signals | texts, mask)
        low, high = np.quantile(weights[mask].numpy(), [0.2, 0.8], method="nearest")

        def share(number: int, response: ScoredResponse, weights: torch.Tensor = weights) -> float:
            known = np.isfinite(target := target_of(response))
            own, target = weights[number, : len(target)].numpy()[known], target[known]
            return float(own @ top_tokens(target) / own.sum()) if own.any() and np.ptp(target) > 0 else float("nan")

        measures[method] = MethodMeasure(float(low), float(high), over_prompts(responses, share))
    return measures


def words_at_both_ends(responses: Sequence[ScoredResponse], name: str) -> tuple[list[str], list[str]]:
    """Return the tokens that a signal, or the `target`, ranks highest and lowest, of those that occur often enough."""
    ranks: dict[str, list[float]] = defaultdict(list)
    for response in responses:
        values = response.target if name == "target" else response.signals[name]
        for text, rank in zip(response.text.token_texts, rankdata(values) / len(values), strict=True):
            if text.strip():
                ranks[text.strip()].append(float(rank))
    often = {text: float(np.mean(each)) for text, each in ranks.items() if len(each) >= _MIN_COUNT}
    ordered = sorted(often, key=lambda text: -often[text])
    return ordered[:_NUM_WORDS], ordered[-_NUM_WORDS:][::-1]
