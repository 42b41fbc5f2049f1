"""PEPO without the gate, an ablation: perception and entropy added up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pepo_rlhf.core.normalisation import mean_one_softmax, min_max
from pepo_rlhf.core.softmax_settings import SoftmaxSettings
from pepo_rlhf.core.token_weighting import TokenWeighting

if TYPE_CHECKING:
    from torch import Tensor


class AdditiveWeighting(TokenWeighting):
    """w = T * softmax((minmax(VS) + minmax(H)) / temperature)."""

    signals = ("visual_similarity", "entropy")
    how_to_spread = "lower --pepo.settings.temperature"
    Settings = SoftmaxSettings

    def weigh(self, signals: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        scores = min_max(signals["visual_similarity"], mask) + min_max(signals["entropy"], mask)
        return mean_one_softmax(scores / self.settings.temperature, mask)
