"""Values worked by hand, properties, and OpenRLHF's own numbers on random batches."""

import math
from types import SimpleNamespace
from typing import get_args, get_type_hints

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker

from pepo_rlhf.config import Config, to_arguments
from pepo_rlhf.config.learning import Advantage
from pepo_rlhf.config.validate import GROUP_ESTIMATORS as GROUP_ESTIMATORS_OF_CONFIG
from pepo_rlhf.core.group_advantages import ESTIMATORS, GROUP_ESTIMATORS, advantages, group_advantages, zero_std

WHITENED = {"reinforce", "reinforce_baseline"}


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        # Groups (0, 1, 2) and (1, 1, 4): means 1 and 2, deviations 1 and sqrt(3).
        ("group_norm", [-1, 0, 1, -1 / math.sqrt(3), -1 / math.sqrt(3), 2 / math.sqrt(3)]),
        ("rloo", [-1.5, 0, 1.5, -1.5, -1.5, 3]),
        ("dr_grpo", [-1, 0, 1, -1, -1, 2]),
        ("reinforce_baseline", [-1, 0, 1, -1, -1, 2]),
        ("reinforce", [0, 1, 2, 1, 1, 4]),
        ("flash_reinforce", [-1.5, -0.5, 0.5, -0.5, -0.5, 2.5]),
    ],
)
def test_each_estimator_by_hand(estimator, expected):
    result = group_advantages(torch.tensor([0.0, 1, 2, 1, 1, 4]), estimator, 3)
    assert result.dtype == torch.float64
    assert result.tolist() == pytest.approx(expected, abs=1e-8)


def test_what_is_added_to_the_deviation_can_be_chosen():
    result = advantages(torch.tensor([0.0, 1.0, 2.0]), torch.ones(3, 1), "group_norm", 3, std_epsilon=0.25)
    assert result.flatten().tolist() == pytest.approx([-0.8, 0, 0.8])  # the deviation is 1


def test_the_estimators_are_those_of_the_flag():
    assert set(ESTIMATORS) == set(get_args(get_type_hints(Advantage)["estimator"]))
    assert set(GROUP_ESTIMATORS) == set(GROUP_ESTIMATORS_OF_CONFIG)


def test_every_estimator_is_worked_by_hand_here():
    (cases,) = [mark.args[1] for mark in test_each_estimator_by_hand.pytestmark]
    assert {name for name, _ in cases} == set(ESTIMATORS)


@pytest.mark.parametrize("estimator", GROUP_ESTIMATORS)
@pytest.mark.parametrize("reward", [0.7, 0.1, -1e9, 1 / 3])
def test_a_group_of_equal_rewards_has_advantage_zero_exactly(estimator, reward):
    rewards = torch.tensor([reward] * 8 + [0.0, 1.0] * 4, dtype=torch.float64)
    mask = torch.ones(16, 3)
    assert zero_std(rewards, 8).tolist() == [True] * 8 + [False] * 8
    assert (group_advantages(rewards, estimator, 8)[:8] == 0).all()
    result = advantages(rewards, mask, estimator, 8)
    assert (result[:8] == 0).all() and (result[8:] != 0).all()


def test_estimators_that_compare_no_group_keep_equal_rewards():
    rewards = torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert advantages(rewards, torch.ones(4, 1), "flash_reinforce", 2).flatten().tolist() == [0.5, 0.5, -0.5, -0.5]


def test_rewards_that_float32_cannot_tell_apart_are_apart():
    rewards = torch.tensor([1.0, 1.0 + 1e-12], dtype=torch.float64)
    assert not zero_std(rewards, 2).any()
    assert group_advantages(rewards, "dr_grpo", 2).tolist() == pytest.approx([-5e-13, 5e-13], rel=1e-3)


def test_columns_before_a_response_hold_its_advantage_and_columns_after_it_zero():
    mask = torch.tensor([[0, 1, 1, 0], [0, 0, 1, 1]])
    result = advantages(torch.tensor([0.0, 2.0]), mask, "dr_grpo", 2)
    assert result.tolist() == [[-1, -1, -1, 0], [1, 1, 1, 1]]


