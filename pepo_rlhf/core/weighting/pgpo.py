"""PGPO (arXiv 2604.01840): tokens below a threshold of image dependence are damped and those above it are boosted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pepo_rlhf.core.normalisation import min_max
from pepo_rlhf.core.token_weighting import TokenWeighting

if TYPE_CHECKING:
    from torch import Tensor


class PgpoWeighting(TokenWeighting):
    """w_t = T o(I_t) / sum o(I), whose mean over a response is 1 (equation 7), from its image dependence S.

    I is the min-max of log(1 + S) (equations 4 and 5), and o(I) = I / threshold below the threshold and
    1 + boost (I - threshold) / (1 - threshold) from it on (equation 6).
    """

    signals = ("image_dependence",)
    scheduled = False
    how_to_spread = "raise --pepo.settings.boost"

    @dataclass(kw_only=True)
    class Settings:
        """Settings of PGPO."""

        threshold: float = 0.4
        """Relative image dependence from which on a token is boosted."""
        boost: float = 2.0
        """Strength of the boost."""

        def __post_init__(self) -> None:
            if not 0 < self.threshold < 1:
                raise ValueError(f"--pepo.settings.threshold must lie between 0 and 1, not {self.threshold}")
            if self.boost < 0:
                raise ValueError(f"--pepo.settings.boost must be at least 0, not {self.boost}")

    def weigh(self, signals: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        threshold, boost = self.settings.threshold, self.settings.boost
        relative = min_max(signals["image_dependence"].log1p(), mask)
        boosted = 1.0 + boost * (relative - threshold) / (1.0 - threshold)
        base = (relative / threshold).where(relative < threshold, boosted) * mask
        total, counts = base.sum(dim=-1, keepdim=True), mask.sum(dim=-1, keepdim=True)
        # Where no token differs from another all are 0, and none is favoured.
        weights: Tensor = (base * counts / total.clamp(min=1e-6)).where(total > 0, mask.float())
        return weights
