"""--vllm.packed_weight_transfer: weights to the engines in large NCCL buffers, by vLLM's own transfer engine.

Upstream's default broadcasts each parameter by itself, with a remote call to every engine for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import deepspeed
import ray
from vllm.distributed.weight_transfer.base import ParamMeta, WeightSource

if TYPE_CHECKING:
    import torch
    from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerWeightTransferEngine


class PolicyWeights(WeightSource):
    """Every parameter of the policy, frozen ones too: an engine's reload takes all of a fused layer or none.

    Args:
        model: the module inside the DeepSpeed engine.
        zero_stage: 3 if parameters are partitioned, and iterating gathers them one by one on all ranks.
    """

    def __init__(self, model: torch.nn.Module, zero_stage: int) -> None:
        self.model, self.partitioned = model, zero_stage == 3

    def metadata(self) -> list[ParamMeta]:
        return [
            # DeepSpeed keeps a partitioned weight's whole shape there.
            ParamMeta(name, weight.dtype, tuple(getattr(weight, "ds_shape" if self.partitioned else "shape")))
            for name, weight in self.model.named_parameters()
        ]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, weight in self.model.named_parameters():
            with deepspeed.zero.GatheredParameters([weight], enabled=self.partitioned):
                yield name, weight.data


class EnginesClient:
    """What vLLM's sender asks of "the engine", asked of all rollout engines at once.

    Args:
        engines: RolloutWorkers; engine i holds the ranks from 1 + i * tensor_parallel_size on.
    """

    def __init__(self, engines: list, tensor_parallel_size: int) -> None:
        self.engines, self.tensor_parallel_size = engines, tensor_parallel_size

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        offsets = (1 + index * self.tensor_parallel_size for index in range(len(self.engines)))
        ray.get(
            [
                engine.init_packed_transfer.remote(init_info | {"rank_offset": offset})
                for engine, offset in zip(self.engines, offsets, strict=True)
            ]
        )

    def start_weight_update(self) -> None:
        ray.get([engine.start_packed_transfer.remote() for engine in self.engines])

    def update_weights(self, update_info: dict[str, Any] | list[dict[str, Any]]) -> None:
        ray.get([engine.receive_packed_weights.remote(update_info) for engine in self.engines])

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        ray.get([engine.finish_packed_transfer.remote() for engine in self.engines])


def open_packed_transfer(
    client: EnginesClient, source: PolicyWeights, address: str, port: int, rank: int
) -> NCCLTrainerWeightTransferEngine:
    """Meets the engines in one NCCL group. Called on every policy rank; rank 0 sends, the others join its gathers."""
    from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo, NCCLTrainerWeightTransferEngine

    world_size = 1 + len(client.engines) * client.tensor_parallel_size
    init_info = NCCLTrainerInitInfo(rank=rank, master_address=address, master_port=port, world_size=world_size)
    return NCCLTrainerWeightTransferEngine.trainer_init(init_info, client=client, source=source)
