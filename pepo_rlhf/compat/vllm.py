"""Replacements for names of vLLM; `register.py` says where each goes and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def grid_of_whole_tokens(original: Callable[..., Any]) -> Callable[..., tuple[int, int]]:
    """Return a count of an image's columns and rows of tokens that rounds up to whole ones, as Pixtral's does."""
    from vllm.model_executor.models.pixtral import PixtralHFEncoderInfo

    count = PixtralHFEncoderInfo.get_patch_grid_size

    def get_patch_grid_size(self: Any, *, image_width: int, image_height: int) -> tuple[int, int]:
        columns, rows = count(self, image_width=image_width, image_height=image_height)
        return columns, rows

    return get_patch_grid_size
