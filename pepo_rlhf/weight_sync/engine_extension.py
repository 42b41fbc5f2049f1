"""Runs inside vLLM's worker process: takes weights and keeps a list of the names that arrived."""

from __future__ import annotations

import logging

from openrlhf.trainer.ray.vllm_worker_wrap import WorkerWrap
from safetensors import safe_open

# At each sync it warns "Failed to load weights" of layers that have none, but buffers (rotary embeddings, the images'
# normalisation). Whether all weights arrived is told by their names, which are counted below.
logging.getLogger("vllm.model_executor.model_loader.reload.layerwise").setLevel(logging.ERROR)


class WeightSyncExtension(WorkerWrap):
    """Upstream's worker extension, which also reloads from a file on the CPU and reports what it received."""

    def forget_received_weights(self) -> None:
        self._received_weights: list[str] = []

    def received_weights(self) -> list[str]:
        return self._received_weights

    def update_weight(self, name: str, *args, **kwargs) -> None:
        super().update_weight(name, *args, **kwargs)
        self._received_weights.append(name)

    def update_weight_cuda_ipc(self, name: str, *args, **kwargs) -> None:
        super().update_weight_cuda_ipc(name, *args, **kwargs)
        self._received_weights.append(name)

    def reload_from_file(self, path: str) -> None:
        """Loads every weight of a safetensors file in one reload.

        vLLM repacks linear weights on the CPU, so they cannot be copied in one by one as on CUDA.
        """
        self.reload_weights(weights_iterator=self._weights_of(path))

    def _weights_of(self, path: str):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (safe_open is no mapping)
                yield name, file.get_tensor(name)
                self._received_weights.append(name)
