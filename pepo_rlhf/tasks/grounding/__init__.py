"""Visual grounding: the box of what an expression names, graded by its overlap with the object's box."""

from pepo_rlhf.tasks.grounding.adapter import make_rows
from pepo_rlhf.tasks.grounding.box import box_vote, iou50_reward, iou_reward
from pepo_rlhf.tasks.task import Task

VERIFIERS = {"iou": iou_reward, "iou50": iou50_reward}

REFCOCO = Task(
    name="refcoco",
    hub_id="lmms-lab/RefCOCO",
    split="val",
    make_rows=make_rows,
    verifiers=("iou", "iou50"),
    display_metric="iou50",
    vote=box_vote,
)
LISA = Task(
    name="lisa",
    hub_id="Ricky06662/ReasonSeg_test",
    make_rows=make_rows,
    verifiers=("iou", "iou50"),
    display_metric="iou50",
    vote=box_vote,
)
