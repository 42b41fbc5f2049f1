"""High-Entropy RL (arXiv 2506.01939): a 0/1 mask on the batch's most undecided tokens, not brought to a mean of 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pepo_rlhf.core.normalisation import in_top_fraction
from pepo_rlhf.core.token_weighting import TokenWeighting

if TYPE_CHECKING:
    from torch import Tensor


class HighEntropyWeighting(TokenWeighting):
    """w = 1 at tokens at or above the (1 - top_fraction) quantile of the whole batch's entropies, else 0."""

    signals = ("entropy",)
    scheduled = False
    compares_responses = True
    how_to_spread = "lower --pepo.settings.top_fraction"

    @dataclass(kw_only=True)
    class Settings:
        """Settings of High-Entropy RL."""

        top_fraction: float = 0.2
        """Share of a batch's tokens, by entropy, that are trained on."""

        def __post_init__(self) -> None:
            if not 0 < self.top_fraction <= 1:
                raise ValueError(
                    f"--pepo.settings.top_fraction must be greater than 0 and at most 1, not {self.top_fraction}"
                )

    def weigh(self, signals: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        return in_top_fraction(signals["entropy"], mask, self.settings.top_fraction).float()
