"""PEPO: perception through a smooth gate of perception and exploration (arXiv 2603.22847)."""

import torch

from pepo_rlhf.core.normalisation import mean_one_softmax, min_max


def weigh(similarity, entropy, mask, *, alpha, temperature, **_):
    fused = min_max(similarity, mask) + min_max(entropy, mask)
    mean = fused.sum(dim=-1, keepdim=True) / mask.sum(dim=-1, keepdim=True).clamp(min=1)
    gate = 1.0 + alpha * torch.tanh(fused - mean)
    return mean_one_softmax(similarity * gate / temperature, mask)
