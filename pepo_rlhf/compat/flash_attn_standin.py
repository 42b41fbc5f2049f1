"""A stand-in for the flash-attn functions that OpenRLHF imports by name at import time and uses for packing only."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types
from pathlib import Path

_FUNCTIONS = {
    "flash_attn.bert_padding": ("index_first_axis", "pad_input", "rearrange", "unpad_input"),
    "flash_attn.utils.distributed": ("all_gather",),
}


def is_library_installed() -> bool:
    """Return whether flash-attn 2 is there. flash-attn-4 makes a package `flash_attn` too, without these modules."""
    spec = importlib.util.find_spec("flash_attn")
    return any(Path(folder, "bert_padding.py").is_file() for folder in (spec and spec.submodule_search_locations) or ())


def install() -> None:
    """Make `from flash_attn.bert_padding import ...` work where flash-attn is not installed.

    The package metadata stays absent, so that transformers goes on reporting flash-attn as unavailable, and so does
    every other submodule: upstream's own fallbacks for a missing flash-attn keep working. Those of flash-attn-4 are
    found where they are.
    """
    spec = importlib.util.find_spec("flash_attn")
    for name in ("flash_attn", "flash_attn.utils", *_FUNCTIONS):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None)
        sys.modules[name] = module
    if spec is not None:
        sys.modules["flash_attn"].__path__ = list(spec.submodule_search_locations or ())
    for name, functions in _FUNCTIONS.items():
        for function in functions:
            setattr(sys.modules[name], function, _unavailable(f"{name}.{function}"))


def _unavailable(name: str):
    def raise_unavailable(*args, **kwargs):
        raise RuntimeError(f"{name} was called, but flash-attn is not installed: sample packing needs it")

    return raise_unavailable
