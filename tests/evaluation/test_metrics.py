from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pepo_rlhf.evaluation.bootstrap import bootstrap_interval
from pepo_rlhf.evaluation.metrics import EvaluatedSample, training_metrics


def sample(datasource: str, accuracy: float, length: int = 3, truncated: bool = False) -> EvaluatedSample:
    return EvaluatedSample(
        datasource=datasource,
        reward=accuracy + 0.5,
        components={"format": 0.5, "accuracy": accuracy},
        response_length=length,
        truncated=truncated,
    )


def test_metrics_by_hand() -> None:
    samples = [
        *(sample("maps", 1.0, 2), sample("maps", 0.0, 4)),
        *(sample("maps", 0.0, 6), sample("maps", 0.0, 8, truncated=True)),
        *(sample("charts", 1.0, 10), sample("charts", 1.0, 30)),
    ]
    metrics = training_metrics(samples, 2)
    # Three prompts of means 1/2, 0 and 1: a resample's mean lies between 0 and 1, and both ends are rarer than 1 in 20
    # (1/27 each), so that the percentiles 2.5 and 97.5 are the ends.
    assert (metrics.pop("eval_accuracy_low"), metrics.pop("eval_accuracy_high")) == (0.0, 1.0)
    assert metrics == pytest.approx(
        {
            "eval_reward": 1.0,
            "eval_format": 0.5,
            "eval_accuracy": 0.5,
            "eval_num_prompts": 3,
            "eval_num_samples": 6,
            "eval_response_length_mean": 10.0,
            "eval_truncated_rate": 1 / 6,
            "eval_maps_pass1": 0.75,  # the mean of 1.5, 0.5, 0.5 and 0.5
            "eval_maps_pass2": 1.0,  # the mean of 1.5 and 0.5
            "eval_maps_response_length_mean": 5.0,
            "eval_maps_truncated_rate": 0.25,
            "eval_charts_pass1": 1.5,
            "eval_charts_pass2": 1.5,
            "eval_charts_response_length_mean": 20.0,
            "eval_charts_truncated_rate": 0.0,
        }
    )


def test_names_and_values_are_upstreams() -> None:
    from types import SimpleNamespace

    import torch
    from openrlhf.trainer.ppo_trainer import compute_eval_metrics

    samples = [sample("maps", float(number % 3 == 0), number, number == 5) for number in range(8)]
    experiences = [
        SimpleNamespace(
            prompts=[f"prompt {number // 4}"],
            rewards=torch.tensor([sample.reward]),
            response_length=torch.tensor([sample.response_length]),
            truncated=torch.tensor([sample.truncated]),
        )
        for number, sample in enumerate(samples)
    ]
    prompts = [(["maps", "maps"], ["prompt 0", "prompt 1"], ["", ""], [None, None])]
    upstream = compute_eval_metrics(prompts, experiences, 4)
    assert {name: training_metrics(samples, 4)[name] for name in upstream} == pytest.approx(upstream)


def test_one_sample_of_each_prompt_has_one_pass() -> None:
    assert training_metrics([sample("maps", 1.0), sample("maps", 0.0)], 1)["eval_maps_pass1"] == 1.0


def test_no_sample_has_no_metric() -> None:
    assert training_metrics([], 4) == {}


def test_importing_loads_no_engine() -> None:
    code = "import sys, pepo_rlhf.evaluation.metrics; print({'torch', 'ray', 'openrlhf', 'vllm'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_interval_has_the_width_of_the_normal_approximation() -> None:
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
