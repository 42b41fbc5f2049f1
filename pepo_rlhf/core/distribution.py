"""What a next-token distribution says of the token drawn from it: its log-prob, and how undecided the policy was."""

from __future__ import annotations

import torch


def log_probs_and_entropy(logits: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both from one softmax, in float32. Holds three float32 copies of `logits`: the caller cuts long ones up.

    Args:
        logits: [N, V], already divided by the sampling temperature. -inf entries are tokens that cannot be drawn.
        tokens: [N], the tokens that were drawn.

    Returns:
        log_probs [N] of the tokens and entropy [N] of the distributions, in nats.
    """
    distribution = logits.float().log_softmax(dim=-1)
    log_probs = distribution.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    # p log p of a forbidden token is 0; 0 * -inf would be NaN.
    finite = distribution.clamp(min=torch.finfo(torch.float32).min)
    return log_probs, -torch.linalg.vecdot(distribution.exp(), finite)
