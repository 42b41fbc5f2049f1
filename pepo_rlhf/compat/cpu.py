"""What a machine without a GPU needs beside patches: environment variables and arguments of the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Set in every process on such a machine, where nothing else is set.
ENVIRONMENT = {
    "DS_ACCELERATOR": "cpu",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB an engine
    "OMP_WAIT_POLICY": "passive",  # threads that spin while they wait take the cores from those that work
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # At 1 vLLM gives its worker a process of its own, whose engine spins on the cores that the worker needs. Its reason
    # is that threads are bound to cores there, which they are not here.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}
# Made by NVIDIA's driver, by AMD's, and by either under Windows.
_DEVICE_FILES = (Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))


def machine_has_gpu() -> bool:
    """Return whether this machine has a GPU, even if Ray hides it from this process. Loads no library."""
    return any(path.exists() for path in _DEVICE_FILES)


def engine_arguments() -> dict[str, Any]:
    """Return vLLM's settings that only a machine without a GPU needs. Call it where the engine runs."""
    if machine_has_gpu():
        return {}
    # After part of a prompt vLLM 0.29 rewinds a seeded request's generator, which CPU generators cannot: it dies.
    return {"enable_chunked_prefill": False}
