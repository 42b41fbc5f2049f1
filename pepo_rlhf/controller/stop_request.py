"""Asks a run to end after its step with a checkpoint: by SIGTERM, or by a file that any machine can write.

<run.dir>/attempt   "CLUSTER ID" of the run that holds run.lock; CLUSTER is KubeRay's name for it, or -
<run.dir>/STOP      {"reason": ..., "attempt": "CLUSTER ID"}; means nothing to another attempt
"""

from __future__ import annotations

import json
import logging
import os
import signal
import uuid
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)
_STOP, _ATTEMPT = "STOP", "attempt"
REASONS = ("user", "preempted")


def own_cluster() -> str:
    """Return the name that KubeRay gives to each attempt's cluster in all of its pods; "-" elsewhere."""
    return os.environ.get("RAY_CLUSTER_NAME") or "-"


def running_attempt(run_dir: Path) -> str:
    """Return the attempt that runs in the folder; empty if none ever did."""
    path = run_dir / _ATTEMPT
    return path.read_text(encoding="utf-8") if path.exists() else ""


def forget(run_dir: Path) -> None:
    """Remove what an earlier attempt has left, so that nobody asks for that one's end while another starts."""
    for name in (_ATTEMPT, _STOP):
        (run_dir / name).unlink(missing_ok=True)


def ask(run_dir: Path, reason: str, attempt: str) -> None:
    """Write the file that asks an attempt to stop, whole or not at all."""
    _write_whole(run_dir / _STOP, json.dumps({"reason": reason, "attempt": attempt}) + "\n")


def _write_whole(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


class StopRequest:
    """What this attempt has been asked, from the time that it holds the run folder.

    Attributes:
        reason: "SIGTERM" or one of REASONS; None while nobody has asked.
    """

    def __init__(self, run_dir: Path) -> None:
        self._path, self._attempt = run_dir / _STOP, f"{own_cluster()} {uuid.uuid4().hex}"
        self.reason: str | None = None
        self._got_sigterm = False
        _write_whole(run_dir / _ATTEMPT, self._attempt)

    def is_set(self) -> bool:
        """Return whether the run is to end after its step."""
        # A file that cannot be read is not this program's, or will be there at the next look.
        with suppress(OSError, ValueError, KeyError, TypeError):
            request = json.loads(self._path.read_text(encoding="utf-8"))
            if self.reason is None and request["attempt"] == self._attempt:
                self.reason = str(request["reason"])
        return self.reason is not None

    def listen_to_sigterm(self) -> None:
        """Take the first SIGTERM for a request; the next one ends the run at once."""
        signal.signal(signal.SIGTERM, self._on_sigterm)  # Ray has set a handler of its own

    def _on_sigterm(self, signum: int, frame: object) -> None:
        if self._got_sigterm:
            raise KeyboardInterrupt
        self._got_sigterm = True
        self.reason = self.reason or "SIGTERM"
        logger.info("SIGTERM: the run ends after this step, with a checkpoint")
