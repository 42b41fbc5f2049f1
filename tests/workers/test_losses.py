"""Losses by hand, through upstream's functions as the policy worker uses them."""

import math

import pytest
import torch
from openrlhf.models import PolicyLoss
from openrlhf.models.utils import compute_approx_kl

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
