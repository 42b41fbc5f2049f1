"""Exploration: how undecided the policy was about each token."""

from __future__ import annotations

import torch


def token_entropy(logits: torch.Tensor, temperature: float = 1.0, chunk_size: int = 1024) -> torch.Tensor:
    """Entropy in nats of softmax(logits / temperature).

    Args:
        logits: [..., V], any float dtype. -inf entries are tokens that cannot be drawn.
        temperature: the sampling temperature; > 0.
        chunk_size: distributions handled at once, so that no float32 copy of all the logits ever exists.

    Returns:
        [...] float32.

    Raises:
        ValueError: if temperature is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    rows = logits.reshape(-1, logits.shape[-1])
    entropy = torch.empty(rows.shape[0], dtype=torch.float32, device=logits.device)
    for start in range(0, rows.shape[0], chunk_size):
        log_probs = torch.log_softmax(rows[start : start + chunk_size].float() / temperature, dim=-1)
        # entr(p) = -p log p with entr(0) = 0, which keeps forbidden tokens from turning into 0 * -inf.
        entropy[start : start + chunk_size] = torch.special.entr(log_probs.exp()).sum(dim=-1)
    return entropy.view(logits.shape[:-1])
