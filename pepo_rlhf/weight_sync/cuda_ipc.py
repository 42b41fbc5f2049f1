"""Weights by CUDA IPC, to engines that share the policy's GPUs: each reads the copy on its own GPU."""

from __future__ import annotations

from typing import Any

import ray
import torch
from openrlhf.trainer.ray.utils import get_physical_gpu_id
from openrlhf.utils.distributed_util import torch_dist_barrier_and_cuda_sync
from torch.multiprocessing.reductions import reduce_tensor

from pepo_rlhf.weight_sync.calls import EngineCalls
from pepo_rlhf.weight_sync.weights import PolicyWeights


class CudaIpcTransport:
    """Hand every engine the memory handles of a weight's copies, one copy a GPU, weight by weight."""

    def __init__(self, engines: EngineCalls) -> None:
        self.engines = engines

    def connect(self) -> None:
        """Do nothing: handles name a GPU by its id."""

    def send(self, weights: PolicyWeights) -> None:
        """Copy each weight on every rank and wait until the engines have read it."""
        torch.cuda.empty_cache()
        for number, (name, tensor) in enumerate(weights, start=1):
            weight = tensor.clone()  # a view into a flat buffer would share all of the buffer
            handles: list[dict[str, Any] | None] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(handles, {get_physical_gpu_id(): reduce_tensor(weight)})
            ray.get(
                self.engines.start(
                    "update_weight_cuda_ipc",
                    name,
                    dtype=weight.dtype,
                    shape=weight.shape,
                    ipc_handles={gpu: handle for by_gpu in handles if by_gpu for gpu, handle in by_gpu.items()},
                    empty_cache=number == len(weights),
                )
            )
            torch_dist_barrier_and_cuda_sync()  # the copy must outlive the last reader
        torch.cuda.empty_cache()
