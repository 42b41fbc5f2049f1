"""The console of a run: the lines of this package's loggers. What libraries print goes to <run.dir>/logs/driver.log."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rich.console import Console

logger = logging.getLogger(__name__)
_SILENCE = 15  # seconds after which a phase says that it is still going on
screen = Console()  # where lines and the progress bar go


class _Lines(logging.Handler):
    """Print records as plain lines, each warning once."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._warnings: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            if text in self._warnings:
                return
            self._warnings.add(text)
            text = f"{record.levelname.lower()}: {text}"
        screen.print(text, markup=False, highlight=False, soft_wrap=True)


class LibraryOutput:
    """Where libraries print meanwhile: a temporary file, until there is a run folder."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile("w+", buffering=1, encoding="utf-8")  # noqa: SIM115  # as long as this lives

    def keep(self, path: Path) -> None:
        """Go on at the end of a file, with what has been printed so far."""
        path.parent.mkdir(exist_ok=True)
        self.file.seek(0)
        with path.open("a", encoding="utf-8") as file:
            file.write(self.file.read())
            file.flush()
            os.dup2(file.fileno(), self.file.fileno())  # handlers of libraries keep the file that they have seen


@contextmanager
def open_console(verbose: bool) -> Iterator[LibraryOutput | None]:
    """Print this package's records inside the context, and unless `verbose` nothing that libraries print in Python.

    What is written past Python, such as the last words of a library in C++, stays on the console in any case.
    """
    global screen
    screen = Console(file=sys.stdout)
    package, lines = logging.getLogger("pepo_rlhf"), _Lines()
    package.addHandler(lines)
    package.setLevel(logging.INFO)
    package.propagate = False  # a library may have given the root logger a handler
    streams, library_output = (sys.stdout, sys.stderr), None if verbose else LibraryOutput()
    if library_output is not None:
        sys.stdout = sys.stderr = library_output.file
    try:
        yield library_output
    finally:
        sys.stdout, sys.stderr = streams
        package.removeHandler(lines)
        package.propagate = True


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Say that a phase begins, that it still goes on, and how long it has taken."""
    started, ended = time.monotonic(), threading.Event()

    def remind() -> None:
        elapsed = 0.0
        while not ended.wait(max(_SILENCE, elapsed / 4)):  # phases of minutes make no hundred lines
            elapsed = time.monotonic() - started
            logger.info(f"{name}: {elapsed:.0f} s so far")

    if not screen.is_terminal:
        logger.info(f"{name} ...")
    threading.Thread(target=remind, name="console", daemon=True).start()
    try:
        with screen.status(f"{name} ...") if screen.is_terminal else nullcontext():
            yield
    finally:
        ended.set()
    logger.info(f"{name}: {time.monotonic() - started:.0f} s")


@contextmanager
def all_errors_taken() -> Iterator[None]:
    """Send what is written past Python, as by compilers that libraries start at their import, to sys.stderr's file."""
    console = os.dup(2)
    os.dup2(sys.stderr.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(console, 2)
        os.close(console)
