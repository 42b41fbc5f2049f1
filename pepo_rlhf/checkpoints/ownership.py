"""DeepSpeed unpickles its checkpoints, which runs whatever code is in them: only a run's own ones are let through."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def require_own(path: str | os.PathLike, run_dir: str | os.PathLike) -> None:
    """Raise ValueError if anybody but this user, and groups that the user has let write, can have written `path`.

    The file or folder must lie within `run_dir`. `run_dir`, the folders between, `path` and all that is in it must
    belong to the current user, be closed to writing by others, and be plain files and folders: no links. Writing by
    the group is allowed: a umask of 002 and the fsGroup of a Kubernetes pod make every file so.

    Raises:
        ValueError: one line that names the first offending path and how to mend it.
        OSError: if `path` is not there or cannot be read.
    """
    # The folder that holds the run may be reached by a link; within it nothing may be one.
    own = Path(run_dir).resolve(strict=True)
    checkpoint = Path(os.path.abspath(path))
    if checkpoint.is_relative_to(os.path.abspath(run_dir)):
        checkpoint = own / checkpoint.relative_to(os.path.abspath(run_dir))
    if not checkpoint.is_relative_to(own):
        raise ValueError(
            f"{checkpoint} lies outside the run folder {own}, and loading a checkpoint runs the code in it: resume "
            "with the --run.dir that it was written to"
        )
    between = [folder for folder in checkpoint.parents if folder.is_relative_to(own)]
    for entry in [*reversed(between), checkpoint]:
        _require_own_entry(entry)
    if checkpoint.is_dir():
        for folder, folders, files in os.walk(checkpoint, onerror=_raise):
            for name in [*folders, *files]:
                _require_own_entry(Path(folder, name))


def _require_own_entry(entry: Path) -> None:
    status = entry.lstat()
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise ValueError(f"{entry} is no plain file or folder, as a checkpoint's are: put there what it points to")
    if status.st_uid != os.geteuid():
        raise ValueError(
            f"{entry} belongs to user {status.st_uid}, not to you (user {os.geteuid()}), and loading a checkpoint runs "
            "the code in it: if you trust its owner, make it yours with chown -R"
        )
    if status.st_mode & stat.S_IWOTH:
        raise ValueError(
            f"{entry} can be written by every user, and loading a checkpoint runs the code in it: if you know that "
            f"nobody has changed it, close it with chmod -R o-w {entry}"
        )


def _raise(error: OSError) -> None:
    raise error
