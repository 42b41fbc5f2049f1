"""Find the positions of image tokens."""

from __future__ import annotations

from collections.abc import Collection

import torch


def vision_mask(sequences: torch.Tensor, action_mask: torch.Tensor, vision_token_ids: Collection[int]) -> torch.Tensor:
    """Return the positions of image and video placeholders in the prompt.

    Only the prompt is searched: a placeholder that a policy manages to write into its response is no image.

    Args:
        sequences: [B, S] token ids, prompt then response.
        action_mask: [B, S - 1]; column j is set when position j + 1 is a response token.
        vision_token_ids: the placeholder ids.

    Returns:
        [B, S] bool.
    """
    is_placeholder = torch.isin(sequences, torch.tensor(sorted(vision_token_ids), device=sequences.device))
    # Position j + 1 belongs to the response from the first set column on.
    in_response = torch.nn.functional.pad(action_mask.long().cumsum(dim=-1) > 0, (1, 0))
    return is_placeholder & ~in_response


def sequence_mask(attention_mask: torch.Tensor) -> torch.Tensor:
    """Return every position but the first as vision, the authors' fallback for a row without an image.

    Args:
        attention_mask: [B, S], nonzero at tokens.

    Returns:
        [B, S] bool.
    """
    attended = attention_mask.bool()
    return attended & (attended.long().cumsum(dim=-1) > 1)
