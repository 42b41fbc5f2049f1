"""One command at a time works in a run folder: another would remove the checkpoint that it is writing.

<run.dir>/run.lock   empty; stays, and only the kernel's lock on it counts
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path

from filelock import FileLock, Timeout

# What file systems without locks answer; NFS has locks between machines too.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_held: list[FileLock] = []  # a lock that nobody refers to is released


def hold(run_dir: Path) -> None:
    """Lock the run folder until this process ends, however it ends; programs that it starts do not keep the lock.

    Raises:
        ValueError: if another process holds the lock.
    """
    # Without fallback_to_soft=False the file itself would be the lock, and outlive a process that is killed.
    lock = FileLock(run_dir / "run.lock", blocking=False, fallback_to_soft=False)
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
        print(
            f"warning: --run.dir {run_dir} has no file locks ({error.strerror}): start no second run in it",
            file=sys.stderr,
            flush=True,
        )
