"""Token advantages: the response's advantage, moved from even to weighted as training progresses."""

from __future__ import annotations

import torch


def token_advantages(advantages: torch.Tensor, weights: torch.Tensor, progress: float) -> torch.Tensor:
    """A_t = A * ((1 - p) + p * w_t).

    Args:
        advantages: [B] one advantage a response, or [B, T] one a token.
        weights: [B, T] token weights.
        progress: p, prompts consumed before this batch / prompts of the whole run; in [0, 1].

    Returns:
        [B, T] float32.

    Raises:
        ValueError: if progress lies outside [0, 1] or the shapes do not fit.
    """
    if not 0.0 <= progress <= 1.0:
        raise ValueError(f"progress must lie in [0, 1], got {progress}")
    if advantages.dim() == 1:
        advantages = advantages.unsqueeze(-1)
    if (
        advantages.dim() != 2
        or advantages.shape[0] != weights.shape[0]
        or advantages.shape[1]
        not in (
            1,
            weights.shape[1],
        )
    ):
        raise ValueError(f"advantages {tuple(advantages.shape)} do not fit weights {tuple(weights.shape)}")
    # 1 + p (w - 1) instead of (1 - p) + p w: exactly 1 for w = 1, so uniform weights change no bit.
    return advantages.float() * (1.0 + progress * (weights.float() - 1.0))
