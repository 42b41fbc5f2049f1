import math

import pytest
import torch

from pepo_rlhf.core import log_probs_and_entropy


def test_even_distribution_has_log_of_its_size():
    log_probs, entropy = log_probs_and_entropy(torch.zeros(3, 8), torch.tensor([0, 5, 7]))
    torch.testing.assert_close(log_probs, torch.full((3,), -math.log(8)))
    torch.testing.assert_close(entropy, torch.full((3,), math.log(8)))


def test_two_token_distribution_by_hand():
    logits = torch.tensor([[math.log(3.0), 0.0]])  # probabilities 3/4 and 1/4
    log_probs, entropy = log_probs_and_entropy(logits, torch.tensor([1]))
    assert log_probs.item() == pytest.approx(math.log(1 / 4))
    assert entropy.item() == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * math.log(4))


def test_forbidden_tokens_add_nothing():
    logits, tokens = torch.tensor([[1.0, 2.0, -torch.inf]]), torch.tensor([1])
    for actual, expected in zip(
        log_probs_and_entropy(logits, tokens), log_probs_and_entropy(logits[:, :2], tokens), strict=True
    ):
        torch.testing.assert_close(actual, expected)


def test_equals_the_definition_in_float64():
    logits, tokens = torch.randn(20, 11), torch.randint(11, (20,))
    exact = logits.double().log_softmax(-1)
    log_probs, entropy = log_probs_and_entropy(logits, tokens)
    torch.testing.assert_close(log_probs.double(), exact[range(20), tokens], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(entropy.double(), -(exact.exp() * exact).sum(-1), atol=1e-6, rtol=1e-6)


def test_bfloat16_is_computed_in_float32():
    logits, tokens = torch.randn(3, 200).bfloat16(), torch.tensor([0, 1, 2])
    for low, full in zip(
        log_probs_and_entropy(logits, tokens), log_probs_and_entropy(logits.float(), tokens), strict=True
    ):
        assert low.dtype == torch.float32
        assert torch.equal(low, full)
