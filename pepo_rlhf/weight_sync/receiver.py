"""The engine actor's side of a weight sync, mixed into the rollout worker."""

from __future__ import annotations

import asyncio
import functools
import os
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import save_file
from vllm.distributed.weight_transfer.base import WeightTransferInitRequest, WeightTransferUpdateRequest


def fails_with_engine(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method of the worker raise EngineDeadError when the engine's process dies: vLLM would never answer."""

    @functools.wraps(method)
    async def call(self: Any, *args: Any) -> Any:
        task = asyncio.create_task(method(self, *args))
        while not (await asyncio.wait([task], timeout=1))[0]:
            await self.llm.check_health()
        return task.result()

    return call


class WeightReceiver:
    """Receive weights for the engine `self.llm`.

    Attributes:
        weights_version: training steps behind the weights that the engine answers with.
    """

    llm: Any
    weights_version = 0

    @fails_with_engine
    async def begin_weight_update(self) -> None:
        """Wait until nothing is in flight. A sleeping engine has nothing in flight and must not be resumed."""
        self._paused = not await self.llm.is_sleeping()
        if self._paused:
            await self.llm.pause_generation(mode="wait", clear_cache=False)
        self._packed_names: set[str] = set()
        await self.llm.collective_rpc("forget_received_weights")

    @fails_with_engine
    async def reload_weights(self, weights: dict[str, torch.Tensor]) -> None:
        """Give the engine process all weights at once, through a file in memory of this machine."""
        folder = "/dev/shm" if os.path.isdir("/dev/shm") else None
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".safetensors") as file:
            save_file(weights, file.name)
            await self.llm.collective_rpc("reload_from_file", args=(file.name,))

    @fails_with_engine
    async def finish_weight_update(self, version: int) -> list[str]:
        """Drop what was computed with old weights, resume, and return the names that every vLLM worker received.

        Three caches hold such values: the prefix (KV) cache, the multimodal cache, and the encoder cache with the
        image embeddings.
        """
        self.weights_version = version
        received = await self.llm.collective_rpc("received_weights")
        if not await self.llm.reset_prefix_cache():
            raise RuntimeError("vLLM has kept its prefix cache, of old weights: its blocks are still in use")
        await self.llm.reset_mm_cache()
        await self.llm.reset_encoder_cache()
        if self._paused:
            await self.llm.resume_generation()
        return sorted(set.intersection(*map(set, received)) | self._packed_names)

    @fails_with_engine
    async def init_packed_transfer(self, init_info: dict[str, Any]) -> None:
        """Join the group of `packed.py`, whose engine side the next three methods are as well."""
        await self.llm.init_weight_transfer_engine(WeightTransferInitRequest(init_info))

    @fails_with_engine
    async def start_packed_transfer(self) -> None:
        """Expect buffers."""
        await self.llm.start_weight_update()

    @fails_with_engine
    async def receive_packed_weights(self, update_info: dict[str, Any]) -> None:
        """Receive one buffer."""
        await self.llm.update_weights(WeightTransferUpdateRequest(update_info))
        self._packed_names.update(update_info["names"])

    @fails_with_engine
    async def finish_packed_transfer(self) -> None:
        """Finish what was received."""
        await self.llm.finish_weight_update()
