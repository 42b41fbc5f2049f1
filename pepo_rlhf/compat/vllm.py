"""Replacements for names of vLLM; `register.py` says where each goes and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def grid_of_whole_tokens(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a count of an image's columns and rows of tokens that rounds up to whole ones, as Pixtral's does."""
    from vllm.model_executor.models.pixtral import PixtralHFEncoderInfo

    whole_tokens = PixtralHFEncoderInfo.get_patch_grid_size
    return lambda self, **sides: whole_tokens(self, **sides)


def packed_at_every_load(original: Callable[..., None]) -> Callable[..., None]:
    """Return a processing of experts' weights that makes their kernel anew, which is when they are packed."""

    def process(self: Any, layer: Any) -> None:
        self.moe_kernel = None
        original(self, layer)

    return process
