"""End processes with the one that started them, however that one ends.

vLLM's engine process outlives a worker of Ray that is killed, with its GPU memory, and the next one finds none.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PARENT = "PEPO_RLHF_PARENT"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def bind_children() -> None:
    """Let Python processes that this one starts from here on end with it; those that they start do not.

    To be called, and they to be started, from a thread that lives as long as the process: the kernel looks at that.
    """
    os.environ[_PARENT] = str(os.getpid())


def end_if_bound() -> None:
    """Let this process end with its parent, if that one has asked for it. `compat.install` calls it."""
    parent = os.environ.get(_PARENT)
    if sys.platform == "linux" and parent == str(os.getppid()):
        end_with_parent()
        if parent != str(os.getppid()):  # it has died in between
            os.kill(os.getpid(), signal.SIGKILL)


def end_with_parent() -> None:
    """Let this process be killed when the thread that started it ends. Linux only."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent has ended, so that they stay descendants."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