def test_kl_in_the_reward_is_summed_from_a_token_on_by_hand():
    mask = torch.tensor([[0, 1, 1, 0], [0, 1, 1, 1]])
    kl = torch.tensor([[9.0, 1.0, 2.0, 9.0], [9.0, 0.0, 4.0, 2.0]])
    result = advantages(torch.tensor([0.0, 2.0]), mask, "dr_grpo", 2, kl=kl, kl_coef=0.5)
    # First row from the right: 0; -1 - 1; -2 - 0.5. Second: 1 - 1; 0 - 2; -2 - 0.
    assert result.tolist() == [[-2.5, -2.5, -2, 0], [-2, -2, -2, 0]]


def test_groups_without_spread_keep_their_kl_term():
    result = advantages(torch.tensor([0.7] * 2), torch.ones(2, 2), "group_norm", 2, kl=torch.ones(2, 2), kl_coef=0.25)
    assert result.tolist() == [[-0.5, -0.25]] * 2


def test_the_range_bounds_the_group_advantage_and_not_the_reward():
    result = advantages(torch.tensor([100.0, 104.0]), torch.ones(2, 1), "dr_grpo", 2, clip_range=(-1.0, 1.5))
    assert result.flatten().tolist() == [-1.0, 1.5]


def test_reinforce_is_whitened_over_all_response_tokens_by_hand():
    # Tokens 3, 3, 3 and 7: mean 4, variance (3 + 9) / 4 = 3.
    rewards, mask = torch.tensor([3.0, 7.0]), torch.tensor([[1, 1, 1], [1, 0, 0]])
    scaled = advantages(rewards, mask, "reinforce", 1)[mask.bool()].tolist()
    assert scaled == pytest.approx([-1 / math.sqrt(3)] * 3 + [3 / math.sqrt(3)])
    assert advantages(rewards, mask, "reinforce", 1, no_std_norm=True)[mask.bool()].tolist() == [-1, -1, -1, 3]


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="'gae' is unknown; choose one of group_norm, rloo"):
        group_advantages(torch.zeros(2), "gae", 2)
    with pytest.raises(ValueError, match="no whole groups of 2"):
        group_advantages(torch.zeros(3), "rloo", 2)
    with pytest.raises(ValueError, match="do not fit"):
        advantages(torch.zeros(2), torch.ones(3, 1), "rloo", 2)


@st.composite
def batches(draw):
    """Rewards, mask with prompts of several lengths, KL, samples a group, and the sizes of micro-batches."""
    num_samples, num_groups = draw(st.integers(2, 4)), draw(st.integers(1, 3))
    size = num_samples * num_groups
    reward = st.one_of(st.sampled_from([0.0, 1.0, 0.7]), st.floats(-20, 20))
    rewards = torch.tensor(draw(st.lists(reward, min_size=size, max_size=size)), dtype=torch.float64)
    lengths = draw(st.lists(st.integers(0, 6), min_size=size, max_size=size))
    starts = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    width = max(1, *(start + length for start, length in zip(starts, lengths, strict=True)))
    mask = torch.zeros(size, width, dtype=torch.long)
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        mask[row, start : start + length] = 1
    kl = torch.tensor(draw(st.lists(st.floats(-2, 2, width=32), min_size=width, max_size=width))).repeat(size, 1)
    return rewards, mask, kl * torch.arange(1, size + 1).unsqueeze(-1), num_samples


