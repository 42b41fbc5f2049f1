"""Token advantages: the advantage of a response, moved from even to weighted as training progresses."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from pepo_rlhf.core.token_weighting import TokenWeighting


def spread_advantages(
    weighting: TokenWeighting,
    signals: Mapping[str, torch.Tensor],
    loss_mask: torch.Tensor,
    advantages: torch.Tensor,
    schedule_coefficient: float,
    has_image: torch.Tensor,
    no_image: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token weights and weighted advantages of a batch, [B, T] float32 each.

    Args:
        signals: [B, T] by name, those that the weighting needs.
        loss_mask: [B, T], nonzero at tokens that carry a loss. Other columns keep their advantage.
        advantages: [B, T], of the responses, as the group estimator gives them to each token.
        schedule_coefficient: as in `token_advantages`.
        has_image: [B] bool; no_image: what --pepo.no_image makes of the other rows.

    Raises:
        ValueError: if a row has no image and `no_image` is error, and as weighting and `token_advantages` do.
    """
    weights = weighting(signals, loss_mask)
    if weighting.signals and not has_image.all():
        if no_image == "error":
            raise ValueError(
                f"{int((~has_image).sum())} responses of this batch belong to prompts without an image; "
                "--pepo.no_image uniform gives their tokens equal weights"
            )
        if no_image == "uniform":
            weights = torch.where(has_image.unsqueeze(-1), weights, loss_mask.float())
    weighted = token_advantages(advantages, weights, schedule_coefficient)
    # Columns outside the loss keep the group's advantage: with uniform weights no bit differs from OpenRLHF.
    return weights, torch.where(loss_mask.bool(), weighted, advantages)


def token_advantages(advantages: torch.Tensor, weights: torch.Tensor, schedule_coefficient: float) -> torch.Tensor:
    """Return A_t = A * ((1 - p) + p * w_t).

    Args:
        advantages: [B] one advantage a response, or [B, T] one a token.
        weights: [B, T] token weights.
        schedule_coefficient: p in [0, 1], the influence of the weights. Under --pepo.schedule linear it is the share
            of the run's prompts that were consumed before this batch.

    Returns:
        [B, T] float32.

    Raises:
        ValueError: if p lies outside [0, 1] or the shapes do not fit.
    """
    if not 0.0 <= schedule_coefficient <= 1.0:
        raise ValueError(f"schedule_coefficient must lie in [0, 1], got {schedule_coefficient}")
    if advantages.dim() == 1:
        advantages = advantages.unsqueeze(-1)
    if advantages.dim() != 2 or advantages.shape not in (weights.shape, (len(weights), 1)):
        raise ValueError(f"advantages {tuple(advantages.shape)} do not fit weights {tuple(weights.shape)}")
    # 1 + p (w - 1) instead of (1 - p) + p w: exactly 1 for w = 1, so uniform weights change no bit.
    return advantages.float() * (1.0 + schedule_coefficient * (weights.float() - 1.0))
