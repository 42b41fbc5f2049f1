"""Metrics of a batch: its rewards and lengths, and what the scores and weights of its tokens look like."""

from __future__ import annotations

import torch
from openrlhf.models.utils import compute_approx_kl, masked_mean

from pepo_rlhf.config import Config
from pepo_rlhf.controller.batch import Batch
from pepo_rlhf.core.group_advantages import zero_std


def response_metrics(batch: Batch, config: Config) -> dict[str, float]:
    """Return means over the responses of a batch with advantages; docs/metrics.md lists them.

    `reward` is the shaped reward, `score` the one that the verifiers gave, where a response without a grade has 0.
    """
    rewards, groups = batch.rewards, batch.rewards.view(-1, batch.num_samples)
    scores = sum(config.reward.weights.get(name, 1.0) * values for name, values in batch.components.items())
    metrics = {
        "reward": rewards.mean(),
        "reward_std": rewards.std() if len(rewards) > 1 else torch.zeros(()),
        "score": torch.as_tensor(scores, dtype=torch.float64).mean(),
        "group_reward_std": groups.std(dim=-1).mean() if batch.num_samples > 1 else torch.zeros(()),
        "reward_errors": torch.tensor([error is not None for error in batch.grader_errors]).double().mean(),
        **{name: values.mean() for name, values in batch.components.items()},
        "response_length": batch.response_lengths.double().mean(),
        "total_length": batch.total_lengths.double().mean(),
        "truncated": batch.truncated.double().mean(),
        "zero_std_groups": zero_std(rewards, batch.num_samples).double().mean(),
        "weights_version": batch.weights_versions.double().mean(),
    }
    if batch.reference_log_probs is not None and not config.algo.kl.use_loss:
        metrics |= _kl_metrics(batch, config.algo.kl.estimator)
    counts = {
        "num_samples": len(batch),
        "overlong_filtered": int((batch.response_lengths != batch.loss_mask.sum(dim=-1)).sum()),
        "zero_std_groups_dropped": batch.draw.num_zero_std_dropped,
        "zero_std_groups_kept": batch.draw.num_zero_std_kept,
    }
    return {name: value.item() for name, value in metrics.items()} | counts


def token_metrics(batch: Batch) -> dict[str, float]:
    """Return spreads of signals and weight, mean entropy and the rollout/trainer gap over the tokens with a loss.

    weight_entropy_corr is Pearson's r, and 0 where either is constant. rollout_trainer_gap is the mean absolute
    difference, in nats, between the log-probs that vLLM sampled with and those that the policy computes. Signals are
    left out where they were not computed, and everything where no response of the batch carries a loss.
    """
    mask = batch.loss_mask.bool()
    if not mask.any():
        return {}
    signals = {name: values[mask] for name, values in batch.signals.items()}
    entropy, weight = signals["entropy"], batch.weights[mask]
    gap = (batch.rollout_log_probs - batch.action_log_probs)[mask]
    p20, p50, p80 = _quantiles(weight, (0.2, 0.5, 0.8))
    metrics = {"entropy": entropy.mean().item()}
    if (similarity := signals.get("visual_similarity")) is not None:
        metrics |= {"similarity_min": similarity.min().item(), "similarity_max": similarity.max().item()}
    for name in sorted(signals.keys() - {"entropy", "visual_similarity"}):
        metrics |= {name: signals[name].mean().item(), f"{name}_max": signals[name].max().item()}
    return metrics | {
        "weight_min": weight.min().item(),
        "weight_p20": p20,
        "weight_p50": p50,
        "weight_p80": p80,
        "weight_max": weight.max().item(),
        "weight_entropy_corr": _correlation(weight, entropy),
        "rollout_trainer_gap": gap.abs().mean().item(),
    }


def _kl_metrics(batch: Batch, estimator: str) -> dict[str, torch.Tensor]:
    """Return means over responses of a KL that sits in the reward; one in the loss is measured by the update."""
    assert batch.reference_log_probs is not None
    kl = compute_approx_kl(batch.action_log_probs, batch.reference_log_probs, kl_estimator=estimator)
    difference = batch.action_log_probs - batch.reference_log_probs
    return {
        "kl": masked_mean(kl, batch.action_mask, dim=-1).mean(),
        "logprobs_diff": masked_mean(difference, batch.action_mask, dim=-1).mean(),
    }


def _quantiles(values: torch.Tensor, fractions: tuple[float, ...]) -> list[float]:
    ordered = values.sort().values  # torch.quantile refuses more than 2^24 values
    return [ordered[round(fraction * (len(ordered) - 1))].item() for fraction in fractions]


def _correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = a.norm() * b.norm()
    return (a @ b / scale).item() if scale > 0 else 0.0
