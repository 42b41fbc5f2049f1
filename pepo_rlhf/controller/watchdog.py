"""Ends the run when one of its phases takes too long, and says which."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

_CLEAN_UP_SECONDS = 90  # given to the end of the run; then the process is ended as it is


class Stalled(RuntimeError):
    """A phase took longer than --run.stall_timeout."""


class Watchdog:
    """Interrupt the main thread when `enter` has not named another phase for `timeout` seconds.

    It is a context, to be entered in the main thread, which then ends with Stalled. What waits in Ray is interrupted,
    too.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._closed = threading.Event()
        self._phase, self._since, self._message = "start", time.monotonic(), ""
        signal.signal(signal.SIGUSR1, self._on_signal)
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def enter(self, phase: str) -> None:
        """Name the phase that the run is in; its time counts from the first call with this name."""
        if phase != self._phase:
            self._phase, self._since = phase, time.monotonic()

    def __enter__(self) -> Watchdog:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._closed.set()
        # A call of Ray that does not expect an exception there turns it into a SystemError.
        if self._message and isinstance(
            error.__cause__ if isinstance(error, SystemError) else error, KeyboardInterrupt
        ):
            raise Stalled(self._message) from None

    def _watch(self) -> None:
        while not self._closed.wait(min(1.0, self._timeout / 10)):
            if time.monotonic() - self._since > self._timeout:
                self._message = (
                    f"the run has stalled: {self._phase} has not ended within --run.stall_timeout {self._timeout:g} s"
                )
                os.kill(os.getpid(), signal.SIGUSR1)  # Python runs handlers in the main thread
                if not self._closed.wait(_CLEAN_UP_SECONDS):
                    print(f"error: {self._message}; it did not end by itself either", file=sys.__stderr__, flush=True)
                    os._exit(1)
                return

    def _on_signal(self, signum: int, frame: object) -> None:
        raise KeyboardInterrupt  # `ray.get` ignores every other exception of a handler, and goes on waiting
