"""Length penalties on the rewards of responses, before they are compared with each other."""

from __future__ import annotations

import torch


def shape_rewards(
    rewards: torch.Tensor,
    response_lengths: torch.Tensor,
    truncated: torch.Tensor,
    *,
    max_new_tokens: int,
    overlong_buffer_len: float | None = None,
    overlong_penalty_factor: float = 1.0,
    stop_properly_coef: float | None = None,
) -> torch.Tensor:
    """Return the rewards less the length penalties that are turned on, the soft overlong one first.

    Args:
        rewards: [B].
        response_lengths: [B] tokens.
        truncated: [B] bool, True where the response was cut off at the length limit.
        max_new_tokens: longest response in tokens.
        overlong_buffer_len: the penalty grows over so many tokens before `max_new_tokens`, from 0 to
            `overlong_penalty_factor` (DAPO, arXiv 2503.14476, equation 13); None leaves it out.
        overlong_penalty_factor: the largest penalty.
        stop_properly_coef: a factor in [0, 1] on the rewards of truncated responses, or, if negative, their reward
            (ProRL, arXiv 2505.24864); None leaves it out.

    Returns:
        [B] float64.
    """
    rewards = rewards.double()
    if overlong_buffer_len:
        exceeded = response_lengths.double() - (max_new_tokens - overlong_buffer_len)
        exceeded = exceeded.clamp(min=0, max=overlong_buffer_len)
        rewards = rewards + -exceeded / overlong_buffer_len * overlong_penalty_factor
    if stop_properly_coef is not None:
        penalised = rewards * stop_properly_coef if stop_properly_coef >= 0 else stop_properly_coef
        rewards = torch.where(truncated.bool(), penalised, rewards)
    return rewards
