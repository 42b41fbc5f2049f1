"""Losses and update windows by hand, through upstream's functions as the policy worker uses them."""

import math
from types import SimpleNamespace

import pytest
import torch
from openrlhf.models import PolicyLoss, aggregate_loss
from openrlhf.models.utils import compute_approx_kl
from openrlhf.utils.loss_utils import iter_grad_accum_global_norm

from pepo_rlhf.compat.openrlhf import trainable_windows

# Two responses of 1 and 3 tokens. Ratio 1 everywhere: the loss of a token is minus its advantage.
MASK = torch.tensor([[1.0, 0, 0], [1, 1, 1]])
ADVANTAGES = torch.tensor([[4.0, 9, 9], [1, 2, 3]])
ZEROS = torch.zeros(2, 3)


def policy_loss(log_probs=ZEROS, advantages=ADVANTAGES, mask=MASK, **settings):
    return PolicyLoss(**settings)(log_probs, ZEROS, advantages, action_mask=mask)[0].item()


def test_token_mean_weighs_tokens_evenly():
    assert policy_loss(token_level_loss=True) == pytest.approx(-(4 + 1 + 2 + 3) / 4)


def test_response_mean_weighs_responses_evenly():
    assert policy_loss(token_level_loss=False) == pytest.approx(-(4 + (1 + 2 + 3) / 3) / 2)


def test_clip_higher_lets_a_good_token_rise_further():
    log_probs, one = torch.full((1, 1), math.log(1.5)), torch.ones(1, 1)
    loss = PolicyLoss(clip_eps_low=0.2, clip_eps_high=0.28)
    assert loss(log_probs, torch.zeros(1, 1), one, action_mask=one)[0].item() == pytest.approx(-1.28)
    assert loss(-log_probs, torch.zeros(1, 1), -one, action_mask=one)[0].item() == pytest.approx(0.8)


def test_token_weights_scale_the_clipped_surrogate():
    weights = torch.tensor([[1.0, 0, 0], [0.5, 1.0, 1.5]])
    assert policy_loss(advantages=ADVANTAGES * weights) == pytest.approx(-(4 + 0.5 + 2 + 4.5) / 4)


def test_k3_in_the_loss():
    log_ratio = torch.tensor([[math.log(2.0)]])  # the policy is twice as likely as the reference
    value = compute_approx_kl(log_ratio, torch.zeros(1, 1), kl_estimator="k3")
    assert value.item() == pytest.approx(0.5 - 1 + math.log(2.0))


def test_a_masked_response_carries_no_loss_in_either_mode():
    mask = MASK.clone()
    mask[0] = 0
    assert policy_loss(mask=mask, token_level_loss=True) == pytest.approx(-2)
    assert policy_loss(mask=mask, token_level_loss=False) == pytest.approx(-2)


def windows(masks, accumulated_gradient):
    strategy = SimpleNamespace(num_skipped_updates=0)
    items = [torch.tensor(mask, dtype=torch.float32) for mask in masks]
    kept = list(
        trainable_windows(iter_grad_accum_global_norm)(items, strategy, accumulated_gradient, lambda item: item)
    )
    return kept, strategy.num_skipped_updates


def test_windows_in_which_everything_is_masked_are_skipped_and_counted():
    kept, num_skipped = windows([[[0, 0]], [[0, 0]], [[1, 0]], [[0, 0]], [[1, 1]], [[1, 1]]], 2)
    assert len(kept) == 4
    assert num_skipped == 1


def test_a_masked_micro_batch_inside_a_window_adds_nothing_and_is_kept():
    # DeepSpeed steps after two micro-batches: dropping one alone would shift every later boundary.
    kept, num_skipped = windows([[[0, 0]], [[1, 1]]], 2)
    assert (len(kept), num_skipped) == (2, 0)
    losses = [aggregate_loss(torch.full((1, 2), 3.0), mask, **info).item() for mask, info in kept]
    assert losses == [0.0, pytest.approx(6.0)]  # /2 by DeepSpeed: the mean over the window's two tokens is 3


def test_nothing_left_of_a_batch():
    kept, num_skipped = windows([[[0]], [[0]]], 1)
    assert (kept, num_skipped) == ([], 2)
