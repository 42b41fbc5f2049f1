"""VGPO, a neighbour (arXiv 2604.09349): visual focus with compensation of late tokens, its reweighting in a response.

VGPO's similarity is that of the last hidden state alone. Its second factor, on whole responses, is no token weight and
is left out.
"""

import torch

from pepo_rlhf.core.normalisation import min_max

SCHEDULED = False


def weigh(similarity, entropy, mask, *, alpha, top_fraction, **_):
    """w_t = 1 + s_t - mean s, where s is the min-max of f_t (1 + alpha t / T) for the top_fraction of tokens with the
    largest f in the second half of a response, and of f_t elsewhere; f is the min-max of VS.
    """
    focus = min_max(similarity, mask)
    counts = mask.sum(dim=-1, keepdim=True)
    position = mask.cumsum(dim=-1) - 1
    late = mask & (position >= counts // 2)
    num_lifted = ((counts - counts // 2) * top_fraction).long().clamp(min=1)
    ranked = focus.masked_fill(~late, -torch.inf).sort(dim=-1, descending=True).values
    lifted = late & (focus >= ranked.gather(-1, num_lifted - 1))
    compensation = alpha * position / (counts - 1).clamp(min=1)
    score = min_max(torch.where(lifted, focus * (1.0 + compensation), focus), mask)
    return (1.0 + score - score.sum(dim=-1, keepdim=True) / counts.clamp(min=1)).masked_fill(~mask, 0.0)
