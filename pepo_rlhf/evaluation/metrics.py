"""Metrics of an evaluation during training, under the names that best checkpoints and reports are chosen by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pepo_rlhf.evaluation.scores import average, best


@dataclass(frozen=True, kw_only=True)
class EvaluatedSample:
    """A graded response to a prompt of the evaluation data.

    datasource: name of the prompt's data set
    reward: the weighted sum of the components
    components: value of each reward component by its name
    response_length: in tokens
    truncated: whether the response ended at its length limit
    """

    datasource: str
    reward: float
    components: dict[str, float]
    response_length: int
    truncated: bool


def training_metrics(samples: Sequence[EvaluatedSample], num_samples: int) -> dict[str, float]:
    """Return the metrics of an evaluation; {} without samples.

    Args:
        samples: prompt by prompt, `num_samples` of each.
        num_samples: samples of each prompt (k).

    Returns:
        eval_reward and eval_<component>: means over all samples. For a component other than `format` also
        eval_<component>_low and _high, a 95% interval by bootstrap over prompts.
        eval_<datasource>_pass1 and _pass<k>: means over its prompts of the mean and of the largest reward.
        eval_response_length_mean and eval_truncated_rate, of all samples and as eval_<datasource>_...
        eval_num_prompts and eval_num_samples.
    """
    if not samples:
        return {}
    prompts = [samples[start : start + num_samples] for start in range(0, len(samples), num_samples)]
    metrics: dict[str, float] = {}
    for datasource in dict.fromkeys(sample.datasource for sample in samples):
        own = [prompt for prompt in prompts if prompt[0].datasource == datasource]
        metrics |= _of_datasource(f"eval_{datasource}", own, num_samples)
    metrics |= _lengths("eval", samples)
    metrics |= {"eval_num_samples": float(len(samples)), "eval_num_prompts": len(prompts)}
    metrics["eval_reward"] = fmean(sample.reward for sample in samples)
    for name in samples[0].components:
        mean, low, high = average([[sample.components[name] for sample in prompt] for prompt in prompts])
        metrics[f"eval_{name}"] = mean
        if name != "format":
            metrics |= {f"eval_{name}_low": low, f"eval_{name}_high": high}
    return metrics


def _of_datasource(name: str, prompts: list[Sequence[EvaluatedSample]], num_samples: int) -> dict[str, float]:
    rewards = [[sample.reward for sample in prompt] for prompt in prompts]
    passes = {f"{name}_pass{num_samples}": best(rewards), f"{name}_pass1": fmean(map(fmean, rewards))}
    return passes | _lengths(name, [sample for prompt in prompts for sample in prompt])


def _lengths(name: str, samples: Sequence[EvaluatedSample]) -> dict[str, float]:
    return {
        f"{name}_response_length_mean": fmean(sample.response_length for sample in samples),
        f"{name}_truncated_rate": fmean(sample.truncated for sample in samples),
    }
