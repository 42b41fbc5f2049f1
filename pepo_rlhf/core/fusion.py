"""Many elementwise operations as few passes over memory: torch.compile, where the tensors are worth its seconds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch

# Elements of a computation. Below, as with a tiny model, compiling costs more than a run gains.
FUSE_FROM = 2**22


def fused(function: Callable, num_elements: int) -> Callable:
    """`function` of tensors, compiled for their device if `num_elements`, those of the computation, are many.

    Lengths are variables of the compiled code, so that few shapes ask for code of their own (lengths of 0 and 1, two
    lengths that are equal the first time and differ later). torch keeps it between processes.
    """
    return _compiled(function) if num_elements >= FUSE_FROM else function


@cache
def _compiled(function: Callable) -> Callable:
    return torch.compile(function, dynamic=True)
