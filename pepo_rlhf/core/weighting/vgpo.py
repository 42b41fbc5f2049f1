"""VGPO (arXiv 2604.09349): its reweighting inside a response, a visual focus with compensation of late tokens.

VGPO takes the similarity of the last hidden state alone (--pepo.num_layers -1). Its second factor, on whole responses,
is no token weight and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pepo_rlhf.core.normalisation import min_max
from pepo_rlhf.core.token_weighting import TokenWeighting

if TYPE_CHECKING:
    from torch import Tensor


class VgpoWeighting(TokenWeighting):
    """w_t = 1 + s_t - mean s, where f is the min-max of VS and s that of f, with late visual tokens lifted.

    Lifted are the top_fraction of tokens with the largest f in the second half of a response; they count
    f_t (1 + alpha t / T).
    """

    signals = ("visual_similarity",)
    scheduled = False
    how_to_spread = "raise --pepo.settings.alpha"

    @dataclass(kw_only=True)
    class Settings:
        """Settings of VGPO."""

        alpha: float = 0.05
        """Strength of the lift of late visual tokens. VGPO uses 0.3."""
        top_fraction: float = 0.2
        """Share of a response's late tokens that are lifted."""

        def __post_init__(self) -> None:
            if self.alpha < 0:
                raise ValueError(f"--pepo.settings.alpha must be at least 0, not {self.alpha}")
            if not 0 < self.top_fraction <= 1:
                raise ValueError(
                    f"--pepo.settings.top_fraction must be greater than 0 and at most 1, not {self.top_fraction}"
                )

    def weigh(self, signals: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        focus = min_max(signals["visual_similarity"], mask)
        counts = mask.sum(dim=-1, keepdim=True)
        position = mask.cumsum(dim=-1) - 1
        late = mask & (position >= counts // 2)
        num_lifted = ((counts - counts // 2) * self.settings.top_fraction).long().clamp(min=1)
        ranked = focus.masked_fill(~late, -float("inf")).sort(dim=-1, descending=True).values
        lifted = late & (focus >= ranked.gather(-1, num_lifted - 1))
        compensation = self.settings.alpha * position / (counts - 1).clamp(min=1)
        score = min_max((focus * (1.0 + compensation)).where(lifted, focus), mask)
        return 1.0 + score - score.sum(dim=-1, keepdim=True) / counts.clamp(min=1)
