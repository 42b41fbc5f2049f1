import numpy as np
import pytest
import torch
from openrlhf.trainer.ppo_utils.experience import Experience

from pepo_rlhf.evaluation.bootstrap import bootstrap_interval
from pepo_rlhf.evaluation.metrics import compute_eval_metrics


def sample(prompt, accuracy):
    info = {
        "reward": torch.tensor([accuracy + 1.0]),
        "accuracy": torch.tensor([accuracy]),
        "format": torch.tensor([1.0]),
    }
    return Experience(
        prompts=[prompt],
        rewards=info["reward"],
        response_length=torch.tensor([3]),
        truncated=torch.tensor([False]),
        info=info,
    )


def test_means_over_samples_by_hand():
    samples = [sample("a", 1.0), sample("a", 0.0), sample("b", 1.0), sample("b", 1.0)]
    metrics = compute_eval_metrics([[["set"], ["a"], [""], [None]]], samples, 2)
    assert metrics["eval_accuracy"] == 0.75
    assert metrics["eval_reward"] == 1.75
    assert metrics["eval_format"] == 1.0
    assert metrics["eval_num_prompts"] == 2
    assert metrics["eval_accuracy_low"] <= 0.75 <= metrics["eval_accuracy_high"]


def test_interval_has_the_width_of_the_normal_approximation():
    values = np.random.default_rng(1).binomial(1, 0.4, size=400).astype(float)
    low, high = bootstrap_interval(values)
    half_width = 1.96 * values.std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - half_width, abs=0.006)
    assert high == pytest.approx(values.mean() + half_width, abs=0.006)


def test_the_interval_of_one_value_is_that_value():
    assert bootstrap_interval(np.array([0.25])) == (0.25, 0.25)


def test_percentiles_by_hand():
    """Of two values 0 and 1, a quarter of the resamples has mean 0, and a quarter 1."""
    assert bootstrap_interval(np.array([0.0, 1.0])) == (0.0, 1.0)


def test_equal_values_have_no_width():
    assert bootstrap_interval(np.full(10, 0.5)) == (0.5, 0.5)
