"""--vllm.packed_weight_transfer: weights in large NCCL buffers, by vLLM's own transfer engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ray
import torch
from vllm.distributed.weight_transfer.base import ParamMeta, WeightSource

from pepo_rlhf.weight_sync.calls import EngineCalls, free_port
from pepo_rlhf.weight_sync.weights import PolicyWeights


class PackedTransport:
    """Fill buffers with many weights each and broadcast them from the policy's rank 0."""

    def __init__(self, engines: EngineCalls, tensor_parallel_size: int) -> None:
        self.engines, self.tensor_parallel_size = engines, tensor_parallel_size
        self._sender: Any = None

    def connect(self) -> None:
        """Forget the sender; the next sync opens another, since vLLM opens it with the weights at hand."""
        self._sender = None

    def send(self, weights: PolicyWeights) -> None:
        """Send all weights. Every rank calls this: rank 0 sends, the others join its gathers."""
        if self._sender is None:
            self._sender = self._open(weights)
        self._sender.send_weights()

    def _open(self, weights: PolicyWeights) -> Any:
        """Meet the engines in one NCCL group and return vLLM's sender."""
        from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo, NCCLTrainerWeightTransferEngine

        init_info = NCCLTrainerInitInfo(
            rank=torch.distributed.get_rank(),
            master_address=ray.util.get_node_ip_address(),
            master_port=free_port(),
            world_size=1 + len(self.engines.handles) * self.tensor_parallel_size,
        )
        client = EnginesClient(self.engines.handles, self.tensor_parallel_size)
        return NCCLTrainerWeightTransferEngine.trainer_init(init_info, client=client, source=PackedSource(weights))


class PackedSource(WeightSource):
    """Present the policy's weights to vLLM's sender, frozen ones too: it reloads all of a fused layer or none."""

    def __init__(self, weights: PolicyWeights) -> None:
        self.weights = weights

    def metadata(self) -> list[ParamMeta]:
        """Return name, type and whole shape of each weight; DeepSpeed keeps a partitioned one's in `ds_shape`."""
        parameters = self.weights.parameters.items()
        attribute = "ds_shape" if self.weights.partitioned else "shape"
        shapes = {name: torch.empty(getattr(parameter, attribute), device="meta") for name, parameter in parameters}
        return [
            ParamMeta(name, parameter.dtype, tuple(self.weights.as_in_checkpoint(name, shapes[name]).shape))
            for name, parameter in parameters
        ]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        return iter(self.weights)


class EnginesClient:
    """Pass on to all engines at once what vLLM's sender asks of "the engine".

    Args:
        engines: RolloutWorkers; engine i holds the ranks from 1 + i * tensor_parallel_size on.
    """

    def __init__(self, engines: list[Any], tensor_parallel_size: int) -> None:
        self.engines, self.tensor_parallel_size = engines, tensor_parallel_size

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Let each engine join the group with its ranks."""
        offsets = (1 + index * self.tensor_parallel_size for index in range(len(self.engines)))
        ray.get(
            [
                engine.init_packed_transfer.remote(init_info | {"rank_offset": offset})
                for engine, offset in zip(self.engines, offsets, strict=True)
            ]
        )

    def start_weight_update(self) -> None:
        """Let each engine expect buffers."""
        ray.get([engine.start_packed_transfer.remote() for engine in self.engines])

    def update_weights(self, update_info: dict[str, Any] | list[dict[str, Any]]) -> None:
        """Let each engine receive one buffer."""
        ray.get([engine.receive_packed_weights.remote(update_info) for engine in self.engines])

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Let each engine finish what it received."""
        ray.get([engine.finish_packed_transfer.remote() for engine in self.engines])
