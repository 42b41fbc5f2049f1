"""Group advantages: the reward of a response compared with those of the responses to the same prompt.

`advantages` is what the trainer calls. For each estimator it gives the numbers of OpenRLHF 0.11.2, except that a group
whose rewards are all equal has advantage 0 exactly (dividing by a standard deviation of nearly 0, OpenRLHF makes up to
0.92 of rounding errors), and that the mean and deviation of the whole batch, which reinforce and reinforce_baseline
subtract and divide by, are float64 and do not depend on padding (OpenRLHF sums in float32, padding included, so that
its last bits depend on how a batch is split).
"""

from __future__ import annotations

import torch

_LOWEST_VARIANCE = 1e-8  # of the whole batch's advantages
GROUP_ESTIMATORS = ("group_norm", "rloo", "reinforce_baseline", "dr_grpo")  # these compare the responses to a prompt
ESTIMATORS = (*GROUP_ESTIMATORS, "reinforce", "flash_reinforce")
_WHITENED = ("reinforce", "reinforce_baseline")


def advantages(
    rewards: torch.Tensor,
    mask: torch.Tensor,
    estimator: str,
    num_samples: int,
    *,
    kl: torch.Tensor | None = None,
    kl_coef: float = 0.0,
    clip_range: tuple[float, float] | None = None,
    no_std_norm: bool = False,
    std_epsilon: float = 1e-9,
) -> torch.Tensor:
    """Return the advantage of each token, before token weights.

    A token's advantage is the sum of what is rewarded from there on: the group advantage at the response's last token
    and, with `kl`, -kl_coef * kl at every token.

    Args:
        rewards: [B] shaped rewards, group by group.
        mask: [B, T], nonzero at response tokens.
        estimator: a name in ESTIMATORS.
        num_samples: responses of a group.
        kl: [B, T] KL to the reference in nats, if it belongs into the reward; None if not, or if it is in the loss.
        kl_coef: its coefficient; below 0 it counts as 0.
        clip_range: bounds of the group advantage, as in OpenRLHF, whose flag is --reward.clip_range.
        no_std_norm: reinforce and reinforce_baseline do not divide by the deviation of the whole batch.
        std_epsilon: as for `group_advantages`.

    Returns:
        [B, T] float32. Columns before a response hold its first token's value, those after it 0, or, where the whole
        batch's mean is subtracted, what that makes of 0; a loss leaves both out.

    Raises:
        ValueError: for an unknown estimator, or if the rewards are no whole groups or do not fit the mask.
    """
    if len(mask) != len(rewards):
        raise ValueError(f"rewards {tuple(rewards.shape)} do not fit mask {tuple(mask.shape)}")
    mask = mask.bool()
    group = group_advantages(rewards, estimator, num_samples, std_epsilon)
    if clip_range is not None:
        group = group.clamp(*clip_range)
    result = _returns(group, mask, None if kl is None else -max(kl_coef, 0.0) * kl.float())
    if estimator in _WHITENED:
        result = _whiten(result, mask, no_std_norm)
    if estimator in GROUP_ESTIMATORS and kl is None:
        result = result.masked_fill(zero_std(rewards, num_samples).unsqueeze(-1), 0.0)
    return result


def group_advantages(
    rewards: torch.Tensor, estimator: str, num_samples: int, std_epsilon: float = 1e-9
) -> torch.Tensor:
    """Return the advantage of each response.

    With r the reward, and mean and std those of the response's group (std with num_samples - 1 in the denominator):

        group_norm            (r - mean) / (std + std_epsilon)    GRPO, arXiv 2402.03300
        rloo                  r - mean of the others              arXiv 2402.14740
        dr_grpo               r - mean                            arXiv 2503.20783
        reinforce_baseline    r - mean                            REINFORCE++-baseline, arXiv 2501.03262
        flash_reinforce       r - mean of the whole batch
        reinforce             r                                   REINFORCE++, arXiv 2501.03262

    Args:
        rewards: [B], group by group.
        estimator: a name in ESTIMATORS.
        num_samples: responses of a group.
        std_epsilon: added to a group's standard deviation; OpenRLHF adds 1e-9.

    Returns:
        [B] float64; exactly 0 where an estimator of GROUP_ESTIMATORS finds equal rewards in a group.

    Raises:
        ValueError: for an unknown estimator, or if the rewards are no whole groups.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"advantage estimator {estimator!r} is unknown; choose one of {', '.join(ESTIMATORS)}")
    groups = _groups(rewards, num_samples)
    if estimator == "reinforce":
        return groups.flatten()
    if estimator == "flash_reinforce":
        return (groups - groups.mean()).flatten()
    mean = groups.mean(dim=-1, keepdim=True)
    if estimator == "group_norm":
        result = (groups - mean) / (groups.std(dim=-1, keepdim=True) + std_epsilon)
    elif estimator == "rloo":
        result = groups - (groups.sum(dim=-1, keepdim=True) - groups) / (num_samples - 1)
    else:
        result = groups - mean
    return result.flatten().masked_fill(zero_std(rewards, num_samples), 0.0)


def zero_std(rewards: torch.Tensor, num_samples: int) -> torch.Tensor:
    """Return whether the rewards of a response's group are all equal: [B] bool, of rewards [B] group by group."""
    groups = _groups(rewards, num_samples)
    return (groups == groups[:, :1]).all(dim=-1).repeat_interleave(num_samples)


def _groups(rewards: torch.Tensor, num_samples: int) -> torch.Tensor:
    if rewards.dim() != 1 or len(rewards) % num_samples:
        raise ValueError(f"rewards {tuple(rewards.shape)} are no whole groups of {num_samples} responses")
    return rewards.double().view(-1, num_samples)


def _returns(group: torch.Tensor, mask: torch.Tensor, token_rewards: torch.Tensor | None) -> torch.Tensor:
    """Return [B, T] float32 sums of rewards from each column on: group [B] at the last response token, and others."""
    rest = mask.flip(-1).cumsum(dim=-1).flip(-1)  # response tokens from a column on
    group = group.float().unsqueeze(-1)
    if token_rewards is None:
        return torch.where(rest > 0, group, 0.0)
    rewards = torch.where(mask & (rest == 1), group + token_rewards, token_rewards) * mask
    result = torch.zeros_like(rewards)
    total = rewards.new_zeros(len(rewards))
    # Column by column, for torch.cumsum would round differently from OpenRLHF.
    for column in reversed(range(rewards.shape[1])):
        total = rewards[:, column] + total
        result[:, column] = total
    return result


def _whiten(values: torch.Tensor, mask: torch.Tensor, no_std_norm: bool) -> torch.Tensor:
    """Subtract the mean over all response tokens, and divide by their standard deviation unless `no_std_norm`."""
    valid = values[mask].double()
    if not len(valid):
        return values
    mean = valid.mean()
    scale = 1.0 if no_std_norm else (valid - mean).square().mean().clamp(min=_LOWEST_VARIANCE).rsqrt()
    return ((values - mean) * scale).float()
