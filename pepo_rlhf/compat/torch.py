"""Replacements for names of torch on a machine without CUDA; `register.py` says where each goes and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def current_device(original: Callable[[], int]) -> Callable[[], str]:
    """Return a function that names the CPU as the current device."""
    return lambda: "cpu"


def do_nothing(original: Callable[..., Any]) -> Callable[..., None]:
    """Return a function that takes anything and does nothing."""
    return lambda *args, **kwargs: None
