"""Save and load the policy in a checkpoint: DeepSpeed's states, each rank's random numbers, the moving average.

Every rank calls `save` and `load`. The folder is on storage that all of them share.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine
from openrlhf.utils.distributed_util import torch_dist_barrier_and_cuda_sync
from torch import distributed

from pepo_rlhf.checkpoints import folders
from pepo_rlhf.checkpoints.adapters import save_adapters
from pepo_rlhf.checkpoints.ownership import require_own
from pepo_rlhf.config import Config

TRAINER_STATES = "trainer.pt"
_DEEPSPEED = "deepspeed"
_ADAPTER = "adapter"
_UNIVERSAL = "universal"  # where a converted copy of `deepspeed` is looked for with --ds.use_universal_ckpt


class SealingEngine(TorchCheckpointEngine):
    """Write DeepSpeed's files, force each onto the disk, and keep its record."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.files: dict[str, folders.FileRecord] = {}

    def save(self, state_dict: Any, path: str | Path) -> None:
        torch.save(state_dict, path)
        self.files[str(Path(path).relative_to(self.folder))] = folders.seal(Path(path))


def save(engine, moving_average, checkpoint: Path, trainer_states: dict, config: Config) -> None:
    """Write `checkpoint`, which gets its name when the last rank's last file is on the disk.

    Args:
        engine: DeepSpeed's engine of the policy.
        moving_average: model with the averaged weights, or None.
        trainer_states: what the trainer goes on from, data loader included.
        config: the run's settings.

    Raises:
        CheckpointError: if the disk is full, or otherwise does not take it. Earlier checkpoints are as they were.
    """
    try:
        _save(engine, moving_average, checkpoint, trainer_states, config)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
        shutil.rmtree(folders.partial(checkpoint), ignore_errors=True)
        free = shutil.disk_usage(config.run.dir).free
        raise folders.CheckpointError(
            f"checkpoint {checkpoint} could not be written ({error}), and the run ends. {free / 1e9:.1f} GB are "
            "free there: make room first"
        ) from error


def _save(engine, moving_average, checkpoint: Path, trainer_states: dict, config: Config) -> None:
    rank, folder, has_adapters = distributed.get_rank(), folders.partial(checkpoint), config.ds.lora.rank > 0
    if rank == 0:
        folders.begin(checkpoint)
    torch_dist_barrier_and_cuda_sync()
    engine.checkpoint_engine = writer = SealingEngine(folder)
    engine.save_checkpoint(str(folder), tag=_DEEPSPEED, save_latest=False, exclude_frozen_parameters=has_adapters)
    writer.save(random_states(), folder / _random_file(rank))
    if moving_average is not None and rank == _owner(engine):
        writer.save(_own_weights(moving_average), folder / _moving_average_file(rank))
    if has_adapters:
        save_adapters(engine.module, config.ds.zero_stage, folder / _ADAPTER)
    if rank == 0:
        writer.files |= {f"{_ADAPTER}/{path.name}": folders.seal(path) for path in folder.glob(f"{_ADAPTER}/*")}
        writer.save(trainer_states, folder / TRAINER_STATES)
    gathered: list = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered, writer.files)
    if rank == 0:
        folders.commit(checkpoint, {name: file for files in gathered for name, file in files.items()}, config)
    torch_dist_barrier_and_cuda_sync()


def load(engine, moving_average, checkpoint: Path, config: Config) -> None:
    """Put policy, optimiser, scheduler, moving average and random numbers where they were.

    Raises:
        ValueError: if `checkpoint` is not the run's own. DeepSpeed unpickles its files.
    """
    require_own(checkpoint, config.run.dir)
    universal = config.ds.use_universal_ckpt
    tag = _UNIVERSAL if universal else _DEEPSPEED
    # With adapters the frozen weights are not in the file: they are those of the base model.
    path, _ = engine.load_checkpoint(str(checkpoint), tag=tag, load_module_strict=config.ds.lora.rank == 0)
    if path is None:
        raise ValueError(f"DeepSpeed finds nothing to load in {checkpoint / tag}")
    random_file = checkpoint / _random_file(distributed.get_rank())
    if random_file.exists() or not universal:  # ranks that the writing run did not have begin with their seeds
        set_random_states(torch.load(random_file, weights_only=True))
    if moving_average is not None:
        saved = torch.load(checkpoint / _moving_average_file(_owner(engine)), weights_only=True)
        for name, weight in _own_weights(moving_average).items():
            weight.copy_(saved[name])


def load_trainer_states(checkpoint: Path) -> dict[str, Any]:
    """Return the controller's states of a checkpoint."""
    return torch.load(checkpoint / TRAINER_STATES, weights_only=True)


def random_states() -> dict[str, Any]:
    """Return the states of this process's random generators, of plain types and tensors only."""
    numpy = np.random.get_state(legacy=False)
    numpy["state"]["key"] = numpy["state"]["key"].tolist()
    states = {"python": random.getstate(), "numpy": numpy, "torch": torch.get_rng_state()}
    return states | {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else states


def set_random_states(states: dict[str, Any]) -> None:
    """Put the random generators of this process into the states of `random_states`."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])


def _own_weights(model) -> dict[str, torch.Tensor]:
    """Return the weights that this rank keeps: under ZeRO-3 a partition, otherwise all of them."""
    parameters = model.model.module.named_parameters()
    return {name: getattr(parameter, "ds_tensor", parameter).data for name, parameter in parameters}


def _owner(engine) -> int:
    """Return the rank that writes the averaged weights which this rank holds."""
    return distributed.get_rank() if engine.zero_optimization_partition_weights() else 0


def _random_file(rank: int) -> str:
    return f"random_{rank}.pt"


def _moving_average_file(rank: int) -> str:
    return f"moving_average_{rank}.pt"
