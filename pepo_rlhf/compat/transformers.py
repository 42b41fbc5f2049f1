"""Replacements for names of transformers; `register.py` says where each goes and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def linear_patch_embedding(original: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor of Qwen's patch embedding that computes it as a linear layer."""
    import torch

    class PatchProjection(torch.nn.Conv3d):
        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.linear(patches.flatten(1), self.weight.flatten(1))

    def initialise(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.proj.__class__ = PatchProjection  # still a module that is called: ZeRO-3 gathers its weight then

    return initialise


def transposed_back(original: property) -> property:
    """Return a reversal of a transposition that looks at no shape: when a model is saved, its own is always there."""
    return property(lambda self: type(self)(dim0=self.dim1, dim1=self.dim0))