def upstream(rewards, mask, kl, estimator, num_samples, kl_coef, clip_range, no_std_norm, micro_batch_size=2):
    """[B, T] of OpenRLHF's own experience maker; its micro-batches are as wide as the batch."""
    args = to_arguments(Config())
    args.rollout.n_samples_per_prompt = num_samples
    args.algo.advantage.estimator, args.algo.advantage.no_std_norm = estimator, no_std_norm
    args.algo.advantage.gamma = 1.0
    args.reward.clip_range = clip_range
    strategy = SimpleNamespace(args=args)
    maker = RemoteExperienceMaker(None, None, None, None, SimpleNamespace(value=kl_coef), strategy, None)
    parts = torch.arange(len(rewards)).split(micro_batch_size)
    experiences = [
        Experience(index=rows.tolist(), rewards=rewards[rows], action_mask=mask[rows], kl=kl[rows], info={})
        for rows in parts
    ]
    return torch.cat([experience.advantages for experience in maker.compute_advantages_and_returns(experiences)])


@settings(max_examples=150, deadline=None)
@given(
    batch=batches(),
    estimator=st.sampled_from(ESTIMATORS),
    kl_coef=st.sampled_from([0.0, 0.01, 0.5, -1.0]),
    with_kl=st.booleans(),
    clip_range=st.sampled_from([(-10.0, 10.0), (-0.5, 0.25)]),
    no_std_norm=st.booleans(),
)
def test_no_bit_differs_from_upstream(batch, estimator, kl_coef, with_kl, clip_range, no_std_norm):
    rewards, mask, kl, num_samples = batch
    more = {"kl_coef": kl_coef, "clip_range": clip_range, "no_std_norm": no_std_norm}
    no_norm = {**more, "no_std_norm": True}
    result = advantages(rewards, mask, estimator, num_samples, kl=kl if with_kl else None, **more)
    expected = upstream(rewards, mask, kl * with_kl, estimator, num_samples, **more)
    assert result.dtype == expected.dtype == torch.float32
    equal_rewards = zero_std(rewards, num_samples) & (estimator in GROUP_ESTIMATORS)
    if estimator not in WHITENED:
        assert torch.equal(result[~equal_rewards], expected[~equal_rewards])
    elif mask.any() and (kl_coef <= 0 or not with_kl or not equal_rewards.any()):
        # Upstream's float32 mean is off by its rounding, which dividing by a small deviation enlarges.
        centred = advantages(rewards, mask, estimator, num_samples, kl=kl if with_kl else None, **no_norm)
        deviation = 1.0 if no_std_norm else centred[mask.bool()].double().square().mean().clamp(min=1e-8).sqrt()
        tolerance = 2e-5 / min(1.0, float(deviation))
        torch.testing.assert_close(result[~equal_rewards], expected[~equal_rewards], atol=tolerance, rtol=1e-4)
    if not with_kl:
        assert (result[equal_rewards] == 0).all()


@settings(max_examples=100, deadline=None)
@given(batch=batches(), estimator=st.sampled_from(ESTIMATORS), padding=st.integers(1, 40), with_kl=st.booleans())
def test_padding_changes_no_bit_of_what_stands_before_it(batch, estimator, padding, with_kl):
    rewards, mask, kl, num_samples = batch
    more = {"kl": kl if with_kl else None, "kl_coef": 0.1}
    short = advantages(rewards, mask, estimator, num_samples, **more)
    more["kl"] = torch.nn.functional.pad(kl, (0, padding), value=7.0) if with_kl else None
    long = advantages(rewards, torch.nn.functional.pad(mask, (0, padding)), estimator, num_samples, **more)
    assert torch.equal(long[:, : mask.shape[1]], short)


@settings(max_examples=100, deadline=None)
@given(batch=batches(), estimator=st.sampled_from(ESTIMATORS), seed=st.integers(0, 1000))
def test_the_order_of_groups_does_not_matter(batch, estimator, seed):
    rewards, mask, kl, num_samples = batch
    order = torch.randperm(len(rewards) // num_samples, generator=torch.Generator().manual_seed(seed))
    rows = torch.arange(len(rewards)).view(-1, num_samples)[order].flatten()
    whole = advantages(rewards, mask, estimator, num_samples, kl=kl, kl_coef=0.1)
    permuted = advantages(rewards[rows], mask[rows], estimator, num_samples, kl=kl[rows], kl_coef=0.1)
    torch.testing.assert_close(permuted, whole[rows], atol=1e-6, rtol=1e-6)
