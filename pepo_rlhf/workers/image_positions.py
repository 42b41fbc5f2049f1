"""Where the image tokens of a micro-batch are, and the visual similarity that is computed from them."""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from typing import Any

import torch

from pepo_rlhf.config.learning import Pepo
from pepo_rlhf.core.masks import sequence_mask, vision_mask
from pepo_rlhf.core.signals import describe
from pepo_rlhf.core.signals.visual_similarity import VisualSimilarity


def image_positions(
    sequences: torch.Tensor,
    action_mask: torch.Tensor,
    attention_mask: torch.Tensor,
    images: Sequence[Any],
    vision_token_ids: Collection[int],
    no_image: str,
) -> torch.Tensor:
    """Return the positions that visual similarity looks at, [B, S] bool.

    Args:
        images: the tensors of each row, or None without an image.
        no_image: what --pepo.no_image makes of rows without one.

    Raises:
        ValueError: if a row has an image without image tokens, or tokens without an image.
    """
    mask = vision_mask(sequences, action_mask, vision_token_ids)
    num_wrong = sum(map(operator.ne, [image is not None for image in images], mask.any(dim=-1).tolist()))
    if num_wrong:  # the policy would train blind, and nothing else would show it
        raise ValueError(
            f"{num_wrong} prompts of a micro-batch have an image without image tokens, or tokens without an image"
        )
    if no_image == "sequence":
        without_image = ~mask.any(dim=-1, keepdim=True)
        mask = torch.where(without_image, sequence_mask(attention_mask), mask)
    return mask


def similarity_for(
    signals: Sequence[str], positions: torch.Tensor, action_mask: torch.Tensor, pepo: Pepo
) -> VisualSimilarity | None:
    """Return what accumulates visual similarity over the layers, or None if no signal reads hidden states."""
    if not any(describe(name).reads_hidden_states for name in signals):
        return None
    is_response = torch.nn.functional.pad(action_mask, (1, 0))  # column j describes position j + 1
    return VisualSimilarity(positions, pepo.similarity, is_response)
