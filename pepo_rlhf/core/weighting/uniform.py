"""Every token alike: plain GRPO or DAPO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pepo_rlhf.core.token_weighting import TokenWeighting

if TYPE_CHECKING:
    from torch import Tensor


class UniformWeighting(TokenWeighting):
    """w = 1."""

    def weigh(self, signals: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        return mask.float()
