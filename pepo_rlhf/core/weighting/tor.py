"""ToR (arXiv 2603.25077): the most undecided tokens of a batch and those that its images change most, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pepo_rlhf.core.normalisation import in_top_fraction
from pepo_rlhf.core.token_weighting import TokenWeighting

if TYPE_CHECKING:
    from torch import Tensor


class TorWeighting(TokenWeighting):
    """w = reasoning_weight at the top entropy_fraction of the batch's tokens by entropy (equations 6 and 7).

    w = perception_weight at the other tokens of its top sensitivity_fraction by image sensitivity (equations 8 and 9),
    and 0 elsewhere. The paper takes the entropy of the most probable tokens that make up 0.95 (equation 5), and removes
    the image; here it is the whole distribution's, and the image is what --pepo.perturbation puts in its place.
    """

    signals = ("entropy", "image_sensitivity")
    scheduled = False
    compares_responses = True
    how_to_spread = "lower --pepo.settings.entropy_fraction and --pepo.settings.sensitivity_fraction"

    @dataclass(kw_only=True)
    class Settings:
        """Settings of ToR."""

        entropy_fraction: float = 0.3
        """Share of a batch's tokens, by entropy, that count as reasoning."""
        sensitivity_fraction: float = 0.3
        """Share of a batch's tokens, by image sensitivity, that count as perception."""
        reasoning_weight: float = 1.0
        """Weight of tokens that count as reasoning, or as both."""
        perception_weight: float = 0.5
        """Weight of the other tokens that count as perception."""

        def __post_init__(self) -> None:
            for name in ("entropy_fraction", "sensitivity_fraction"):
                if not 0 < (value := getattr(self, name)) <= 1:
                    raise ValueError(f"--pepo.settings.{name} must be greater than 0 and at most 1, not {value}")
            for name in ("reasoning_weight", "perception_weight"):
                if (value := getattr(self, name)) < 0:
                    raise ValueError(f"--pepo.settings.{name} must be at least 0, not {value}")

    def weigh(self, signals: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        settings = self.settings
        reasons = in_top_fraction(signals["entropy"], mask, settings.entropy_fraction)
        perceives = in_top_fraction(signals["image_sensitivity"], mask, settings.sensitivity_fraction)
        weights: Tensor = reasons * settings.reasoning_weight + (perceives & ~reasons) * settings.perception_weight
        return weights
