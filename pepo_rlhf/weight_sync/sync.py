"""One weight sync, as every rank of the policy takes part in it."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from openrlhf.utils.distributed_util import torch_dist_barrier_and_cuda_sync
from ray.exceptions import RayActorError
from vllm.v1.engine.exceptions import EngineDeadError

from pepo_rlhf.config import Config
from pepo_rlhf.weight_sync.calls import EngineCalls
from pepo_rlhf.weight_sync.cuda_ipc import CudaIpcTransport
from pepo_rlhf.weight_sync.file import FileTransport
from pepo_rlhf.weight_sync.nccl import NcclTransport
from pepo_rlhf.weight_sync.packed import PackedTransport
from pepo_rlhf.weight_sync.weights import PolicyWeights

# Ray's actor is gone, or it is there and the engine process behind it is gone.
ENGINE_DEATHS = (RayActorError, EngineDeadError)


class SyncInterrupted(RuntimeError):
    """A rollout engine died in a weight sync, which every rank of the policy has left: it can be made again."""


class Transport(Protocol):
    """A way to carry weights. Every rank calls both methods."""

    def connect(self) -> None:
        """Meet the engines, at the start and after one of them was started again."""

    def send(self, weights: PolicyWeights) -> None:
        """Carry the weights to every engine."""


class WeightSync:
    """Send the policy's weights to the engines; every rank of the policy holds one.

    Args:
        model: the module inside the DeepSpeed engine.
        engines: RolloutWorkers; may be empty.
    """

    def __init__(self, config: Config, model: torch.nn.Module, engines: list[Any]) -> None:
        self.engines = EngineCalls(engines, ENGINE_DEATHS)
        self.transport = make_transport(config, self.engines)
        # vLLM reloads a file as a whole, and layers that it fuses all or not at all; other transports leave out what
        # does not change and so is the same in the engines, which have loaded the policy's folder.
        needs_all = isinstance(self.transport, FileTransport | PackedTransport)
        self.weights = PolicyWeights(model, config.ds.zero_stage, only_trained=not needs_all)
        self.transport.connect()

    def reconnect(self) -> None:
        """Meet the engines anew after one of them was started again."""
        self.transport.connect()

    def send(self, version: int) -> None:
        """Drain the engines, carry the weights, and drop what the engines computed with old ones.

        Where an engine dies all ranks of the policy still get to the end, so that none waits for another. A transfer
        by NCCL that has begun cannot go on without an engine, and raises at once what Ray or vLLM raise.

        Args:
            version: training steps behind the weights.

        Raises:
            SyncInterrupted: at the end, on rank 0, if an engine has died.
            RuntimeError: if a trainable weight did not reach every engine; it is named.
        """
        self.engines.death = None
        self.engines.call("begin_weight_update")
        if not self._any_rank(self.engines.death is not None):
            self.transport.send(self.weights)
        received = self.engines.call("finish_weight_update", version)
        torch_dist_barrier_and_cuda_sync()
        if self.engines.death is not None:
            raise SyncInterrupted from self.engines.death
        for engine, names in enumerate(received):
            if missing := sorted(self.weights.trained - set(names)):
                raise RuntimeError(f"rollout engine {engine} did not receive {len(missing)} weights: {missing[:5]}")

    def _any_rank(self, condition: bool) -> bool:
        flag = torch.tensor(float(condition), device=torch.cuda.current_device())
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        return bool(flag)


def make_transport(config: Config, engines: EngineCalls) -> Transport:
    """Return the transport that fits the machine and the placement.

    Raises:
        ValueError: if the settings ask for packed NCCL buffers on a machine without CUDA.
    """
    if not torch.cuda.is_available():
        if config.vllm.packed_weight_transfer:
            raise ValueError("--vllm.packed_weight_transfer needs CUDA: leave it out on a CPU")
        return FileTransport(engines)
    if config.vllm.packed_weight_transfer:
        return PackedTransport(engines, config.vllm.tensor_parallel_size)
    if config.shares_all_gpus and config.vllm.sync_backend == "nccl":
        return CudaIpcTransport(engines)
    return NcclTransport(engines, config.vllm.tensor_parallel_size, config.vllm.sync_backend)
