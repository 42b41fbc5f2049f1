"""LoRA adapters on disk, in PEFT's format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import deepspeed
from openrlhf.utils.distributed_util import torch_dist_barrier_and_cuda_sync
from safetensors.torch import save_file
from torch import distributed


def save_adapters(model: Any, zero_stage: int, folder: Path) -> None:
    """Write the adapters as PeftModel.from_pretrained reads them. Every rank calls this, and rank 0 writes.

    Args:
        model: the module inside the DeepSpeed engine; only its adapters are trained.
        zero_stage: stage 3 partitions the parameters.
    """
    ((adapter, config),) = model.peft_config.items()
    weights = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            with deepspeed.zero.GatheredParameters([weight], enabled=zero_stage == 3):
                # PEFT's names begin with its wrapper and leave the adapter's own name out.
                weights[f"base_model.model.{name.replace(f'.{adapter}.', '.')}"] = weight.detach().cpu().clone()
    if distributed.get_rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(folder)
    torch_dist_barrier_and_cuda_sync()
