"""A stand-in for the flash-attn functions that OpenRLHF imports by name at import time and uses for packing only."""

from __future__ import annotations

import importlib.machinery
import sys
import types

_FUNCTIONS = {
    "flash_attn.bert_padding": ("index_first_axis", "pad_input", "rearrange", "unpad_input"),
    "flash_attn.utils.distributed": ("all_gather",),
}


def install() -> None:
    """Make `from flash_attn.bert_padding import ...` work where flash-attn is not installed.

    The package metadata stays absent, so that transformers goes on reporting flash-attn as unavailable, and so does
    every other submodule: upstream's own fallbacks for a missing flash-attn keep working.
    """
    for name in ("flash_attn", "flash_attn.utils", *_FUNCTIONS):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None)
        sys.modules[name] = module
    for name, functions in _FUNCTIONS.items():
        for function in functions:
            setattr(sys.modules[name], function, _unavailable(f"{name}.{function}"))


def _unavailable(name: str):
    def raise_unavailable(*args, **kwargs):
        raise RuntimeError(f"{name} was called, but flash-attn is not installed: sample packing needs it")

    return raise_unavailable
