"""Every task by its name."""

from __future__ import annotations

from pepo_rlhf.tasks import classification, geometry, grounding, puzzles
from pepo_rlhf.tasks.task import Task

TASKS: dict[str, Task] = {
    task.name: task
    for family in (geometry, grounding, puzzles, classification)
    for task in vars(family).values()
    if isinstance(task, Task)
}


def find_task(name: str) -> Task:
    """The task of this name; raises ValueError with every name if there is none."""
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; choose one of {', '.join(sorted(TASKS))}")
    return TASKS[name]
