"""Tasks: what a published data set asks, in which words, and which verifier grades the answers.

Every folder here is a family of tasks and is found by itself; docs/tasks.md shows how to write one. The modules beside
the folders read, prepare and report on the data of any task.
"""

from pepo_rlhf.tasks.discovery import all_tasks, display_metric, find_task, reward_names
from pepo_rlhf.tasks.frame import Frame, pixels, thousandths
from pepo_rlhf.tasks.reading import read_problems
from pepo_rlhf.tasks.task import Task

__all__ = [
    "Frame",
    "Task",
    "all_tasks",
    "display_metric",
    "find_task",
    "pixels",
    "read_problems",
    "reward_names",
    "thousandths",
]
