"""Responses that could not be graded: a few teach nothing, many stop the run."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from pepo_rlhf.workers.responses import Group


class GraderError(RuntimeError):
    """More grader errors than a batch may have."""


class GraderErrors:
    """Count the grader errors of one batch, over all the rounds of sampling that it takes to fill it."""

    def __init__(self, max_rate: float) -> None:
        self.max_rate = max_rate
        self.num_responses = 0
        self.errors: list[str] = []

    def count(self, groups: Iterable[Group]) -> None:
        """Add some groups; raise GraderError, with the first error, if the batch then exceeds its rate."""
        responses = [response for group in groups for response in group.responses]
        self.num_responses += len(responses)
        self.errors += [response.grader_error for response in responses if response.grader_error is not None]
        if len(self.errors) > self.max_rate * self.num_responses:
            raise GraderError(
                f"{len(self.errors)} of {self.num_responses} responses "
                f"({len(self.errors) / self.num_responses:.1%}) could not be graded, and --reward.max_error_rate "
                f"allows {self.max_rate:.1%}. The log shows each; this is the first:\n{self.errors[0]}"
            )


def neutral_rewards(rewards: torch.Tensor, failed: torch.Tensor, num_samples: int) -> torch.Tensor:
    """Return rewards in which an ungraded response has the mean of the graded ones of its group.

    Its advantage within the group is then 0: a failure of the grader is no reason to make a response less likely. A
    group without a grade keeps its rewards, which are all equal.

    Args:
        rewards: [B] float64, group by group.
        failed: [B] bool, True where the response could not be graded.
        num_samples: responses of a group.
    """
    groups, graded = rewards.view(-1, num_samples), ~failed.view(-1, num_samples)
    means = (groups * graded).sum(dim=-1, keepdim=True) / graded.sum(dim=-1, keepdim=True)
    lowest = groups.masked_fill(~graded, torch.inf).amin(dim=-1, keepdim=True)
    highest = groups.masked_fill(~graded, -torch.inf).amax(dim=-1, keepdim=True)
    means = means.clamp(lowest, highest)  # a mean of equal rewards may differ from them in its last bit
    return torch.where(graded | ~graded.any(dim=-1, keepdim=True), groups, means).view(-1)
