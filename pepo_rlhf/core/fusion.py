"""Fuse elementwise operations into few passes over memory by torch.compile, where tensors are large enough for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

# Elements of a computation. Below it, as with a tiny model, compiling costs more than a run gains.
FUSE_FROM = 2**22


def fused(function: Callable[..., Any], num_elements: int) -> Callable[..., Any]:
    """Return a function of tensors, compiled for their device if the computation has many elements.

    Lengths are variables of the compiled code, so that few shapes need code of their own: lengths of 0 and 1, and two
    lengths that are equal the first time and differ later. torch caches the code between processes.
    """
    return _compiled(function) if num_elements >= FUSE_FROM else function


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True)
