"""VPPO (arXiv 2510.09285): the most image-dependent tokens of a response, scaled by how much the response depends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pepo_rlhf.core.token_weighting import TokenWeighting

if TYPE_CHECKING:
    from torch import Tensor


class VppoWeighting(TokenWeighting):
    """w_t = m_t a, with m_t = 1 at the top_fraction of a response's tokens by image dependence, else 0 (equation 4).

    a = min_scale + (max_scale - min_scale) S', where S' is the min-max over the batch of a response's mean dependence
    (equation 5). max_scale is "adjusted dynamically per batch" (section 4): as in the authors' code so that the mean
    of a over the batch is 1. The weights are not brought to a mean of 1, since the loss divides by all tokens of a
    response (equation 6).
    """

    signals = ("image_dependence",)
    scheduled = False
    compares_responses = True
    how_to_spread = "lower --pepo.settings.top_fraction"

    @dataclass(kw_only=True)
    class Settings:
        """Settings of VPPO."""

        top_fraction: float = 0.4
        """Share of a response's tokens, by image dependence, that are trained on, rounded up."""
        min_scale: float = 0.9
        """Factor of the response that depends on its image least; the mean over the batch is 1."""

        def __post_init__(self) -> None:
            if not 0 < self.top_fraction <= 1:
                raise ValueError(
                    f"--pepo.settings.top_fraction must be greater than 0 and at most 1, not {self.top_fraction}"
                )
            if not 0 <= self.min_scale <= 1:
                raise ValueError(f"--pepo.settings.min_scale must be from 0 to 1, not {self.min_scale}")

    def weigh(self, signals: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        dependence, counts = signals["image_dependence"], mask.sum(dim=-1, keepdim=True)
        ranked = dependence.masked_fill(~mask, -1.0).argsort(dim=-1, descending=True, stable=True)
        num_kept = (counts * self.settings.top_fraction).ceil()
        kept = mask & (ranked.argsort(dim=-1) < num_kept)
        means = dependence.sum(dim=-1, keepdim=True) / counts.clamp(min=1)
        weights: Tensor = kept * self._scale(means, counts > 0)
        return weights

    def _scale(self, means: Tensor, is_valid: Tensor) -> Tensor:
        """Return the factor of each response, [B, 1], of their mean dependence; 1 where all are equal."""
        valid = means[is_valid]
        if not len(valid) or valid.max() - valid.min() < 1e-6:
            return is_valid.float()
        relative = (means - valid.min()) / (valid.max() - valid.min())
        low = self.settings.min_scale
        scale: Tensor = low + (1.0 - low) * relative / relative[is_valid].mean()
        return scale
