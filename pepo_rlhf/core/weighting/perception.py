"""PEPO without entropy, an ablation: visual similarity alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pepo_rlhf.core.normalisation import mean_one_softmax
from pepo_rlhf.core.softmax_settings import SoftmaxSettings
from pepo_rlhf.core.token_weighting import TokenWeighting

if TYPE_CHECKING:
    from torch import Tensor


class PerceptionWeighting(TokenWeighting):
    """w = T * softmax(VS / temperature)."""

    signals = ("visual_similarity",)
    how_to_spread = "lower --pepo.settings.temperature"
    Settings = SoftmaxSettings

    def weigh(self, signals: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        return mean_one_softmax(signals["visual_similarity"] / self.settings.temperature, mask)
