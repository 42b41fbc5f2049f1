"""Closes the network to a process and to all that it starts, without root, for good.

The kernel refuses the sockets (seccomp, Linux on x86-64 and 64-bit ARM); an audit hook says so in words that name the
flag. Where the kernel has no such filter the hook stands alone, and stops Python code only.
"""

from __future__ import annotations

import ctypes
import platform
import socket
import struct
import sys

_MESSAGE = "the network is closed to rewards; --reward.allow_network true opens it"

# Of <linux/audit.h>, and of the architecture's <asm/unistd.h>: its id, socket, io_uring_setup, which makes sockets too.
_ARCHITECTURES = {"x86_64": (0xC000003E, 41, 425), "aarch64": (0xC00000B7, 198, 425)}
_X32_CALLS = 0x40000000  # the same calls under other numbers, on x86-64

# <linux/bpf_common.h>: load a word of seccomp_data, jump if equal or at least, return.
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_CALL, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in seccomp_data
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 13  # EACCES
_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2  # <sys/prctl.h>


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def close_network() -> None:
    """Allow this process sockets within the machine (AF_UNIX) only, from now on.

    A line on standard error tells where the kernel does not take part.
    """
    sys.addaudithook(_explain)
    if not _filter_sockets():
        print("rewards: this kernel takes no filter; only Python code is kept off the network", file=sys.stderr)


def _explain(event: str, arguments: tuple) -> None:
    # A host's name is looked up before a socket is made, and fails with words of its own.
    looks_up_a_name = event in ("socket.getaddrinfo", "socket.gethostbyname")
    if looks_up_a_name or (event == "socket.__new__" and arguments[1] != socket.AF_UNIX):
        raise PermissionError(_MESSAGE)


def _filter_sockets() -> bool:
    """Return whether the kernel now refuses this process and its children every socket but AF_UNIX ones."""
    if platform.machine() not in _ARCHITECTURES:
        return False
    architecture, socket_call, io_uring_setup = _ARCHITECTURES[platform.machine()]
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 0, 7, architecture),  # the second number: instructions to skip if it is not so
        (_LOAD, 0, 0, _CALL),
        (_JUMP_AT_LEAST, 5, 0, _X32_CALLS),
        (_JUMP_EQUAL, 4, 0, io_uring_setup),
        (_JUMP_EQUAL, 0, 2, socket_call),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_EQUAL, 0, 1, socket.AF_UNIX),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    instructions = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    system = ctypes.CDLL(None)
    arguments = _Program(len(program), instructions)
    return (
        system.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
        and system.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(arguments), 0, 0) == 0
    )
