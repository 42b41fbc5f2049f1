"""Check the run folder, and compare the sizes of model, checkpoints and weights in transfer with the room for them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pepo_rlhf.checks.finding import Finding, error, ok, warning
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.compat import cpu

WEIGHT_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
STATE_BYTES = 12  # of a parameter: the optimiser's two moments and its own copy of the weight, in float32
_GIB = 2**30
_SHARED_MEMORY = Path("/dev/shm")
# Containers come with 64 MiB, in which neither NCCL nor Ray's object store can work.
_LEAST_SHARED_MEMORY = 1 * _GIB


def check_run_folder(inputs: Inputs) -> Iterator[Finding]:
    """Yield whether the folder, or the nearest one above it that exists, can be written to."""
    folder = Path(inputs.config.run.dir)
    existing = nearest_existing(folder)
    if not existing.is_dir():
        yield error(f"--run.dir {folder}: {existing} is a file; name a folder, or move the file away")
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield error(
            f"--run.dir {folder}: {existing} cannot be written to; name another folder, or change its permissions"
        )
    else:
        yield ok(f"{existing} can be written to")


def check_disk(inputs: Inputs) -> Iterator[Finding]:
    """Yield an error if the trained model does not fit, and a warning if its checkpoints do not."""
    model = saved_bytes(inputs)
    existing = nearest_existing(Path(inputs.config.run.dir))
    free = shutil.disk_usage(existing).free
    checkpoints = checkpoint_bytes(inputs)
    sizes = f"{_text(free)} free at {existing}, model of {_text(model)}, checkpoints of up to {_text(checkpoints)}"
    if free < model:
        yield error(sizes, "--run.dir")
    elif free < model + checkpoints:
        yield warning(sizes, "--run.dir", "--ckpt.max_num")
    else:
        yield ok(sizes)


def check_shared_memory(inputs: Inputs) -> Iterator[Finding]:
    """Yield whether /dev/shm holds what a run puts there; nothing is looked at for the nodes of a cluster."""
    if not _SHARED_MEMORY.is_dir():
        return
    if os.environ.get("RAY_ADDRESS"):
        yield ok("not looked at: the nodes of a cluster have their own; --manifest compares those of Kubernetes")
        return
    free = shutil.disk_usage(_SHARED_MEMORY).free
    needed = shared_memory_bytes(inputs, on_gpus=cpu.machine_has_gpu())
    sizes = f"{_text(free)} free at {_SHARED_MEMORY}, {_text(needed)} needed"
    yield (
        warning(f"{sizes}: mount a larger one, or use a smaller model or fewer --vllm.num_engines")
        if (free < needed)
        else ok(sizes)
    )


def nearest_existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    # os.path.exists, as Path.exists raises an error below a folder that may not be entered.
    return next(place for place in (path, *path.parents) if os.path.exists(place))


def model_bytes(inputs: Inputs) -> int:
    """Return the bytes of the weights, as trainer and engine hold them."""
    return inputs.num_parameters * WEIGHT_BYTES[inputs.config.ds.param_dtype]


def saved_bytes(inputs: Inputs) -> int:
    """Return the bytes of what the end of a run writes: the model, adapters, or both."""
    adapters = inputs.num_adapter_parameters * WEIGHT_BYTES[inputs.config.ds.param_dtype]
    return adapters + (model_bytes(inputs) if not adapters or inputs.config.ckpt.save_merged else 0)


def checkpoint_bytes(inputs: Inputs) -> int:
    """Return the bytes of the kept checkpoints and the one being written."""
    settings = inputs.config.ckpt
    if settings.save_steps == settings.save_minutes == -1:
        return 0
    return (settings.max_num + 1) * one_checkpoint_bytes(inputs)


def one_checkpoint_bytes(inputs: Inputs) -> int:
    """Return the bytes of a checkpoint; less if part of the model is frozen."""
    settings, num_trained = inputs.config.ckpt, inputs.num_adapter_parameters or inputs.num_parameters
    states = 0 if settings.disable_ds else (WEIGHT_BYTES[inputs.config.ds.param_dtype] + STATE_BYTES) * num_trained
    return states + (model_bytes(inputs) if settings.save_hf else 0)


def shared_memory_bytes(inputs: Inputs, on_gpus: bool) -> int:
    """Return the bytes that a run needs in a node's /dev/shm, at least.

    On the CPU each sync writes the weights there once an engine, beside the copy in Ray's object store.
    """
    if on_gpus:
        return _LEAST_SHARED_MEMORY
    return model_bytes(inputs) * (1 + inputs.config.vllm.num_engines)


def _text(size: float) -> str:
    return f"{size / _GIB:.1f} GiB" if size >= _GIB else f"{size / 2**20:.0f} MiB"
