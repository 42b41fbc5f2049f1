"""One command at a time works in a run folder: another would remove the checkpoint that it is writing.

<run.dir>/run.lock   empty; stays, and only the kernel's lock on it counts
"""

from __future__ import annotations

import errno
import logging
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)
# What file systems without locks answer; NFS has locks between machines too.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_PATIENCE = 3  # seconds
_held: list[FileLock] = []  # a lock that nobody refers to is released


def hold(run_dir: Path) -> None:
    """Lock the run folder until this process ends, however it ends; programs that it starts do not keep the lock.

    Raises:
        ValueError: if another process holds the lock.
    """
    # Without fallback_to_soft=False the file itself would be the lock, and outlive a process that is killed.
    # `is_held` of another process takes it for a moment.
    lock = FileLock(run_dir / "run.lock", timeout=_PATIENCE, fallback_to_soft=False)
    try:
        lock.acquire()
        _held.append(lock)
    except Timeout:
        raise ValueError(
            f"--run.dir {run_dir} is in use by another train command: wait for its end or stop it, or name another "
            "folder"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logger.warning(f"--run.dir {run_dir} has no file locks ({error.strerror}): start no second run in it")


def is_held(run_dir: Path) -> bool:
    """Return whether a process holds the lock of a folder; on file systems without locks, whether one ever did."""
    path = run_dir / "run.lock"
    if not path.exists():
        return False
    lock = FileLock(path, blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return True
    lock.release()
    return False
