"""Replacements for names of OpenRLHF; `register.py` says where each goes and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock


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
