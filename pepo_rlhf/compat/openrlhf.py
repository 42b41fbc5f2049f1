"""Replacements for names of OpenRLHF; `register.py` says where each goes and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

Windows = Iterator[tuple[Any, dict[str, Any]]]  # micro-batches, each with its loss normalisers


def actor(original: type) -> type:
    """Return the model class that computes logits of response positions only and scores hidden states."""
    from pepo_rlhf.workers.model import VisionLanguageActor

    return VisionLanguageActor


def convert_to_torch_dtype(original: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a conversion of --ds.param_dtype that knows fp32, too."""
    import torch

    def convert(param_dtype: str) -> torch.dtype:
        return torch.float32 if param_dtype == "fp32" else original(param_dtype)

    return convert


def trainable_windows(original: Callable[..., Windows]) -> Callable[..., Windows]:
    """Return an iterator over micro-batches and their loss normalisers that leaves empty optimiser steps out.

    A window is one optimiser step's micro-batches. Its token count is summed over all ranks, so that all of them skip
    the same windows. `strategy.num_skipped_updates` counts them.
    """

    def iterate(data_iter: Any, strategy: Any, accumulated_gradient: int, mask_fn: Callable[..., Any]) -> Windows:
        num_skipped_micro_batches = 0
        for item, info in original(data_iter, strategy, accumulated_gradient, mask_fn):
            if info["batch_num_tokens"] > 0:
                yield item, info
            else:
                num_skipped_micro_batches += 1
        strategy.num_skipped_updates += num_skipped_micro_batches // max(accumulated_gradient, 1)

    return iterate


def no_bar(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return tqdm without the bar."""
    return lambda *args, **kwargs: original(*args, **(kwargs | {"disable": True}))


def device_mesh_on_cpu(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a constructor of device meshes that builds them on the CPU, whatever device it is asked for."""
    return lambda device, *args, **kwargs: original("cpu", *args, **kwargs)


def moving_average_on_cpu(original: Callable[..., None]) -> Callable[..., None]:
    """Return the update of a moving average on the CPU, whatever device it is asked for."""
    return lambda self, model, model_ema, beta, device: original(self, model, model_ema, beta, "cpu")


def replay_buffer_on_cpu(original: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor of the replay buffer whose device is the CPU."""
    import torch

    def initialise(self: Any, *args: Any, **kwargs: Any) -> None:
        with mock.patch.object(torch.cuda, "current_device", lambda: 0):
            original(self, *args, **kwargs)
        self.target_device = torch.device("cpu")

    return initialise
