"""The visual similarity of a micro-batch, after a check that its image tokens belong to its images."""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence

import torch

from pepo_rlhf.config.learning import Pepo
from pepo_rlhf.core.masks import sequence_mask, vision_mask
from pepo_rlhf.core.signals import describe
from pepo_rlhf.core.signals.visual_similarity import VisualSimilarity
from pepo_rlhf.workers.micro_batch import MicroBatch


def similarity_of(
    rows: MicroBatch, signals: Sequence[str], vision_token_ids: Collection[int], pepo: Pepo
) -> VisualSimilarity | None:
    """Return what accumulates visual similarity over the layers, or None if none of the signals reads hidden states.

    Args:
        rows: on the device of the model.
        signals: names of the signals that are computed.

    Raises:
        ValueError: if a row has an image without image tokens, or tokens without an image.
    """
    mask = vision_mask(rows.sequences, rows.action_mask, vision_token_ids)
    has_image = [image is not None for image in rows.image_tensors]
    num_wrong = sum(map(operator.ne, has_image, mask.any(dim=-1).tolist()))
    if num_wrong:  # the policy would train blind, and nothing else would show it
        raise ValueError(
            f"{num_wrong} prompts of a micro-batch have an image without image tokens, or tokens without an image"
        )
    if not any(describe(name).reads_hidden_states for name in signals):
        return None
    if pepo.no_image == "sequence":
        without_image = ~mask.any(dim=-1, keepdim=True)
        mask = torch.where(without_image, sequence_mask(rows.attention_mask), mask)
    is_response = torch.nn.functional.pad(rows.action_mask, (1, 0))  # column j describes position j + 1
    return VisualSimilarity(mask, pepo.similarity, is_response)
