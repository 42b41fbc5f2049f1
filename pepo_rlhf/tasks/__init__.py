"""Task families: what a published data set's records ask, in which words, and which verifier grades the answers.

One file a family: geometry reasoning, visual grounding, visual puzzles, few-shot classification.
"""

from pepo_rlhf.tasks.frame import Frame, pixels, thousandths
from pepo_rlhf.tasks.registry import TASKS, find_task
from pepo_rlhf.tasks.task import Problem, Task, read_problems

__all__ = ["TASKS", "Frame", "Problem", "Task", "find_task", "pixels", "read_problems", "thousandths"]
