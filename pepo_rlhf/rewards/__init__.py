"""Rewards: rule-based verifiers of a response against its label, and the loader of users' own."""

from pepo_rlhf.rewards.reward import Reward, load_rewards

__all__ = ["Reward", "load_rewards"]
