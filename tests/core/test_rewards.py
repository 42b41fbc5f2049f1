import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.length_penalty import apply_overlong_penalty, apply_stop_properly_penalty

from pepo_rlhf.core.rewards import shape_rewards

REWARDS = torch.tensor([1.0, 1.0, 1.0, 1.0])
LENGTHS = torch.tensor([60, 80, 90, 100])
TRUNCATED = torch.tensor([False, False, False, True])


def shaped(**settings):
    return shape_rewards(REWARDS, LENGTHS, TRUNCATED, max_new_tokens=100, **settings).tolist()


def test_without_penalties_rewards_stay():
    assert shaped() == [1, 1, 1, 1]
    assert shaped(overlong_buffer_len=0) == [1, 1, 1, 1]


def test_the_overlong_penalty_grows_over_the_buffer_by_hand():
    # The buffer is 81..100: half of it at 90, all of it at 100.
    assert shaped(overlong_buffer_len=20, overlong_penalty_factor=0.8) == pytest.approx([1, 1, 0.6, 0.2])


def test_a_response_longer_than_the_limit_is_not_penalised_more():
    result = shape_rewards(REWARDS[:1], torch.tensor([130]), TRUNCATED[:1], max_new_tokens=100, overlong_buffer_len=20)
    assert result.tolist() == [0.0]


def test_truncated_responses_keep_a_share_or_get_a_reward_of_their_own():
    assert shaped(stop_properly_coef=0.25) == [1, 1, 1, 0.25]
    assert shaped(stop_properly_coef=-0.5) == [1, 1, 1, -0.5]
    assert shaped(overlong_buffer_len=20, stop_properly_coef=0.5)[3] == 0.0  # (1 - 1) * 0.5


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.floats(-3, 3), st.integers(1, 40), st.booleans()), min_size=1, max_size=6),
    buffer=st.integers(1, 32),
    factor=st.floats(0, 2),
    coef=st.one_of(st.floats(0, 1), st.floats(-2, -0.1)),
)
def test_no_bit_differs_from_upstream(rows, buffer, factor, coef):
    rewards, lengths, truncated = (torch.tensor(column) for column in zip(*rows, strict=True))
    rewards = rewards.double()
    experience = Experience(rewards=rewards.clone(), response_length=lengths, truncated=truncated)
    apply_overlong_penalty([experience], 32, buffer, factor)
    apply_stop_properly_penalty([experience], coef)
    penalties = {"overlong_buffer_len": buffer, "overlong_penalty_factor": factor, "stop_properly_coef": coef}
    assert torch.equal(shape_rewards(rewards, lengths, truncated, max_new_tokens=32, **penalties), experience.rewards)
