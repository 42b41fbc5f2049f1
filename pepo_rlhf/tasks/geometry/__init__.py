"""Geometry and visual mathematics, graded by the verifiers of pepo_rlhf/rewards and by the letter of a choice."""

from dataclasses import replace

from pepo_rlhf.tasks.geometry import adapter
from pepo_rlhf.tasks.task import Task

GEOMETRY3K = Task(
    name="geometry3k",
    hub_id="hiyouga/geometry3k",
    make_rows=adapter.geometry3k,
    verifiers=("accuracy",),
    untagged=True,
)
VIRL39K = Task(
    name="virl39k",
    hub_id="PAPOGalaxy/PAPO_ViRL39K_train",
    split="train",
    make_rows=adapter.virl39k,
    verifiers=("answer",),
)
MATHVISTA = Task(
    name="mathvista",
    hub_id="AI4Math/MathVista",
    split="testmini",
    make_rows=adapter.mathvista,
    verifiers=("answer",),
    untagged=True,
)
MATHVERSE = Task(
    name="mathverse",
    hub_id="AI4Math/MathVerse",
    subset="testmini",
    split="testmini",
    make_rows=adapter.mathverse,
    verifiers=("answer",),
    untagged=True,
)
MATHVERSE_CHOICE = replace(MATHVERSE, name="mathverse_choice", make_rows=adapter.mathverse_choice)
LOGICVISTA = Task(
    name="logicvista", hub_id="lscpku/LogicVista", make_rows=adapter.logicvista, verifiers=("choice",), untagged=True
)
