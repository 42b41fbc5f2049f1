"""A progress bar at the foot of a terminal, above which the run's lines scroll. Logs get the lines alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pepo_rlhf.metrics import console as run_console


class ProgressBar:
    """Show the records of steps as a tracker does; nothing is drawn where the console is no terminal.

    Args:
        num_steps: steps of the whole run.
        shown: fields of a record that stand beside the bar.
    """

    def __init__(self, num_steps: int, shown: Sequence[str], console: Console | None = None) -> None:
        console = console or run_console.screen
        columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
        times = (TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Progress(
            *columns,
            *times,
            console=console,
            speed_estimate_period=600,
            disable=not console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("starting", total=num_steps)
        self._shown = shown
        self._bar.start()

    def log(self, record: dict[str, Any], step: int) -> None:
        """Move the bar to a step."""
        description = "  ".join(f"{name} {record[name]:.2f}" for name in self._shown if name in record)
        if description:  # the record of an evaluation has other names
            self._bar.update(self._task, completed=step, description=description)

    def finish(self) -> None:
        """Take the bar away from the foot of the terminal."""
        self._bar.stop()
