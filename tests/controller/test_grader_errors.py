from __future__ import annotations

import pytest
import torch
from openrlhf.trainer.ppo_utils.experience import Experience

from pepo_rlhf.controller.grader_errors import GraderError, GraderErrors, make_neutral


def responses(num_good: int, num_errors: int) -> list[dict]:
    return [{"reward_error": None}] * num_good + [{"reward_error": "Traceback ...\nKeyError: 3"}] * num_errors


def group(*rewards: float | None) -> list[Experience]:
    """Experiences of one prompt; None stands for an ungraded response."""
    return [
        Experience(
            rewards=torch.tensor([0.0 if reward is None else reward]),
            info={"reward_errors": torch.tensor([float(reward is None)])},
        )
        for reward in rewards
    ]


def rewards_of(experiences: list[Experience]) -> list[float]:
    make_neutral(experiences)
    return [experience.rewards.item() for experience in experiences]


def test_errors_up_to_the_rate_are_let_pass() -> None:
    GraderErrors(0.05).count(responses(19, 1))
    GraderErrors(0.0).count(responses(8, 0))
    GraderErrors(1.0).count(responses(0, 8))
    GraderErrors(0.05).count([])


def test_above_the_rate_the_message_has_numbers_flag_and_first_error() -> None:
    with pytest.raises(GraderError) as caught:
        GraderErrors(0.05).count(responses(18, 2))
    message = str(caught.value)
    assert "2 of 20 responses (10.0%)" in message
    assert "--reward.max_error_rate allows 5.0%" in message
    assert message.endswith("Traceback ...\nKeyError: 3")


def test_the_rate_is_of_the_whole_batch_so_far() -> None:
    errors = GraderErrors(0.05)
    errors.count(responses(32, 0))
    errors.count(responses(7, 1))  # 1 of 40, although 1 of 8 in this round
    with pytest.raises(GraderError, match="3 of 48"):
        errors.count(responses(6, 2))


def test_an_ungraded_response_gets_the_mean_of_its_group() -> None:
    assert rewards_of(group(0.0, None, 1.0, 2.0)) == [0.0, 1.0, 1.0, 2.0]


def test_its_advantage_is_zero() -> None:
    rewards = torch.tensor(rewards_of(group(0.1, None, 0.7, 0.4, None)))
    advantages = (rewards - rewards.mean()) / rewards.std()
    assert advantages[[1, 4]].abs().max() < 1e-6


@pytest.mark.parametrize("num_graded", [1, 2, 3, 6, 7])
def test_a_flat_group_stays_flat(num_graded: int) -> None:
    """0.7 and a third have no exact binary value; their mean in float32 would differ from them."""
    for reward in (0.7, 1 / 3):
        assert len(set(rewards_of(group(*[reward] * num_graded, None)))) == 1


def test_a_group_of_errors_is_flat() -> None:
    assert rewards_of(group(None, None)) == [0.0, 0.0]
