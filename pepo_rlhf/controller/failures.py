"""Ends of a run that are nobody's programming error, told in one line instead of a traceback."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile

from ray.exceptions import LocalRayletDiedError, ObjectLostError, OutOfDiskError, RayTaskError

from pepo_rlhf.checkpoints.folders import CheckpointError
from pepo_rlhf.config import Config
from pepo_rlhf.controller.engines import EngineLost
from pepo_rlhf.controller.run_folder import next_start
from pepo_rlhf.controller.vision_check import VisionError
from pepo_rlhf.controller.watchdog import Stalled
from pepo_rlhf.weight_sync.sync import ENGINE_DEATHS

# A worker, an engine, or the node that holds a batch's objects is gone.
_DEATHS = (*ENGINE_DEATHS, LocalRayletDiedError, ObjectLostError)
# The system's words: libraries that are not written in Python put them into exceptions of their own.
_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))


def explain(error: BaseException, config: Config) -> str | None:
    """Return in one line what has happened to a run, and what the same command will do.

    None where only the traceback tells.
    """
    while isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
        error = error.cause  # from the process where it happened
    if isinstance(error, SystemError) and error.__cause__ is not None:
        error = error.__cause__  # raised by a signal handler while Ray waited in C
    text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if isinstance(error, VisionError):
        return text
    if isinstance(error, _DEATHS):
        text = f"a process of the run has died, and the run ends with it: {text}"
    elif isinstance(error, CheckpointError | EngineLost | Stalled):
        pass
    elif isinstance(error, OutOfDiskError) or any(words in text for words in _FULL):
        text = f"a disk is full, and the run ends ({text}). Free here: {_free_space(config.run.dir)}. Make room first"
    else:
        return None
    return f"{text}; {next_start(config)}"


def actor_of(error: BaseException | None) -> str:
    """Return the id of the Ray actor whose death is behind an error; empty if it is none's."""
    while error is not None:
        if actor := getattr(error, "actor_id", None):
            return str(actor)
        error = error.__cause__
    return ""


def _free_space(run_dir: str) -> str:
    """Return the free space of the places that a run writes to, since the error of a write names none."""
    places = filter(os.path.isdir, (run_dir, tempfile.gettempdir(), "/dev/shm"))
    return ", ".join(f"{shutil.disk_usage(place).free / 1e9:.1f} GB in {place}" for place in places)
