"""Processes that end with the one that started them, however that one ends.

vLLM's engine process outlives a worker of Ray that is killed, with its GPU memory, and the next one finds none.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PARENT = "PEPO_RLHF_PARENT"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def bind_children() -> None:
    """Python processes that this one starts from here on end with it, those that they start themselves do not.

    To be called, and they to be started, from a thread that lives as long as the process: the kernel looks at that.
    """
    os.environ[_PARENT] = str(os.getpid())


def end_with_parent() -> None:
    """Binds this process, if its parent has asked for it. `runtime.install` calls it."""
    if sys.platform != "linux" or os.environ.get(_PARENT) != str(os.getppid()):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.environ[_PARENT] != str(os.getppid()):  # it has died in between
        os.kill(os.getpid(), signal.SIGKILL)
