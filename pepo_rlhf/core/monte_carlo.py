"""The true advantage of a token, estimated by continuations of the response's prefixes before and after it.

V_t is the expected reward after the first t tokens of a response. A token's advantage is A_t = V_{t+1} - V_t, the
change that it makes (VinePPO, arXiv 2410.01679, which takes steps of several tokens). Nothing here knows a model: it
is whatever samples continuations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, variance
from typing import NamedTuple

# Prefixes of a response and K -> K independent continuations of each prefix.
Sampler = Callable[[Sequence[list[int]], int], Sequence[Sequence[list[int]]]]
# Whole responses -> the reward of each, nan where there is none.
Rewarder = Callable[[Sequence[list[int]]], Sequence[float]]


class TokenAdvantage(NamedTuple):
    """What is known of a token's advantage A.

    Attributes:
        advantage: an unbiased estimate of A.
        square: an unbiased estimate of A squared, which may be negative. The square of `advantage` is too large by the
            variance of the estimate, which differs between tokens: it would rank those before a decision, where the
            reward is open, above those after it.
    """

    advantage: float
    square: float


class _Value(NamedTuple):
    """An estimate of V and an unbiased estimate of its variance."""

    mean: float
    variance: float


def monte_carlo_advantages(
    response: list[int], positions: Sequence[int], num_continuations: int, sample: Sampler, reward: Rewarder
) -> list[TokenAdvantage]:
    """Return the advantage of the tokens of a response at `positions`.

    The continuations of a prefix serve the token before it and the one after it. The whole response is its own only
    continuation.

    Args:
        response: token ids, up to the end token or the longest length.
        positions: indices of tokens.
        num_continuations: K, at least 2.
        sample, reward: called once each, with all prefixes and with all responses that continue them.

    Returns:
        One for each position; nan where fewer than two continuations of a prefix have a reward.
    """
    lengths = sorted({length for position in positions for length in (position, position + 1)} - {len(response)})
    prefixes = [response[:length] for length in lengths]
    continued = zip(prefixes, sample(prefixes, num_continuations), strict=True)
    whole = [prefix + continuation for prefix, each in continued for continuation in each]
    *rewards, own = reward([*whole, response])
    values = {
        length: _value(rewards[place * num_continuations : (place + 1) * num_continuations])
        for place, length in enumerate(lengths)
    }
    values[len(response)] = _Value(own, 0.0)
    return [_difference(values[position], values[position + 1]) for position in positions]


def _value(rewards: Sequence[float]) -> _Value:
    graded = [reward for reward in rewards if reward == reward]
    if len(graded) < 2:
        return _Value(float("nan"), float("nan"))
    return _Value(fmean(graded), variance(graded) / len(graded))


def _difference(before: _Value, after: _Value) -> TokenAdvantage:
    advantage = after.mean - before.mean
    return TokenAdvantage(advantage, advantage**2 - before.variance - after.variance)
