"""Rewards: rule-based verifiers of a response against its label, users' own, and the processes that run them."""

from pepo_rlhf.rewards.reward import Reward, RewardError, load_rewards
from pepo_rlhf.rewards.service import Grade, RewardService

__all__ = ["Grade", "Reward", "RewardError", "RewardService", "load_rewards"]
