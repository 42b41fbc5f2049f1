"""What token weightings have in common: scores brought to one scale inside each response."""

from __future__ import annotations

import torch

_EPSILON = 1e-6  # floor of the min-max range, as in the authors' code


def min_max(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[B, T] between 0 and 1 inside each row; 0 at invalid tokens and where all scores are equal."""
    low = scores.masked_fill(~mask, torch.inf).amin(dim=-1, keepdim=True)
    high = scores.masked_fill(~mask, -torch.inf).amax(dim=-1, keepdim=True)
    return ((scores - low) / (high - low).clamp(min=_EPSILON)).masked_fill(~mask, 0.0)


def mean_one_softmax(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[B, T] T * softmax over the valid tokens of each row: their mean is 1."""
    share = torch.softmax(logits.masked_fill(~mask, -torch.inf), dim=-1)
    return (share * mask.sum(dim=-1, keepdim=True)).masked_fill(~mask, 0.0)
