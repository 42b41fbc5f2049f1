"""Token advantages: the advantage of a response, moved from even to weighted as training progresses."""

from __future__ import annotations

import torch


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
