"""Code that runs inside vLLM's worker processes: takes weights and keeps a list of the names that arrived."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import torch
from openrlhf.trainer.ray.vllm_worker_wrap import WorkerWrap
from safetensors import safe_open

# At each sync vLLM warns "Failed to load weights" of layers that have none, but buffers (rotary embeddings, the images'
# normalisation). Whether all weights arrived is told by their names, which are counted below.
logging.getLogger("vllm.model_executor.model_loader.reload.layerwise").setLevel(logging.ERROR)


class WeightSyncExtension(WorkerWrap):
    """Extend OpenRLHF's worker extension by a reload from a file and by the names of what arrived."""

    _received_weights: list[str]

    def forget_received_weights(self) -> None:
        """Begin a new list."""
        self._received_weights = []

    def received_weights(self) -> list[str]:
        """Return the names of the weights that arrived since the list began."""
        return self._received_weights

    def update_weight(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Take one weight by NCCL."""
        super().update_weight(name, *args, **kwargs)
        self._received_weights.append(name)

    def update_weight_cuda_ipc(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Take one weight by CUDA IPC."""
        super().update_weight_cuda_ipc(name, *args, **kwargs)
        self._received_weights.append(name)

    def reload_from_file(self, path: str) -> None:
        """Load every weight of a safetensors file in one reload."""
        self.reload_weights(weights_iterator=self._weights_of(path))

    def _weights_of(self, path: str) -> Iterator[tuple[str, torch.Tensor]]:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (safe_open is no mapping)
                yield name, file.get_tensor(name)
                self._received_weights.append(name)
