"""Weights by NCCL, a broadcast a weight, to engines on GPUs of their own. OpenRLHF's default transport."""

from __future__ import annotations

from typing import Any

import ray
import torch
from openrlhf.utils.distributed_util import stateless_init_process_group

from pepo_rlhf.weight_sync.calls import EngineCalls, free_port
from pepo_rlhf.weight_sync.weights import PolicyWeights


class NcclTransport:
    """Broadcast each weight from the policy's rank 0, which forms a group with all ranks of the engines.

    Rank 0 of the group is the policy; engine i has the ranks from 1 + i * tensor_parallel_size on.
    """

    def __init__(self, engines: EngineCalls, tensor_parallel_size: int, backend: str) -> None:
        self.engines, self.tensor_parallel_size, self.backend = engines, tensor_parallel_size, backend
        self._group: Any = None

    def connect(self) -> None:
        """Form the group, on rank 0 of the policy."""
        if torch.distributed.get_rank() != 0 or not self.engines.handles:
            return
        address, port = ray.util.get_node_ip_address(), free_port()
        world_size = 1 + len(self.engines.handles) * self.tensor_parallel_size
        joining = [
            engine.init_process_group.remote(
                address,
                port,
                1 + index * self.tensor_parallel_size,
                world_size,
                "openrlhf",
                backend=self.backend,
                use_ray=False,
            )
            for index, engine in enumerate(self.engines.handles)
        ]
        self._group = stateless_init_process_group(address, port, 0, world_size, torch.cuda.current_device())
        ray.get(joining)

    def send(self, weights: PolicyWeights) -> None:
        """Broadcast the weights one by one; under ZeRO-3 the other ranks take part in the gathering."""
        torch.cuda.empty_cache()
        for number, (name, tensor) in enumerate(weights, start=1):
            if torch.distributed.get_rank() != 0:
                continue
            taking = self.engines.start(
                "update_weight", name, dtype=tensor.dtype, shape=tensor.shape, empty_cache=number == len(weights)
            )
            self._group.broadcast(tensor, src=0, stream=torch.cuda.current_stream())
            ray.get(taking)
        torch.cuda.empty_cache()
