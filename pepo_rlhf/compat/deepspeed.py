"""Replacements for names of DeepSpeed on a machine without CUDA; `register.py` says where each goes and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def no_shared_memory_collectives(original: Callable[[], Any]) -> Callable[[], None]:
    """Return a builder that builds nothing."""
    return lambda: None


def gather_one_by_one(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a gathering of ZeRO-3 parameters that waits for each before the next."""
    return lambda self, params, hierarchy=0, quantize=False: self._allgather_params_sequential(params, hierarchy)
