"""Processes that end with the one that started them, however that one ends.

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
    """Python processes that this one starts from here on end with it, those that they start themselves do not.

    To be called, and they to be started, from a thread that lives as long as the process: the kernel looks at that.
    """
    os.environ[_PARENT] = str(os.getpid())


def end_if_bound() -> None:
    """Lets this process end with its parent, if that one has asked for it. `compat.install` calls it."""
    parent = os.environ.get(_PARENT)
    if sys.platform == "linux" and parent == str(os.getppid()):
        end_with_parent()
        if parent != str(os.getppid()):  # it has died in between
            os.kill(os.getpid(), signal.SIGKILL)


def end_with_parent() -> None:
    """Lets this process be killed when the thread that started it ends. Linux only."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Makes this process the parent of processes whose own, below it, has ended: they stay its descendants."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
