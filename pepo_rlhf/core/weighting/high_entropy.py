"""High-Entropy RL (arXiv 2506.01939): a 0/1 mask on the batch's most undecided tokens, not brought to a mean of 1."""

import torch

SCHEDULED = False


def weigh(similarity, entropy, mask, *, top_fraction, **_):
    """Keeps tokens at or above the (1 - top_fraction) quantile of the whole batch's entropies."""
    if not 0 < top_fraction <= 1:
        raise ValueError(f"top_fraction must lie in (0, 1], got {top_fraction}")
    if not mask.any():
        return torch.zeros_like(entropy)
    # Sorted by hand: torch.quantile refuses more than 2^24 values, which 1000 long responses exceed.
    values = entropy[mask].sort().values
    position = (1.0 - top_fraction) * (len(values) - 1)
    lower, upper = int(position), min(int(position) + 1, len(values) - 1)
    threshold = torch.lerp(values[lower], values[upper], position - lower)
    return ((entropy >= threshold) & mask).float()
