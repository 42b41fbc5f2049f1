from __future__ import annotations

import pytest
import torch

from pepo_rlhf.controller.grader_errors import GraderError, GraderErrors, neutral_rewards
from pepo_rlhf.workers.responses import Group, Response


def group(num_good: int, num_errors: int) -> list[Group]:
    errors = [None] * num_good + ["Traceback ...\nKeyError: 3"] * num_errors
    return [Group([1], None, [Response([2], [-1.0], False, 0.0, {}, error, 0) for error in errors])]


def neutral(*rewards: float | None) -> list[float]:
    """Rewards of one group; None stands for a response without a grade."""
    values = torch.tensor([0.0 if reward is None else reward for reward in rewards], dtype=torch.float64)
    failed = torch.tensor([reward is None for reward in rewards])
    return neutral_rewards(values, failed, len(rewards)).tolist()


def test_errors_up_to_the_rate_are_let_pass() -> None:
    GraderErrors(0.05).count(group(19, 1))
    GraderErrors(0.0).count(group(8, 0))
    GraderErrors(1.0).count(group(0, 8))
    GraderErrors(0.05).count([])


def test_above_the_rate_the_message_has_numbers_flag_and_first_error() -> None:
    with pytest.raises(GraderError) as caught:
        GraderErrors(0.05).count(group(18, 2))
    message = str(caught.value)
    assert "2 of 20 responses (10.0%)" in message
    assert "--reward.max_error_rate allows 5.0%" in message
    assert message.endswith("Traceback ...\nKeyError: 3")


def test_the_rate_is_of_the_whole_batch_so_far() -> None:
    errors = GraderErrors(0.05)
    errors.count(group(32, 0))
    errors.count(group(7, 1))  # 1 of 40, although 1 of 8 in this round
    with pytest.raises(GraderError, match="3 of 48"):
        errors.count(group(6, 2))


def test_an_ungraded_response_gets_the_mean_of_its_own_group() -> None:
    assert neutral(0.0, None, 1.0, 2.0) == [0.0, 1.0, 1.0, 2.0]
    rewards = torch.tensor([0.0, 0.0, 5.0, 0.0], dtype=torch.float64)
    failed = torch.tensor([False, True, False, True])
    assert neutral_rewards(rewards, failed, 2).tolist() == [0.0, 0.0, 5.0, 5.0]


def test_its_advantage_is_zero() -> None:
    rewards = torch.tensor(neutral(0.1, None, 0.7, 0.4, None))
    advantages = (rewards - rewards.mean()) / rewards.std()
    assert advantages[[1, 4]].abs().max() < 1e-6


@pytest.mark.parametrize("num_graded", [1, 2, 3, 6, 7])
def test_equal_rewards_stay_equal(num_graded: int) -> None:
    """0.7, 0.1 and a third have no exact binary value; a mean of them may differ from them."""
    for reward in (0.7, 0.1, 1 / 3):
        assert len(set(neutral(*[reward] * num_graded, None))) == 1


def test_a_group_of_errors_keeps_its_rewards() -> None:
    assert neutral(None, None) == [0.0, 0.0]
