"""PEPO without perception, an ablation: entropy alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pepo_rlhf.core.normalisation import mean_one_softmax, min_max
from pepo_rlhf.core.softmax_settings import SoftmaxSettings
from pepo_rlhf.core.token_weighting import TokenWeighting

if TYPE_CHECKING:
    from torch import Tensor


class EntropyWeighting(TokenWeighting):
    """w = T * softmax(minmax(H) / temperature)."""

    signals = ("entropy",)
    how_to_spread = "lower --pepo.settings.temperature"
    Settings = SoftmaxSettings

    def weigh(self, signals: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        return mean_one_softmax(min_max(signals["entropy"], mask) / self.settings.temperature, mask)
