import math

import pytest
import torch

from pepo_rlhf.core import token_entropy


def test_even_distribution_has_log_of_its_size():
    torch.testing.assert_close(token_entropy(torch.zeros(2, 3, 8)), torch.full((2, 3), math.log(8)))


def test_two_token_distribution_by_hand():
    logits = torch.tensor([math.log(3.0), 0.0])  # probabilities 3/4 and 1/4
    expected = 0.75 * math.log(4 / 3) + 0.25 * math.log(4)
    assert token_entropy(logits).item() == pytest.approx(expected)


def test_forbidden_tokens_add_nothing():
    logits = torch.tensor([1.0, 2.0, -torch.inf])
    torch.testing.assert_close(token_entropy(logits), token_entropy(logits[:2]))


def test_temperature_divides_the_logits():
    logits = torch.randn(4, 9)
    torch.testing.assert_close(token_entropy(logits, temperature=0.5), token_entropy(logits * 2))


@pytest.mark.parametrize("chunk_size", [1, 3, 100])
def test_chunking_changes_nothing(chunk_size):
    logits = torch.randn(2, 5, 11)
    expected = -(logits.double().log_softmax(-1).exp() * logits.double().log_softmax(-1)).sum(-1)
    torch.testing.assert_close(token_entropy(logits, chunk_size=chunk_size).double(), expected, atol=1e-6, rtol=1e-6)


def test_bfloat16_is_computed_in_float32():
    logits = torch.randn(3, 200).bfloat16()
    assert token_entropy(logits).dtype == torch.float32
    assert torch.equal(token_entropy(logits), token_entropy(logits.float()))


def test_temperature_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        token_entropy(torch.zeros(3), temperature=0.0)
