"""Generated tasks and a tiny model that can learn them on a CPU: for rehearsal, tests and honest learning curves."""

from dataclasses import replace

# Not the families themselves: their names are those of this package's modules.
from pepo_rlhf.tasks.geometry import GEOMETRY3K
from pepo_rlhf.tasks.grounding import REFCOCO
from pepo_rlhf.tasks.puzzles import PUZZLEVQA
from pepo_rlhf.tasks.task import Task

COUNTING = Task(name="counting", make_rows=GEOMETRY3K.make_rows, verifiers=("accuracy",))
GROUNDING = replace(REFCOCO, name="grounding", hub_id=None, split="test")
PUZZLES = replace(PUZZLEVQA, name="puzzles", hub_id=None, split="test")
