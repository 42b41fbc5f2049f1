"""A progress bar at the foot of a terminal, above which the run's lines scroll. Logs get the lines alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_TAIL = 65536  # bytes of metrics.jsonl that surely hold its last line


def show_progress(metrics: Path, num_steps: int, finished: Callable[[], bool], console: Console) -> None:
    """Waits until `finished`, which takes about a second to answer, says so; in a terminal, with a bar.

    The command shows the bar: the trainer's process has no terminal.
    """
    if not console.is_terminal:
        while not finished():
            pass
        return
    columns = (
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, speed_estimate_period=600) as progress:
        before = last_record(metrics).get("global_step", 0)  # not 0 when a run goes on
        bar = progress.add_task("starting", total=num_steps, completed=before)
        done = False
        while not done:
            done = finished()
            record = last_record(metrics)
            if record.get("global_step", before) > before:
                progress.update(bar, completed=record["global_step"], description=_describe(record))


def last_record(path: Path) -> dict:
    """The last whole line of a JSONL file; empty if there is none."""
    if not path.exists():
        return {}
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        *lines, _ = file.read().split(b"\n")
    return json.loads(lines[-1]) if lines else {}


def _describe(record: dict) -> str:
    shown = ("reward", "accuracy", "iou50", "time_step")
    return "  ".join(f"{name} {record[name]:.2f}" for name in shown if name in record)
