"""The part of a batch that one forward pass of a worker takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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


class PolicyScores(NamedTuple):
    """What the policy's forward passes give. Column j describes the token at sequence position j + 1.

    Attributes:
        action_log_probs: [B, S - 1] float32, 0 outside the response.
        signals: [B, S - 1] float32 by name, as in pepo_rlhf.core.signals: the entropy and those that were asked for.
    """

    action_log_probs: torch.Tensor
    signals: dict[str, torch.Tensor]
