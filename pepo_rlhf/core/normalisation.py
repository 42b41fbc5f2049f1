"""Bring scores to one scale inside each response, or find the largest of a batch, as several weightings do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_EPSILON = 1e-6  # floor of the min-max range, as in the authors' code


def min_max(scores: Tensor, mask: Tensor) -> Tensor:
    """Scale each row's scores at valid tokens to 0..1.

    Args:
        scores: [B, T] float32.
        mask: [B, T] bool, True at valid tokens.

    Returns:
        [B, T] float32, 0 at invalid tokens and where all scores of a row are equal.
    """
    low = scores.masked_fill(~mask, float("inf")).amin(dim=-1, keepdim=True)
    high = scores.masked_fill(~mask, -float("inf")).amax(dim=-1, keepdim=True)
    return ((scores - low) / (high - low).clamp(min=_EPSILON)).masked_fill(~mask, 0.0)


def mean_one_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Return T * softmax over the T valid tokens of each row, whose mean is 1.

    Args:
        logits: [B, T] float32.
        mask: [B, T] bool, True at valid tokens.

    Returns:
        [B, T] float32, 0 at invalid tokens.
    """
    share = logits.masked_fill(~mask, -float("inf")).softmax(dim=-1)
    return (share * mask.sum(dim=-1, keepdim=True)).masked_fill(~mask, 0.0)


def in_top_fraction(scores: Tensor, mask: Tensor, fraction: float) -> Tensor:
    """Return the valid tokens at or above the (1 - fraction) quantile of the whole batch's scores.

    Args:
        scores: [B, T] float32.
        mask: [B, T] bool, True at valid tokens.
        fraction: above 0 and at most 1.

    Returns:
        [B, T] bool.
    """
    if not mask.any():
        return mask
    # Sorted here: torch.quantile refuses more than 2^24 values, which 1000 long responses exceed.
    values = scores[mask].sort().values
    position = (1.0 - fraction) * (len(values) - 1)
    lower, upper = int(position), min(int(position) + 1, len(values) - 1)
    threshold = values[lower].lerp(values[upper], position - lower)
    return (scores >= threshold) & mask
