import pytest
import torch

from pepo_rlhf.core.token_advantages import token_advantages


def test_progress_moves_from_even_to_weighted():
    advantages, weights = torch.tensor([2.0]), torch.tensor([[0.5, 1.5]])
    assert token_advantages(advantages, weights, 0.0).tolist() == [[2.0, 2.0]]
    assert token_advantages(advantages, weights, 0.5).tolist() == [[1.5, 2.5]]
    assert token_advantages(advantages, weights, 1.0).tolist() == [[1.0, 3.0]]


def test_per_token_advantages_are_taken_as_they_are():
    result = token_advantages(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 1.5]]), 1.0)
    assert result.tolist() == [[0.5, -3.0]]


@pytest.mark.parametrize("progress", [0.0, 0.1, 1 / 3, 0.7, 1.0])
def test_weights_of_one_change_no_bit(progress):
    advantages = torch.randn(16, 5)
    assert torch.equal(token_advantages(advantages, torch.ones(16, 5), progress), advantages)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="schedule_coefficient"):
        token_advantages(torch.ones(1), torch.ones(1, 2), 1.01)
    with pytest.raises(ValueError, match="do not fit"):
        token_advantages(torch.ones(2, 3), torch.ones(2, 4), 0.5)
