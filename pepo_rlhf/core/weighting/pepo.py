"""PEPO: perception through a smooth gate of perception and entropy (arXiv 2603.22847)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pepo_rlhf.core.normalisation import mean_one_softmax, min_max
from pepo_rlhf.core.softmax_settings import SoftmaxSettings
from pepo_rlhf.core.token_weighting import TokenWeighting

if TYPE_CHECKING:
    from torch import Tensor


class PepoWeighting(TokenWeighting):
    """w = T * softmax(VS * g / temperature), g = 1 + alpha * tanh(x - mean x), x = minmax(VS) + minmax(H)."""

    signals = ("visual_similarity", "entropy")
    how_to_spread = "lower --pepo.settings.temperature"

    @dataclass(kw_only=True)
    class Settings(SoftmaxSettings):
        """Settings of PEPO."""

        alpha: float = 0.05
        """Strength of the gate."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.alpha < 0:
                raise ValueError(f"--pepo.settings.alpha must be at least 0, not {self.alpha}")

    def weigh(self, signals: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        similarity = signals["visual_similarity"]
        fused = min_max(similarity, mask) + min_max(signals["entropy"], mask)
        mean = fused.sum(dim=-1, keepdim=True) / mask.sum(dim=-1, keepdim=True).clamp(min=1)
        gate = 1.0 + self.settings.alpha * (fused - mean).tanh()
        return mean_one_softmax(similarity * gate / self.settings.temperature, mask)
