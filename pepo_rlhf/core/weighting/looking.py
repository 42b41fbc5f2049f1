"""A reference point for generated tasks: all weight on the digits, which state there what was seen in the picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pepo_rlhf.core.signal import ResponseText
from pepo_rlhf.core.token_weighting import TokenWeighting

if TYPE_CHECKING:
    from torch import Tensor


def digits(response: ResponseText) -> list[bool]:
    """Return which tokens have a digit: in a count or a box, both of which only the picture gives."""
    return [any(character.isdecimal() for character in text) for text in response.token_texts]


class LookingWeighting(TokenWeighting):
    """w = T / D at the D of a response's T tokens that have a digit, else 0; w = 1 in a response without a digit.

    A perfect signal of perception would weigh so in the tasks of pepo_rlhf.toy: all other words of a demonstration
    are the question's or the format's.
    """

    signals = ("digits",)
    response_signals = {"digits": digits}
    scheduled = False

    def weigh(self, signals: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        states = signals["digits"] > 0
        states = states | (mask & ~states.any(dim=-1, keepdim=True))
        weights: Tensor = states * mask.sum(dim=-1, keepdim=True) / states.sum(dim=-1, keepdim=True).clamp(min=1)
        return weights
