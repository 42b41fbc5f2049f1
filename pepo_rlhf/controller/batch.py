"""One training batch as it travels through the controller: from responses to scores to token advantages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import pad

from pepo_rlhf.controller.prompts import Prompt
from pepo_rlhf.workers.micro_batch import MicroBatch, UpdateBatch
from pepo_rlhf.workers.responses import Group


@dataclass(frozen=True, kw_only=True)
class Draw:
    """How the prompts of a batch were drawn.

    Attributes:
        position: prompts of the run that were drawn before this batch.
        episode: number of the episode, from 0.
        num_drawn_in_episode: prompts that the episode has given out, this batch included.
        num_zero_std_dropped, num_zero_std_kept: groups of equal rewards that dynamic filtering has replaced, and those
            that fill the batch because resampling had reached its bound.
        num_refilled: prompts that were drawn from the endless order of --algo.dynamic_filtering_refill cycle;
            num_surplus: good groups of these that the batch had no room for.
    """

    position: int
    episode: int
    num_drawn_in_episode: int
    num_zero_std_dropped: int = 0
    num_zero_std_kept: int = 0
    num_refilled: int = 0
    num_surplus: int = 0


@dataclass(kw_only=True, repr=False)
class Batch:
    """B responses, group by group, right-padded to S tokens. Column j of [B, S - 1] describes position j + 1.

    Attributes:
        prompts: one a response; the responses of a group share theirs.
        num_samples: responses of a group.
        sequences: [B, S] token ids; attention_mask: [B, S]; action_mask: [B, S - 1], 1 at response tokens.
        rollout_log_probs: [B, S - 1], those that the engine sampled with, 0 outside the response.
        rewards: [B] float64; components: [B] float64 of each verifier.
        grader_errors: why a response could not be graded, or None.
        truncated: [B] bool, cut off at the length limit; weights_versions: [B], steps behind the engine's weights.
        image_tensors: a reference to the processor's tensors for each response, or None without an image.
        perturbed_tensors: likewise of perturbed images, where the weighting needs them; None otherwise.
        action_log_probs, reference_log_probs: [B, S - 1], from the workers' forward.
        signals: [B, S - 1] by name, as in pepo_rlhf.core.signals; the entropy and those that the weighting needs.
        loss_mask: [B, S - 1], tokens that carry a loss.
        weights, advantages: [B, S - 1] float32, from the experience maker; unweighted_advantages are those of GRPO.
    """

    prompts: list[Prompt]
    num_samples: int
    draw: Draw
    sequences: torch.Tensor
    attention_mask: torch.Tensor
    action_mask: torch.Tensor
    rollout_log_probs: torch.Tensor
    rewards: torch.Tensor
    components: dict[str, torch.Tensor]
    grader_errors: list[str | None]
    truncated: torch.Tensor
    weights_versions: torch.Tensor
    image_tensors: list[Any]
    perturbed_tensors: list[Any]
    action_log_probs: torch.Tensor = field(init=False)
    signals: dict[str, torch.Tensor] = field(default_factory=dict)
    reference_log_probs: torch.Tensor | None = None
    loss_mask: torch.Tensor = field(init=False)
    unweighted_advantages: torch.Tensor = field(init=False)
    weights: torch.Tensor = field(init=False)
    advantages: torch.Tensor = field(init=False)

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def response_lengths(self) -> torch.Tensor:
        """Return the response tokens of each row, [B]."""
        return self.action_mask.sum(dim=-1)

    @property
    def total_lengths(self) -> torch.Tensor:
        """Return the tokens of each row, prompt included, [B]."""
        return self.attention_mask.sum(dim=-1)

    @property
    def has_image(self) -> torch.Tensor:
        """Return which rows have an image, [B] bool."""
        return torch.tensor([tensors is not None for tensors in self.image_tensors])

    def micro_batch(self, rows: Sequence[int]) -> MicroBatch:
        """Return some rows, without the columns that are padding in all of them."""
        length = int(self.total_lengths[list(rows)].max())
        return MicroBatch(
            self.sequences[rows, :length],
            self.action_mask[rows, : length - 1],
            self.attention_mask[rows, :length],
            [self.image_tensors[row] for row in rows],
            [self.perturbed_tensors[row] for row in rows],
        )

    def update_batch(self, rows: Sequence[int], is_weighed: bool = True) -> UpdateBatch:
        """Return some rows for the policy's update; unless they are weighed, without old log-probs and weights."""
        micro_batch = self.micro_batch(rows)

        def part(values: torch.Tensor) -> torch.Tensor:
            return values[rows, : micro_batch.action_mask.shape[1]]

        return UpdateBatch(
            micro_batch,
            loss_mask=part(self.loss_mask),
            advantages=part(self.advantages if is_weighed else self.unweighted_advantages),
            rollout_log_probs=part(self.rollout_log_probs),
            action_log_probs=part(self.action_log_probs) if is_weighed else None,
            reference_log_probs=None if self.reference_log_probs is None else part(self.reference_log_probs),
        )


def make_batch(prompts: Sequence[Prompt], groups: Sequence[Group], draw: Draw, pad_token_id: int) -> Batch:
    """Return the batch of the groups that were sampled, one a prompt."""
    rows = [(group, response) for group in groups for response in group.responses]
    tokens = [group.prompt_token_ids + response.token_ids for group, response in rows]
    length = max(map(len, tokens))

    def padded(values: list[Any], value: float, dtype: torch.dtype) -> torch.Tensor:
        return torch.stack([pad(torch.tensor(row, dtype=dtype), (0, length - len(row)), value=value) for row in values])

    masks = [[0] * len(group.prompt_token_ids) + [1] * len(response.token_ids) for group, response in rows]
    log_probs = [[0.0] * len(group.prompt_token_ids) + response.log_probs for group, response in rows]
    responses = [response for _, response in rows]
    return Batch(
        prompts=[prompt for prompt, group in zip(prompts, groups, strict=True) for _ in group.responses],
        num_samples=len(groups[0].responses),
        draw=draw,
        sequences=padded(tokens, pad_token_id, torch.long),
        attention_mask=padded([[1] * len(row) for row in tokens], 0, torch.long),
        action_mask=padded(masks, 0, torch.long)[:, 1:],
        rollout_log_probs=padded(log_probs, 0.0, torch.float32)[:, 1:],
        rewards=torch.tensor([response.reward for response in responses], dtype=torch.float64),
        components={
            name: torch.tensor([response.components[name] for response in responses], dtype=torch.float64)
            for name in responses[0].components
        },
        grader_errors=[response.grader_error for response in responses],
        truncated=torch.tensor([response.truncated for response in responses]),
        weights_versions=torch.tensor([response.weights_version for response in responses]),
        image_tensors=[group.image_tensors for group, _ in rows],
        perturbed_tensors=[group.perturbed_tensors for group, _ in rows],
    )
