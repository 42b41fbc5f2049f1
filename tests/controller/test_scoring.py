"""Who computes the reference's log-probs."""

from __future__ import annotations

import pytest
import ray
import torch

from pepo_rlhf.config import Config
from pepo_rlhf.controller.scoring import add_scores, split_rows
from pepo_rlhf.workers.micro_batch import PolicyScores


class Workers:
    """Stands in for a group of actors; its log-probs are a constant of its own."""

    def __init__(self, log_prob):
        self.log_prob, self.asked = log_prob, []

    def async_run_method_batch(self, method, micro_batch, **_):
        self.asked.append(method)
        scores = [torch.full(batch.action_mask.shape, self.log_prob) for batch in micro_batch]
        return [[PolicyScores(score, {"entropy": score}) for score in scores] if method == "score" else scores]


@pytest.mark.parametrize(
    ("rank", "separate", "kl", "expected"),
    [
        (0, False, 0.1, -2.0),  # a reference of its own
        (8, False, 0.1, -1.0),  # the policy without its adapters
        (8, True, 0.1, -2.0),
        (8, False, 0.0, None),
    ],
)
def test_the_reference_is_a_worker_of_its_own_or_the_policy(monkeypatch, scored_batch, rank, separate, kl, expected):
    monkeypatch.setattr(ray, "get", lambda references: references)
    config = Config()
    config.ds.lora.rank, config.ref.separate, config.algo.kl.init_coef = rank, separate, kl
    batch, policy, reference = scored_batch([0.0] * 4, [3] * 4), Workers(-1.0), Workers(-2.0)
    placed = reference if config.num_reference_ranks else None
    add_scores(batch, split_rows(batch, config), policy, placed, config, signals=())
    assert "score" in policy.asked and (placed is None) == (reference.asked == [])
    if expected is None:
        assert batch.reference_log_probs is None and policy.asked == ["score"]
    else:
        assert (batch.reference_log_probs == expected).all()
