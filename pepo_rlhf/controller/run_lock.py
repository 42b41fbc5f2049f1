"""One command at a time works in a run folder: another would remove the checkpoint that it is writing.

<run.dir>/run.lock   empty; stays, and only the kernel's lock on it counts
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from pathlib import Path

# Of file systems without locks; NFS has them between machines too, as locks of byte ranges.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def hold(run_dir: Path) -> None:
    """Locks the run folder until this process ends, however it ends: the kernel closes the file, which is nowhere else.

    Raises:
        ValueError: if another process holds the lock.
    """
    # Not inherited by the programs that this one starts: Ray's may outlive it.
    descriptor = os.open(run_dir / "run.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
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
