"""Responses that could not be graded: a few teach nothing, many stop the run."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from openrlhf.trainer.ppo_utils.experience import Experience


class GraderError(RuntimeError):
    """More grader errors than a batch may have."""


class GraderErrors:
    """Those of one batch, over all the rounds of sampling that it takes to fill it."""

    def __init__(self, max_rate: float) -> None:
        self.max_rate = max_rate
        self.num_responses = 0
        self.errors: list[str] = []

    def count(self, responses: Iterable[dict]) -> None:
        """Adds a round of responses; raises GraderError, with the first error, if they take the batch over its rate."""
        for response in responses:
            self.num_responses += 1
            if response["reward_error"] is not None:
                self.errors.append(response["reward_error"])
        if len(self.errors) > self.max_rate * self.num_responses:
            raise GraderError(
                f"{len(self.errors)} of {self.num_responses} responses "
                f"({len(self.errors) / self.num_responses:.1%}) could not be graded, and --reward.max_error_rate "
                f"allows {self.max_rate:.1%}. The log shows each; this is the first:\n{self.errors[0]}"
            )


def make_neutral(group: list[Experience]) -> None:
    """Gives the ungraded responses to a prompt the mean reward of the graded ones, in place.

    Their advantage within the group is then 0: a failure of the grader is no reason to make a response less likely.
    The metric `reward` takes that mean too; `score` and the components count them as 0. A group that is ungraded as a
    whole is flat, and its advantages are 0 anyway.
    """
    graded = [experience.rewards.item() for experience in group if not experience.info["reward_errors"]]
    for experience in group:
        if graded and experience.info["reward_errors"]:
            # In float64, so that equal rewards keep their very value as the mean: a flat group stays flat.
            experience.rewards = torch.full_like(experience.rewards, sum(graded) / len(graded))
