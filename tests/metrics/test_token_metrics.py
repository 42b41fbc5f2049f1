import pytest
import torch

from pepo_rlhf.metrics.token_metrics import token_metrics

MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])
WEIGHTS = torch.tensor([[0.8, 1.2, 9.0], [0.9, 1.0, 1.1]])
ENTROPY = torch.tensor([[0.0, 2.0, 9.0], [0.5, 1.0, 1.5]])  # 5 (w - 0.8), so its correlation with the weight is 1
SIMILARITY = torch.tensor([[-0.5, 0.25, 9.0], [0.0, 0.0, 0.0]])
LOG_PROBS = torch.zeros(2, 3)
ROLLOUT = torch.tensor([[0.5, -0.5, 9.0], [0.0, 0.0, 0.0]])


def measure(mask=MASK, weights=WEIGHTS, **signals):
    return token_metrics(mask, weights, signals, LOG_PROBS, ROLLOUT)


def test_numbers_by_hand():
    metrics = measure(entropy=ENTROPY, visual_similarity=SIMILARITY)
    assert metrics == pytest.approx(
        {
            "entropy": 1.0,
            "weight_entropy_corr": 1.0,
            "similarity_min": -0.5,
            "similarity_max": 0.25,
            # Of 0.8, 0.9, 1, 1.1, 1.2 those at places round(0.2 * 4) = 1, 2 and 3.
            "weight_min": 0.8,
            "weight_p20": 0.9,
            "weight_p50": 1.0,
            "weight_p80": 1.1,
            "weight_max": 1.2,
            "rollout_trainer_gap": 0.2,
        },
        abs=1e-6,
    )


def test_signals_that_were_not_computed_have_no_metrics():
    assert set(measure()) == {
        "weight_min",
        "weight_p20",
        "weight_p50",
        "weight_p80",
        "weight_max",
        "rollout_trainer_gap",
    }


def test_even_weights_have_no_correlation():
    assert measure(weights=torch.ones(2, 3), entropy=ENTROPY)["weight_entropy_corr"] == 0.0


def test_a_batch_without_loss_has_no_metrics():
    assert measure(mask=torch.zeros(2, 3), entropy=ENTROPY) == {}
