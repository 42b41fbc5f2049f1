"""Summarise signals and weights of a batch's tokens as numbers for metrics.jsonl."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def token_metrics(
    mask: torch.Tensor,
    weights: torch.Tensor,
    signals: Mapping[str, torch.Tensor],
    log_probs: torch.Tensor,
    rollout_log_probs: torch.Tensor,
) -> dict[str, float]:
    """Return spread of similarity and weight, mean entropy, and the gap between rollout engine and trainer.

    All tensors are [B, T]; only response tokens count.

    Args:
        mask: nonzero at response tokens that carry a loss.
        weights: token weights.
        signals: those of the core's SIGNALS that were computed; metrics of others are left out.
        log_probs: the trainer's, in nats.
        rollout_log_probs: those that vLLM sampled with, in nats.

    Returns:
        Numbers by the names of docs/metrics.md; none if no token carries a loss. weight_entropy_corr is Pearson's r,
        and 0 where either is constant; rollout_trainer_gap is the mean absolute difference of the two log-probs.
    """
    mask = mask.bool()
    if not mask.any():
        return {}
    weight = weights[mask].float()
    metrics: dict[str, float] = {}
    if "entropy" in signals:
        entropy = signals["entropy"][mask].float()
        metrics["entropy"] = entropy.mean().item()
        metrics["weight_entropy_corr"] = _correlation(weight, entropy)
    if "visual_similarity" in signals:
        similarity = signals["visual_similarity"][mask].float()
        metrics |= {"similarity_min": similarity.min().item(), "similarity_max": similarity.max().item()}
    p20, p50, p80 = _quantiles(weight, (0.2, 0.5, 0.8))
    gap = (rollout_log_probs - log_probs)[mask].float()
    return metrics | {
        "weight_min": weight.min().item(),
        "weight_p20": p20,
        "weight_p50": p50,
        "weight_p80": p80,
        "weight_max": weight.max().item(),
        "rollout_trainer_gap": gap.abs().mean().item(),
    }


def _quantiles(values: torch.Tensor, fractions: tuple[float, ...]) -> list[float]:
    ordered = values.sort().values  # torch.quantile refuses more than 2^24 values
    return [ordered[round(fraction * (len(ordered) - 1))].item() for fraction in fractions]


def _correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = a.norm() * b.norm()
    return (a @ b / scale).item() if scale > 0 else 0.0
