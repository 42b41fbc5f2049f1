"""Many elementwise operations as few passes over memory: torch.compile, where the tensors are worth its seconds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch

# Elements that a call passes over. Below, as with a tiny model, compiling costs more than a run gains.
FUSE_FROM = 2**22


def fused(function: Callable, num_elements: int) -> Callable:
    """`function` of tensors, compiled for their device if a call passes over many elements.

    Once for all shapes; compiled code is kept between processes, in torch's cache.
    """
    return _compiled(function) if num_elements >= FUSE_FROM else function


@cache
def _compiled(function: Callable) -> Callable:
    return torch.compile(function, dynamic=True)
