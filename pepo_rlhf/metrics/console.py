"""The console of a run: the lines of this package's loggers. What libraries print goes to <run.dir>/logs/driver.log."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner

logger = logging.getLogger(__name__)
_SILENCE = 15  # seconds after which a phase says that it is still going on
screen = Console(emoji=False)  # where lines and the progress bar go


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        """Raise the error, as print does; rich would end the program without a word."""
        raise


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
    screen = _Screen(file=sys.stdout, emoji=False)
    package, lines = logging.getLogger("pepo_rlhf"), _Lines()
    package.addHandler(lines)
    package.setLevel(logging.INFO)
    package.propagate = False  # a library may have given the root logger a handler
    library_output = None if verbose else LibraryOutput()
    try:
        with ExitStack() as streams:
            if library_output is not None:
                streams.enter_context(redirect_stdout(library_output.file))
                streams.enter_context(redirect_stderr(library_output.file))
            yield library_output
    finally:
        package.removeHandler(lines)
        package.propagate = True


def _spinner(text: str) -> Live:
    """Return a line that moves; unlike `screen.status` it leaves what libraries print to their file."""
    spinner = Spinner("dots", text)
    return Live(spinner, console=screen, transient=True, redirect_stdout=False, redirect_stderr=False)


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
        with _spinner(f"{name} ...") if screen.is_terminal else nullcontext():
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
