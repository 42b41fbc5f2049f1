"""The part of a batch that one forward pass of a worker takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import ray
import torch


class MicroBatch(NamedTuple):
    """Some rows of a batch, right-padded to the longest of them.

    Attributes:
        sequences: [B, S] token ids, prompt then response.
        action_mask: [B, S - 1], column j set where position j + 1 is a response token.
        attention_mask: [B, S], 1 at tokens.
        image_tensors: one entry a row: the processor's tensors, a reference to them, or None without an image.
        perturbed_tensors: likewise of the perturbed images, where a signal needs them; empty otherwise.
    """

    sequences: torch.Tensor
    action_mask: torch.Tensor
    attention_mask: torch.Tensor
    image_tensors: list[ray.ObjectRef | dict[str, torch.Tensor] | None]
    perturbed_tensors: Sequence[ray.ObjectRef | dict[str, torch.Tensor] | None] = ()

    def to(self, device: Any) -> MicroBatch:
        """Return the rows with their tokens on a device; images follow in `merge_image_tensors`."""
        sequences, action_mask, attention_mask = (tensor.to(device) for tensor in self[:3])
        return self._replace(sequences=sequences, action_mask=action_mask, attention_mask=attention_mask)


class UpdateBatch(NamedTuple):
    """Some rows of a batch with what the policy is trained on. Column j describes position j + 1, [B, S - 1] each.

    Attributes:
        rows: the tokens and images.
        loss_mask: tokens that carry a loss.
        advantages: of tokens; with --train.single_pass those of the responses, which the update itself weighs.
        rollout_log_probs: those that the engine sampled with.
        action_log_probs: before the update; None with --train.single_pass.
        reference_log_probs: None without a reference.
    """

    rows: MicroBatch
    loss_mask: torch.Tensor
    advantages: torch.Tensor
    rollout_log_probs: torch.Tensor
    action_log_probs: torch.Tensor | None = None
    reference_log_probs: torch.Tensor | None = None

    def to(self, device: Any) -> UpdateBatch:
        """Return the rows on a device."""
        tensors: list[Any] = [None if tensor is None else tensor.to(device) for tensor in self[1:]]
        return UpdateBatch(self.rows.to(device), *tensors)


class PolicyScores(NamedTuple):
    """What the policy's forward passes give. Column j describes the token at sequence position j + 1.

    Attributes:
        action_log_probs: [B, S - 1] float32, 0 outside the response.
        signals: [B, S - 1] float32 by name, as in pepo_rlhf.core.signals: the entropy and those that were asked for.
    """

    action_log_probs: torch.Tensor
    signals: dict[str, torch.Tensor]

    def on_cpu(self) -> PolicyScores:
        """Return the scores in float32 on the CPU, for the controller."""
        signals = {name: values.float().cpu() for name, values in self.signals.items()}
        return PolicyScores(self.action_log_probs.float().cpu(), signals)
