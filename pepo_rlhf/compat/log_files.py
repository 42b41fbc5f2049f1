"""Sends the output of a run's Ray workers, and of what they start, to files in <run.dir>/logs: one a process."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

FOLDER = "PEPO_RLHF_LOGS"  # environment variable of Ray workers; without it they print as Ray lets them
_file: Path | None = None  # of this process


def begin() -> None:
    """Send what this worker prints to worker_HOST_PID.log, until `name` says what it is.

    The driver has made the folder. Where it is not, on a node that does not share the storage, Ray's log files keep it.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    try:
        _redirect(Path(folder, f"worker_{socket.gethostname()}_{os.getpid()}.log"))
    except OSError as error:
        print(f"logs stay in Ray's session folder: {error}", file=sys.stderr, flush=True)


def name(role: str) -> None:
    """Go on in ROLE.log, behind what earlier processes of this role have written. `role` holds the rank."""
    if _file is None:
        return
    import ray  # of a worker, which has loaded it

    actor = ray.get_runtime_context().get_actor_id()
    header = f"== {time.strftime('%F %T')} {role}: process {os.getpid()} on {socket.gethostname()}, actor {actor}\n"
    early, path = _file, _file.with_name(f"{role}.log")
    with path.open("ab") as file:
        file.write(header.encode() + early.read_bytes())
    _redirect(path)
    early.unlink()


def last_lines(folder: Path, actor_id: str, num_lines: int = 15) -> tuple[Path, list[str]] | None:
    """Return the log file of an actor and its last lines; None if it has none."""
    for path in sorted(folder.glob("*.log")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if f", actor {actor_id}\n" in text:
            return path, text.splitlines()[-num_lines:]
    return None


def _redirect(path: Path) -> None:
    """Point the descriptors of output and errors, which processes started from here on inherit, at a file."""
    global _file
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    _file = path
