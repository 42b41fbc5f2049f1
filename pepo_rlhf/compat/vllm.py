"""Replacements for names of vLLM; `register.py` says where each goes and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def grid_of_whole_tokens(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a count of an image's columns and rows of tokens that rounds up to whole ones, as Pixtral's does."""
    from vllm.model_executor.models.pixtral import PixtralHFEncoderInfo

    whole_tokens = PixtralHFEncoderInfo.get_patch_grid_size
    return lambda self, **sides: whole_tokens(self, **sides)
