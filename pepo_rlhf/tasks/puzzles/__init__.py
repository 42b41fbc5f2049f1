"""Visual puzzles with options, graded by the option that an answer chooses."""

from pepo_rlhf.tasks.puzzles.adapter import make_rows, make_rows_of_either
from pepo_rlhf.tasks.puzzles.choice import choice_reward
from pepo_rlhf.tasks.task import Task

VERIFIERS = {"choice": choice_reward}

PUZZLEVQA = Task(
    name="puzzlevqa", hub_id="declare-lab/PuzzleVQA", split="train", make_rows=make_rows, verifiers=("choice",)
)
# Some of its files have no options.
ALGOPUZZLEVQA = Task(
    name="algopuzzlevqa",
    hub_id="declare-lab/AlgoPuzzleVQA",
    split="data",
    make_rows=make_rows_of_either,
    verifiers=("answer",),
)
