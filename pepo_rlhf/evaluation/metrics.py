"""Evaluation during training: mean accuracy over samples (avg@k), with an interval."""

from __future__ import annotations

import numpy as np
from openrlhf.trainer import ppo_trainer
from openrlhf.trainer.ppo_utils.experience import Experience

from pepo_rlhf.evaluation.bootstrap import bootstrap_interval
from pepo_rlhf.rewards.reward import BUILT_IN

_upstream_metrics = ppo_trainer.compute_eval_metrics


def compute_eval_metrics(
    eval_dataloader, samples_list: list[Experience], n_samples_per_prompt: int
) -> dict[str, float]:
    """Upstream's metrics, which name the best checkpoint, and the means of reward and built-in components.

    Returns:
        eval_reward, eval_format, eval_accuracy (or another verifier's), and for the verifier a 95% interval,
        eval_accuracy_low and eval_accuracy_high, by bootstrap over prompts: samples of one prompt are not independent.
    """
    metrics = dict(_upstream_metrics(eval_dataloader, samples_list, n_samples_per_prompt))
    if not samples_list:
        return metrics
    metrics["eval_num_prompts"] = len(samples_list) // n_samples_per_prompt
    for name in ("reward", *BUILT_IN):
        if name not in samples_list[0].info:
            continue
        values = np.array([float(sample.info[name]) for sample in samples_list]).reshape(-1, n_samples_per_prompt)
        metrics[f"eval_{name}"] = float(values.mean())
        if name not in ("reward", "format"):
            low, high = bootstrap_interval(values.mean(axis=1))
            metrics |= {f"eval_{name}_low": low, f"eval_{name}_high": high}
    return metrics
