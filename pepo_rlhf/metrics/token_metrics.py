"""What the token scores and weights of a batch look like, as numbers for the metrics file."""

from __future__ import annotations

import torch
from openrlhf.trainer.ppo_utils.experience import Experience

from pepo_rlhf.workers.model import PolicyScores


def token_metrics(
    experiences: list[Experience], scores: list[PolicyScores], weights: tuple[torch.Tensor, ...]
) -> dict[str, float]:
    """Spread of similarity and weight, mean entropy, and the rollout/trainer gap, over the batch's response tokens.

    weight_entropy_corr is Pearson's r, and 0 where either is constant. rollout_trainer_gap is the mean absolute
    difference, in nats, between the log-probs that vLLM sampled with and those that the trainer computes. Empty when
    no response of the batch carries a loss.
    """
    masks = [experience.action_mask.bool() for experience in experiences]
    if not any(mask.any() for mask in masks):
        return {}

    def valid(tensors) -> torch.Tensor:
        return torch.cat([tensor[mask].float() for tensor, mask in zip(tensors, masks, strict=True)])

    similarity = valid(score.visual_similarity for score in scores)
    entropy = valid(score.entropy for score in scores)
    weight = valid(weights)
    gap = valid(experience.rollout_log_probs - experience.action_log_probs for experience in experiences)
    p20, p50, p80 = _quantiles(weight, (0.2, 0.5, 0.8))
    return {
        "entropy": entropy.mean().item(),
        "similarity_min": similarity.min().item(),
        "similarity_max": similarity.max().item(),
        "weight_min": weight.min().item(),
        "weight_p20": p20,
        "weight_p50": p50,
        "weight_p80": p80,
        "weight_max": weight.max().item(),
        "weight_entropy_corr": _correlation(weight, entropy),
        "rollout_trainer_gap": gap.abs().mean().item(),
    }


def _quantiles(values: torch.Tensor, fractions: tuple[float, ...]) -> list[float]:
    ordered = values.sort().values  # torch.quantile refuses more than 2^24 values
    return [ordered[round(fraction * (len(ordered) - 1))].item() for fraction in fractions]


def _correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = a.norm() * b.norm()
    return (a @ b / scale).item() if scale > 0 else 0.0
